"""Golden documents of real crashes: ``python -m tests.shipper.golden`` rewrites them, for review.

What differs from run to run or from machine to machine is left out: when it was read, by whom, and times that
rest on the file or on the local zone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kpanic.shipper.document import build
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.origin import Origin

TESTS = Path(__file__).parent.parent
FOLDER = Path(__file__).parent / "golden"
LOGS = (
    "story/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt",
    "transports/vmcore-dmesg-6.1-null_read.txt",
    "transports/netconsole-extended.txt",
    "lab/5.10.0-46-amd64-x86_64-sysrq-c.log",
    "lab/6.1.0-56-amd64-x86_64-init-exit.log",
    "lab/6.1.0-56-amd64-x86_64-gpf.log",
    "lab/6.18.15+deb13-amd64-x86_64-sysrq-c.log",
)


def documents(log: str) -> list[dict[str, Any]]:
    path = os.path.relpath(TESTS / "logs" / log)
    found = [build(*crash, now=0.0) for crash in read(path, Origin("file", agent_host="collector"))]
    for document in found:
        document["log"]["file"]["path"] = log
        del document["agent"]["version"], document["kernel"]["panic"]["parse"]["grammar_version"]
        if document["kernel"]["panic"]["timestamp_source"] in ("mtime", "folder"):
            del document["@timestamp"]
    return found


def text(log: str) -> str:
    return json.dumps(documents(log), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def file(log: str) -> Path:
    return FOLDER / (log.replace("/", "_").replace(":", "") + ".json")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in LOGS:
        file(name).write_text(text(name), encoding="utf-8")
