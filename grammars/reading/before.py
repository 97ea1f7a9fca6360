"""What came before the crash: warnings, OOM kills, taints, messages that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.data.taints import EARLIER, TAINTS
from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Step
from kpanic.grammars.reading.marks import listed, once, span

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.grammars.reading.marks import Marks

NAME: Final = "what came before"
SHOWN: Final = 6
"""Lines given as proof."""


def read(report: CrashReport, marks: Marks) -> Step:
    """List what went wrong in this boot before."""
    said: list[str] = []
    earlier, taint = report.preceded_by, report.taint
    proof = lines_of(earlier)
    if earlier:
        last = proof[-1].time
        ago = f", the last {span(report.time - last)} before" if last is not None and report.time else ""
        words = listed(dict.fromkeys(fact.value["what"] for fact in earlier))
        said.append(f"Before it in the same boot: {words}{ago}.")
    elif not (taint and EARLIER & set(taint.flags)):
        said.append("Nothing went wrong before it in the same boot, as far as the text says.")
    owner = marks.get("owner", "taint")
    if not any("ainted" in line.text for line in owner):
        owner = marks.holding("Not tainted", "Tainted: ")
    if taint and taint.flags:
        words = listed((f"{TAINTS.get(flag, 'of unknown meaning')} ({flag})" for flag in taint.flags), 6)
        said.append(f"The kernel was tainted: {words}.")
        proof = (*proof, *owner)
    elif taint is None and any("Not tainted" in line.text for line in owner):
        said.append("The kernel was not tainted.")
        proof = (*proof, *owner)
    if report.lost:
        lines = tuple(line for line in report.lines if line.lost)
        said.append(f"{report.lost} messages are missing in the report.")
        proof = (*proof, *lines[:SHOWN])
    return Step(NAME, " ".join(said), once(proof))
