"""A real OpenTelemetry Collector, built once from its Go modules, that writes received records to a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("collector")
VERSION = "0.161.0"


def program() -> Path:
    """Build the Collector with the receivers and the exporter of the tests, once; it takes minutes."""
    folder = parts.cache() / f"otelcol-{VERSION}"
    if not folder.exists() and shutil.which("go") is None:
        parts.missing("the OpenTelemetry Collector", "go is not installed")
    try:
        with parts.made_once(folder) as work:
            if work:
                environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod -buildvcs=false"}
                command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(work / "otelcol"), "."]
                subprocess.run(
                    command, cwd=SOURCE, env=environment, check=True, capture_output=True, timeout=1200
                )
    except (OSError, subprocess.SubprocessError) as error:
        parts.missing("the OpenTelemetry Collector", getattr(error, "stderr", None) or error)
    return folder / "otelcol"


class Collector:
    """A Collector's process; its file remains after a kill.

    :param tls: files of ``cert`` and ``key``.
    """

    def __init__(self, folder: Path, tls: dict[str, str] | None = None) -> None:
        self._program = program()
        self._file = folder / "received.json"
        self._log = folder / "otelcol.log"
        self.grpc, self.http, self.forward = (parts.free_port(24300 + 100 * number) for number in range(3))
        secured = {"tls": {"cert_file": tls["cert"], "key_file": tls["key"]}} if tls else {}
        made = {
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": f"127.0.0.1:{self.grpc}", **secured},
                        "http": {"endpoint": f"127.0.0.1:{self.http}", **secured},
                    }
                },
                "fluentforward": {"endpoint": f"127.0.0.1:{self.forward}"},
            },
            "exporters": {"file": {"path": str(self._file), "append": True, "flush_interval": "100ms"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": {"receivers": ["otlp", "fluentforward"], "exporters": ["file"]}},
            },
        }
        self._config = folder / "otelcol.yaml"
        self._config.write_text(json.dumps(made))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._log.write_bytes(b"")
        with self._log.open("ab") as log:
            command = [self._program, f"--config=file:{self._config}"]
            process = self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: process.poll() is not None or b"Everything is ready" in self._log.read_bytes(), 180)
        assert process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        """Stop it; the file has all accepted records."""
        if self._process:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def records(self) -> list[dict[str, Any]]:
        """Return the log records that it wrote, each with the attributes of its resource as ``resource``."""
        return list(self._records())

    def documents(self) -> list[dict[str, Any]]:
        """Return the bodies of the records of crashes."""
        return [one["body"] for one in self._records() if one.get("eventName") == "kernel.panic"]

    def _records(self) -> Iterator[dict[str, Any]]:
        if not self._file.exists():
            return
        for line in self._file.read_bytes().split(b"\n")[:-1]:
            for logs in json.loads(line)["resourceLogs"]:
                resource = _pairs(logs["resource"].get("attributes", []))
                for scope in logs["scopeLogs"]:
                    for record in scope["logRecords"]:
                        yield {
                            **record,
                            "resource": resource,
                            "body": _value(record.get("body", {})),
                            "attributes": _pairs(record.get("attributes", [])),
                        }


def _pairs(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in pairs}


def _value(value: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON of any shape
    match value:
        case {"intValue": number}:
            return int(number)
        case {"kvlistValue": inside}:
            return _pairs(inside.get("values", []))
        case {"arrayValue": inside}:
            return [_value(item) for item in inside.get("values", [])]
    return next(iter(value.values()), None)
