"""The kernel's message: the header, the oops, the error code and the address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import machines
from kpanic.grammars.model import Step
from kpanic.grammars.numbers import hexadecimal
from kpanic.grammars.reading.claim import Claim, step_sentences
from kpanic.grammars.reading.evidence import header

if TYPE_CHECKING:
    from kpanic.grammars.fact import Fact
    from kpanic.grammars.model import CrashReport, Line, Sentence

NAME: Final = "what the kernel said"
LONG: Final = 200
"""Maximum characters of the kernel's message that are quoted."""
SAID: Final = Claim('The kernel said "{words}".', "header")
KIND: Final = Claim("This is {kind}.", "header", derived=("kind",))
FIRST: Final = Claim("It is the first oops of this boot.", "oops")
LATER: Final = Claim("It is oops number {number} of this boot.", "oops")
CODE: Final = Claim("Error code {code} means: {words}.", "oops", "error code", derived=("words",))
ERROR: Final = Claim("The error was: {words}.", "oops", "error code", "registers", derived=("words",))
ADDRESS: Final = Claim(
    "The address 0x{address} is {place}.",
    *("header", "fault address", "range", "registers", "pointer"),
    derived=("place",),
)
TOLD: Final = Claim('The kernel says of 0x{address}: "{place}".', "place")
NULL: Final = Claim("The address was NULL.", "header", "fault address", "range", "registers", "pointer")
ACCESS: Final = Claim("It was a {deed} of {size} bytes at {address}.", "access", derived=("deed",))
UNSIZED: Final = Claim("It was a {deed} at {address}.", "access", derived=("deed",))
LOCKS: Final = Claim("Task {task} wanted a lock while it held another.", "lock")

_KINDS: Final = {
    "oops": "an oops: the kernel hit an error that it cannot handle",
    "bug": "a BUG: the kernel detected a state that its code rules out",
    "panic": "a panic: the kernel stopped",
    "warning": "a warning: the kernel detected something unexpected and continued",
    "lockup": "a lockup: a CPU made no progress",
    "hang": "a hung task: a task was blocked for too long",
    "stall": "an RCU stall: a CPU or a task held up a grace period",
    "sanitizer": "the report of a sanitizer in the kernel",
    "lockdep": "a report of lockdep: code broke a locking rule, which is not necessarily a deadlock",
    "hardware": "a hardware error report",
    "leak": "a report of leaked memory",
}
"""Kinds of reports, in words."""


def read(report: CrashReport) -> Step:
    """Describe the header, the oops, the error code and the address."""
    kind = _KINDS.get(report.kind)
    return Step(
        NAME,
        step_sentences(
            SAID.say(report, header(report), words=report.reason.strip()[:LONG]),
            KIND.say(report, header(report), kind=kind) if kind else None,
            _number(report),
            _error(report),
            _address(report),
            *_details(report),
        ),
    )


def _number(report: CrashReport) -> Sentence | None:
    oops = report.oops
    if oops is None or oops.number is None:
        return None
    return FIRST.say(report) if oops.number == 1 else LATER.say(report, number=oops.number)


def _error(report: CrashReport) -> Sentence | None:
    oops, machine = report.oops, machines.find(report.kernel.architecture)
    if oops is None:
        return None
    words = oops.error or (machine.access(oops.error_code).words if machine.says_trap else "")
    if not words:
        return None
    facts = [fact for fact in report.facts if fact.kind in {"oops", "error code"}]
    lines = [line for fact in facts for line in fact.lines]
    if oops.error_code is None:
        return ERROR.say(report, lines, words=words)
    return CODE.say(report, lines, code=f"{oops.error_code:04x}", words=words)


def _address(report: CrashReport) -> Sentence | None:
    address = report.fault_address
    if address is None:
        return None
    lines = _holding(report, address)
    if not address:
        return NULL.say(report, lines)
    told = next(iter(report.facts_of("place")), None)
    if told is not None and hexadecimal(told.value["address"]) == address:
        return TOLD.say(report, told.lines, address=f"{address:x}", place=told.value["place"].strip())
    place = machines.find(report.kernel.architecture).locate(address).words
    return ADDRESS.say(report, lines, address=f"{address:x}", place=place)


def _holding(report: CrashReport, address: int) -> tuple[Line, ...]:
    """Return the lines of the fact that gives the faulting address."""
    for fact in report.facts:
        value = fact.value
        if fact.kind in {"header", "fault address", "range"}:
            if hexadecimal(value.get("address")) == address or (not address and "null" in value):
                return fact.lines
        elif fact.kind == "pointer" and value.ip.address == address:
            return fact.lines
        elif fact.kind == "registers":
            for number, (_, written) in enumerate(value.values):
                if hexadecimal(written) == address:
                    return (fact.lines[value.place(number)],)
    return ()


def _access(report: CrashReport, access: Fact) -> Sentence | None:
    """Describe the access; tag-based KASAN does not always print the size."""
    deed, address = access.value["deed"].lower(), access.value["address"]
    if "size" not in access.value:
        return UNSIZED.say(report, access.lines, deed=deed, address=address)
    return ACCESS.say(report, access.lines, deed=deed, size=access.value["size"], address=address)


def _details(report: CrashReport) -> tuple[Sentence | None, ...]:
    """Return sentences about the lines below the header of a sanitizer's or lockdep's report."""
    access = next(iter(report.facts_of("access")), None)
    locks = report.facts_of("lock")
    wanted = next((fact for fact in locks if "task" in fact.value), None)
    return (
        _access(report, access) if access else None,
        LOCKS.say(report, task=wanted.value["task"]) if wanted and len(locks) > 1 else None,
    )
