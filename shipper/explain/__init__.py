"""Readings of crashes for people; each format has a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import structs

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, Line
    from kpanic.grammars.reading.compare import Comparison
    from kpanic.shipper.explain.head import Head

__all__ = ["Explained", "Pair", "comparison", "explanation", "shown"]

CONTAINER = 120
"""Maximum characters shown of what a log adds to a line."""


class Explained(NamedTuple):
    """A crash, the file that it was read from, and the first lines of its reading."""

    path: str
    report: CrashReport
    head: Head


class Pair(NamedTuple):
    """Two crashes and their comparison."""

    left: Explained
    right: Explained
    comparison: Comparison


def shown(line: Line) -> str:
    """Return a line as it is in the file, or only its text if a record (JSON) holds it."""
    return line.raw if line.raw and len(line.raw) <= len(line.text) + CONTAINER else line.text


def explanation(crash: Explained) -> dict[str, Any]:
    """Return the reading of one crash as an object for JSON.

    ``head`` is the verdict; host, time and kernel; the signature and whether the store knows it.
    ``steps`` are in the order of the reading; ``line`` counts from 1 in the file, uncompressed, and ``text``
    is that whole line as it stands there (without its line ending); ``line`` is null for what was read from a
    memory dump. ``vmcore`` is what an opened dump says, else null.
    """
    report = crash.report
    analysis = report.analysis
    return {
        "head": list(crash.head),
        "file": crash.path,
        "line": report.lines[0].number if report.lines else None,
        "title": report.title,
        "fatal": report.fatal,
        "status": report.status,
        "signature": report.signature.id if report.signature else None,
        "summary": analysis.summary if analysis else "",
        "steps": [
            {
                "name": step.name,
                "finding": step.finding,
                "evidence": [
                    {"line": line.number or None, "text": line.raw or line.text} for line in step.evidence
                ],
            }
            for step in (analysis.steps if analysis else ())
        ],
        "verdict": analysis
        and {
            "cause": report.cause,
            "confidence": analysis.confidence,
            "sure": analysis.sure,
            "vmcore_needed": analysis.vmcore_needed,
            "why": analysis.why,
            "next": list(analysis.next),
        },
        "vmcore": structs.asdict(analysis.vmcore) if analysis and analysis.vmcore else None,
    }


def comparison(pair: Pair) -> dict[str, Any]:
    """Return two crashes side by side as an object for JSON."""
    found = pair.comparison
    return {
        "same_fault": found.same_fault,
        "why": found.why,
        "points": [
            {"name": point.name, "same": point.same, "left": point.left, "right": point.right}
            for point in found.points
        ],
        "trace": list(found.trace),
        "crashes": [explanation(pair.left), explanation(pair.right)],
    }
