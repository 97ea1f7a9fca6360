"""What followed from the crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grammars.model import Step
from grammars.reading.marks import listed

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from grammars.reading.marks import Marks


def read(report: CrashReport, marks: Marks) -> Step:
    """List the later reports, and how it ended."""
    said = (
        f"It was followed by {listed(report.consequences)}"
        if report.consequences
        else "No other report followed"
    )
    proof = (marks.panic,) if marks.panic and marks.panic is not report.lines[0] else ()
    if report.fatal:
        said += "; the kernel did not survive it"
    else:
        said += "; the text does not say that the kernel died of it"
    return Step("consequences", said + ".", (*proof, *marks.get("reboot")))
