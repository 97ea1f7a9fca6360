"""What followed from the crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Step
from kpanic.grammars.reading.marks import listed, once

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, Line
    from kpanic.grammars.reading.marks import Marks

NAME: Final = "consequences"


def read(report: CrashReport, marks: Marks) -> Step:
    """List the later reports, and how it ended."""
    said = (
        f"It was followed by {listed(report.consequences)}"
        if report.consequences
        else "No other report followed"
    )
    panic = marks.panic
    if panic is not None:
        said += "; the kernel did not survive it"
    elif report.fatal:
        said += "; the kernel did not survive it, though the text ends before it says so"
    elif report.kind in {"oops", "bug"} and report.oops is not None:
        said += "; without a panic the kernel ends the task and goes on, in a state that nobody vouches for"
    else:
        said += "; the text does not say that the kernel died of it"
    reboot = marks.holding("\nRebooting in ")
    if reboot:
        said += f'; then "{reboot[0].text.strip()}"'
    proof: tuple[Line, ...] = (panic,) if panic is not None and panic is not report.lines[0] else ()
    if panic is None and report.fatal:
        proof = report.lines[-1:]
    return Step(NAME, said + ".", once(lines_of(report.followed_by), proof, reboot))
