"""What the kernel itself said: its first line, the oops, the error code and the address in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import machines
from kpanic.grammars.model import Step
from kpanic.grammars.reading.marks import once

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.grammars.reading.marks import Marks

NAME: Final = "what the kernel said"
LONG: Final = 200
"""Characters of the kernel's own words that are quoted."""
_KINDS: Final = {
    "oops": "an oops: it met what it could not handle, and was done for",
    "bug": "a BUG: it found itself in a state that its code rules out",
    "panic": "a panic: it gave up",
    "warning": "a warning: it found something unexpected and went on",
    "lockup": "a lockup: a CPU did not get on",
    "hang": "a hung task: it waited for what did not come",
    "stall": "an RCU stall: a CPU or task held everybody up",
    "sanitizer": "the report of a checker that was built into it",
    "lockdep": "a report of lockdep and its kin: code broke a rule of locks, whether it did harm or not",
    "hardware": "a report of the hardware",
    "leak": "a report of memory that nobody points to any more",
}
"""Kinds of reports in words."""
_DETAILS: Final = {
    "sanitizer": (" of size ", " at addr "),
    "lockdep": (" is trying to ", "but task is already holding lock"),
}
"""What stands on the lines of a report that say more than its first."""


def _syndrome(report: CrashReport, code: int | None) -> str:
    """Put the code of an exception that is no page fault into words; on x86 it says nothing then."""
    machine = machines.find(report.kernel.architecture)
    return machine.access(code).words if machine.says_trap else ""


def read(report: CrashReport, marks: Marks) -> Step:
    """Put the header and the error code into words."""
    kind = _KINDS.get(report.kind)
    said = [f'The kernel said "{report.reason.strip()[:LONG]}"' + (f", {kind}" if kind else "")]
    oops = report.oops
    if oops is not None:
        if oops.number is not None:
            said.append(
                f"oops number {oops.number} of this boot"
                if oops.number > 1
                else "the first oops of this boot"
            )
        error = oops.error or _syndrome(report, oops.error_code)
        if error:
            code = f"error code {oops.error_code:04x} means: " if oops.error_code is not None else ""
            said.append(code + error)
    if report.fault_address is not None:
        place = machines.find(report.kernel.architecture).locate(report.fault_address).words
        said.append(f"the address 0x{report.fault_address:x} is {place}")
    proof = marks.get("oops", "access", "address")
    proof = once(proof, *(marks.holding(words) for words in _DETAILS.get(report.kind, ())))
    if report.fault_address is not None and not any(f"{report.fault_address:x}" in one.text for one in proof):
        proof = once(proof, marks.holding(f"{report.fault_address:x}"))
    return Step(NAME, "; ".join(said) + ".", once(report.lines[:1], proof))
