"""What came before the crash: warnings, OOM kills, taints, messages that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grammars.data.complaints import BEFORE
from grammars.data.taints import EARLIER, TAINTS
from grammars.model import Step
from grammars.reading.marks import listed

if TYPE_CHECKING:
    from grammars.model import CrashReport, Line
    from grammars.reading.marks import Marks

SHOWN: Final = 6
"""Lines given as proof."""


def _words(line: Line) -> str:
    return next((item.part for item in BEFORE if item.literal in line.text), line.text[:80].strip())


def read(report: CrashReport, marks: Marks) -> Step:
    """List what went wrong in this boot before."""
    said: list[str] = []
    proof = report.preceded_by[:SHOWN]
    if proof:
        said.append(f"Before it in the same boot: {listed(dict.fromkeys(map(_words, report.preceded_by)))}.")
    taint = report.taint
    if taint and taint.flags:
        words = listed((f"{TAINTS.get(flag, 'of unknown meaning')} ({flag})" for flag in taint.flags), 6)
        said.append(f"The kernel was tainted: {words}.")
        proof += marks.get("owner")
    elif taint is None and report.process.pid is not None:
        said.append("The kernel was not tainted.")
        proof += marks.get("owner")
    if report.lost:
        lines = tuple(line for line in report.lines if line.lost)
        said.append(f"{report.lost} messages are missing in the report.")
        proof += lines[:SHOWN]
    if not report.preceded_by and not (taint and EARLIER & set(taint.flags)):
        said.insert(0, "Nothing went wrong before it, as far as the text says.")
    return Step("before", " ".join(said), proof)
