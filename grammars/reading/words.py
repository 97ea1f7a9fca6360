"""What the kernel itself said: its first line, the oops, the error code and the address in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grammars.machines.access import locate
from grammars.model import Step

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from grammars.reading.marks import Marks


def read(report: CrashReport, marks: Marks) -> Step:
    """Put the header and the error code into words."""
    said = [f"The kernel said: {report.reason.strip()[:200]}"]
    oops = report.oops
    if oops is not None:
        if oops.number is not None:
            said.append(
                "it was the first oops of this boot"
                if oops.number == 1
                else f"it was oops number {oops.number} of this boot"
            )
        if oops.error:
            said.append(
                f"error code {oops.error_code:04x} means: {oops.error}"
                if oops.error_code is not None
                else oops.error
            )
    if report.fault_address is not None:
        place = locate(report.fault_address, report.kernel.architecture).words
        said.append(f"the address 0x{report.fault_address:x} is {place}")
    proof = marks.get("oops", "access", "address")
    head = report.lines[:1] if not proof or proof[0] is not report.lines[0] else ()
    return Step("said", "; ".join(said) + ".", (*head, *proof))
