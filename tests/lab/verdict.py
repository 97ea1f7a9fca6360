"""Compares the documents of ``kpanic parse`` for a console with the expected answers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .matrix import Kind, Machine


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected answers for one console; an empty string is not compared."""

    silent: bool
    cause: str
    function: str
    title: str
    release: str
    machine: str


@dataclass(frozen=True, slots=True)
class Verdict:
    wrong: dict[str, tuple[str, str]]
    """Each wrong field as (expected, got); empty if all are right."""
    documents: int


def expect(kind: Kind, release: str, machine: Machine) -> Expected:
    """Return the expected answers for a kind on a kernel."""
    return Expected(
        silent=kind.silent,
        cause=kind.cause,
        function=kind.function,
        title=kind.expected_title,
        release=release,
        machine=machine.uname,
    )


def parse(consoles: Sequence[Path]) -> dict[Path, list[dict[str, Any]]]:
    """Return the documents that kpanic makes of each file.

    Raises RuntimeError with kpanic's own words where it fails.
    """
    if not consoles:
        return {}
    kpanic = Path(sys.executable).with_name("kpanic")
    command: list[str | Path] = [kpanic, "parse", "--format", "ndjson", *consoles]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip()[-400:])
    documents: dict[Path, list[dict[str, Any]]] = {console: [] for console in consoles}
    for line in done.stdout.splitlines():
        document = json.loads(line)
        documents[Path(str(lookup(document, "log.file.path")))].append(document)
    return documents


def compare(expected: Expected, documents: list[dict[str, Any]]) -> Verdict:
    """Compare the first document, and the number of documents, with the answers."""
    wanted = 0 if expected.silent else 1
    wrong: dict[str, tuple[str, str]] = {}
    if len(documents) != wanted:
        wrong["documents"] = (str(wanted), str(len(documents)))
    if documents and not expected.silent:
        document = documents[0]
        for name, path in (
            ("cause", "kernel.panic.cause"),
            ("function", "kernel.panic.function"),
            ("title", "kernel.panic.title"),
            ("release", "host.os.kernel"),
            ("machine", "host.architecture"),
        ):
            value = getattr(expected, name)
            got = str(lookup(document, path) or "")
            if value and got != value:
                wrong[name] = (value, got)
    elif documents:
        wrong["title"] = ("", str(lookup(documents[0], "kernel.panic.title")))
    return Verdict(wrong, len(documents))


def lookup(document: dict[str, Any], path: str) -> Any:  # noqa: ANN401
    """Return the value at a dotted path, with nested or dotted keys; None if it is missing."""
    if path in document:
        return document[path]
    for key, value in document.items():
        if path.startswith(key + ".") and isinstance(value, dict):
            return lookup(value, path[len(key) + 1 :])
    return None
