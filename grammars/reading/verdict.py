"""The verdict from the steps: the cause, its confidence, whether the vmcore is needed, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.data.causes import CAUSES, UNKNOWN
from kpanic.grammars.data.distributions import symbols
from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Analysis, Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import header
from kpanic.grammars.reading.kernel import CRASH_KERNEL
from kpanic.grammars.suspect import base
from kpanic.grammars.trust import NO_TRACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kpanic.grammars.data.causes import Cause
    from kpanic.grammars.model import Confidence, CrashReport, Frame, InstructionPointer, Sentence

NAME: Final = "verdict"
PROOFS: Final = 16
"""Maximum lines that prove that the log is enough; the backtrace of a recursion has hundreds."""
STATED: Final = frozenset(
    {
        *("sysrq", "nmi", "machine-check", "out-of-memory", "init-died", "no-init", "no-root-filesystem"),
        *("explicit-panic", "divide-error", "breakpoint", "stack-corruption", "hung-task", "warning"),
    }
)
"""Causes that the kernel states."""
_ASKED: Final = frozenset({"sysrq", "init-died", "no-init", "no-root-filesystem", "nmi"})
"""Causes that need no look at the code and no search for earlier reports."""


CAUSE: Final = Claim("The kernel {words}{place}.", "header", derived=("words", "place"))
BELIEF: Final = Claim("This is {confidence}: {sure}.", "header", derived=("confidence", "sure"))
DOUBT: Final = Claim("The confidence is unknown: {sure}.", "header", derived=("sure",))
NEEDED: Final = Claim(
    "The vmcore is needed to learn {question}: the log says where it happened, not how it came to that.",
    "header",
    derived=("question",),
)
ALIVE: Final = Absence(
    "No line that was read says that the kernel died; if a vmcore was written, it may say {question}.",
    lambda report: not report.fatal,
)
UNSURE: Final = Absence(
    "The report is not understood as a whole, so whether the vmcore is needed is unknown.",
    lambda report: report.status != "complete",
)
UNOPENED: Final = ", and the vmcore need not be opened"
"""Left out if the vmcore was opened."""
ENOUGH: Final = Claim(
    f"The log is enough{UNOPENED}: {{why}}.",
    *("header", "frames", "hardware error", "trigger"),
    derived=("why",),
)


def _confidence(report: CrashReport) -> tuple[Confidence, str]:
    """Return the confidence in the cause, and the reason for it."""
    if report.cause == "sysrq" and report.facts_of("trigger"):
        return "certain", "the log says that SysRq triggered it"
    if report.kind == "panic" and report.cause in STATED and report.doubt == NO_TRACE:
        return "certain", "the kernel states the cause, although the log contains no call trace of it"
    if report.status == "corrupted":
        return "unknown", f"the report could not be read as a whole ({report.doubt or 'it is damaged'})"
    if report.status != "complete" or report.cause == "unknown":
        return "unknown", "no form of the grammar matches the report"
    if report.cause in STATED:
        return "certain", "the kernel states the cause"
    if report.blame.function:
        return "likely", "the kernel says what happened, and the report points to that function"
    return "likely", "the kernel says what happened, and no function is suspect"


def conclude(report: CrashReport, steps: Sequence[Step]) -> Analysis:
    """Return the analysis: the steps, and the verdict from them."""
    known = CAUSES.get(report.cause, UNKNOWN)
    confidence, sure = _confidence(report)
    needed = bool(known.question) and (report.fatal or report.kind in {"oops", "bug", "unknown"})
    who = report.hostname or report.host
    subject = (
        f"{who} (kernel {report.kernel.release})" if who and report.kernel.release else who or "The kernel"
    )
    if not who and report.kernel.release:
        subject = f"Kernel {report.kernel.release}"
    place = f" in {report.blame.function}" if report.blame.function and report.cause != "sysrq" else ""
    if report.cause == "nmi" and place:
        place = f"; the CPU was{place}"
    why = UNSURE.say(report) if confidence == "unknown" and not needed else None
    why = why or _why(report, known, needed=needed)
    head = header(report)
    said = (
        CAUSE.say(report, head, words=known.words, place=place),
        DOUBT.say(report, head, sure=sure)
        if confidence == "unknown"
        else BELIEF.say(report, head, confidence=confidence, sure=sure),
        why,
    )
    return Analysis(
        summary=f"{subject} {known.words}{place}.",
        steps=(*steps, Step(NAME, step_sentences(*said))),
        vmcore_needed=needed,
        confidence=confidence,
        sure=sure,
        why=why.text if why else "",
        next=tuple(next_steps(report, needed=needed)),
    )


def _why(report: CrashReport, known: Cause, *, needed: bool) -> Sentence | None:
    """Say whether the vmcore is needed, and why."""
    head = header(report)
    if needed:
        return NEEDED.say(report, head, question=known.question)
    if known.question:
        return ALIVE.say(report, question=known.question)
    facts = (*report.facts, *report.hardware_errors)
    lines = head if "header" in known.proof else lines_of(fact for fact in facts if fact.kind in known.proof)
    if lines:
        return ENOUGH.say(report, lines[:PROOFS], why=known.why)
    return ENOUGH.say(report, head, why=known.otherwise)


def next_steps(report: CrashReport, *, needed: bool, located: bool = False) -> Iterator[str]:
    """Yield what to do next; commands contain the kernel and the place of the crash.

    :param needed: whether the vmcore is needed and not opened yet.
    :param located: whether the source line is known.
    """
    known = CAUSES.get(report.cause, UNKNOWN)
    yield from known.next
    if report.hardware is not None and report.hardware.bios_version:
        yield from known.servers
    if report.cause == "out-of-memory":
        yield from _memory(report)
    ip, release = report.ip, report.kernel.release
    spot: InstructionPointer | Frame | None = ip if ip and ip.symbol else None
    if spot is None and report.blame.function:
        named = (frame for frame in report.call_trace if base(frame.symbol) == report.blame.function)
        spot = next(named, None)
    place = ""
    wanted = not located and report.cause not in _ASKED
    if wanted and spot is not None and spot.offset is not None and spot.size is not None:
        place = f"{spot.symbol}+0x{spot.offset:x}"
    found = symbols(release, report.kernel.distribution)
    vmlinux = found.vmlinux if found else "vmlinux"
    if needed or place:
        of = f" of {release}" if release else ""
        yield found.install if found else f"Find the vmlinux{of} with debugging symbols from its build"
    if needed:
        values = {"place": place, "pid": report.process.pid, "cpu": report.process.cpu, "address": None}
        if report.fault_address is not None:
            values["address"] = f"{report.fault_address:x}"
        asked = [words.format_map(values) for words in known.look if _filled(words, values)] or ["bt"]
        yield f"crash {vmlinux} vmcore  # then: {'; '.join(asked)}"
        yield f"drgn -c vmcore -s {vmlinux}  # then: prog.crashed_thread().stack_trace()"
    if place and spot is not None:
        binary = f"{spot.module}.ko" if spot.module else vmlinux
        modules = f" auto /usr/lib/debug/lib/modules/{release}" if found else ""
        yield f"scripts/faddr2line {binary} {place}/0x{spot.size:x}  # the source line"
        yield f"scripts/decode_stacktrace.sh {vmlinux}{modules} < dmesg  # all lines of the trace"
    if report.cause not in _ASKED:
        yield f'Search syzbot, lore.kernel.org and the distribution\'s bugs for the title: "{report.title}"'


def _memory(report: CrashReport) -> Iterator[str]:
    """Yield what to do next after the kernel ran out of memory."""
    if CRASH_KERNEL in report.kernel.command_line:
        yield "Reserve more memory for the crash kernel (crashkernel= of the kernel that it dumps)."
    if any("panic_on_oom" in fact.value for fact in report.facts_of("panic")):
        yield "sysctl vm.panic_on_oom  # 0: kill a process instead"


def _filled(words: str, values: Mapping[str, object]) -> bool:
    """Tell whether every field of a command has a value."""
    return all(values[name] not in {None, ""} for name in values if f"{{{name}}}" in words)
