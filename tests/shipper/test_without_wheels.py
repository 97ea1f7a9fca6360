"""Machines without wheels of Hyperscan and capstone: the same documents, and a message about omissions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process
LOGS = Path(__file__).parents[1] / "logs"
CRASH = LOGS / "transports" / "vmcore-dmesg-6.1-sysrq-c.txt"
MISSING = ("hyperscan", "capstone")
PROGRAM = """\
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
def without(name, path=None, target=None):
    return None if name.partition(".")[0] in {missing!r} else find(name, path, target)
importlib.machinery.PathFinder.find_spec = without
from kpanic.shipper.cli import main
sys.exit(main())
"""


def kpanic(*arguments: str | Path, missing: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(missing=missing), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


def test_the_documents_are_the_same() -> None:
    logs = sorted(path for path in (LOGS / "lab").iterdir())[:40]
    with_wheels = kpanic("parse", "--format", "ndjson", *logs)
    without = kpanic("parse", "--format", "ndjson", *logs, missing=MISSING)
    found, expected = (
        [document(line) for line in done.stdout.splitlines()] for done in (without, with_wheels)
    )
    assert len(expected) >= len(logs) // 2
    assert found == expected


def document(line: str) -> dict[str, Any]:
    """Return a document without its decoded instruction and its time of creation."""
    made: dict[str, Any] = json.loads(line)
    del made["kernel"]["panic"]["analysis"]
    del made["event"]["created"]
    return made


def test_explain_says_what_decodes_instructions() -> None:
    assert "capstone" not in kpanic("explain", CRASH).stderr
    without = kpanic("explain", CRASH, missing=MISSING)
    assert without.stderr == (
        "kpanic: instructions are not decoded without capstone: pip install 'capstone>=5,<6'\n"
    )
    assert "verdict" in without.stdout
