"""Runs ``kpanic filter`` as a process; texts for its input."""

from __future__ import annotations

import io
import json
import resource
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.shipper.processes import KPANIC
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGS = Path(__file__).parent.parent / "logs"
ROOT = LOGS.parent.parent
OOPS, BUG = (
    (LOGS / "lab" / f"6.1.0-56-amd64-x86_64-{name}.log").read_bytes().replace(b"\r\n", b"\n")
    for name in ("null_read", "bug")
)


def program(folder: Path) -> Path:
    """Write a ``kpanic`` that other programs can start."""
    path = folder / "kpanic"
    path.write_text(f"#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -c '{KPANIC[2]}' \"$@\"\n")
    path.chmod(0o755)
    return path


def untimed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without fields that depend on the transport, the time of reading, or a store."""
    event = {key: value for key, value in document["event"].items() if key not in {"created", "ingested"}}
    kept = {key: value for key, value in document.items() if key not in {"_id", "tag"}}
    labels = {key: value for key, value in document.get("labels", {}).items() if key != "document_id"}
    panic = {key: value for key, value in document["kernel"]["panic"].items() if key != "backfill"}
    return kept | {"event": event, "labels": labels, "kernel": {"panic": panic}}


class Filter:
    """A running filter; leaving the context ends it."""

    def __init__(self, *options: str, largest_file: int = 0) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        self.process = subprocess.Popen(
            [*KPANIC, "filter", *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=limit if largest_file else None,  # noqa: PLW1509 - no threads
        )
        assert self.process.stdin
        assert isinstance(self.process.stdout, io.BufferedReader)
        self.input = self.process.stdin
        self.output = self.process.stdout.raw  # select() ignores data in a buffer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def write(self, text: bytes) -> None:
        """Write to its standard input."""
        self.input.write(text)
        self.input.flush()

    def line(self, seconds: float = 60) -> bytes:
        """Return the next line that it prints."""
        assert select.select([self.output], [], [], seconds)[0], "it prints nothing"
        return self.output.readline()

    def document(self) -> dict[str, Any]:
        """Return the next document that it prints."""
        found: dict[str, Any] = json.loads(self.line())
        return found

    def end(self) -> list[bytes]:
        """Close its standard input; return the remaining lines of its output."""
        self.input.close()
        lines = self.output.read().splitlines()
        assert self.process.wait(60) == 0
        return lines

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.input, self.output, self.process.stderr):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


def shipped(folder: Path, text: bytes) -> Iterator[dict[str, Any]]:
    """Yield the documents of the service for a text on its standard input."""
    target = folder / "shipped.ndjson"
    options = [
        f"path.data={folder / 'store'}",
        "inputs=[{type: stdin, close_quiet: 1}]",
        f"output.file.path={target}",
    ]
    command = [*KPANIC, "run"] + [word for option in options for word in ("-E", option)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as service:
        assert service.stdin
        service.stdin.write(text)
        service.stdin.close()
        until(lambda: target.exists() and target.stat().st_size)
        service.terminate()
    for line in target.read_text().splitlines():
        yield json.loads(line)


__all__ = ["BUG", "KPANIC", "LOGS", "OOPS", "ROOT", "Filter", "program", "shipped", "untimed"]
