"""What follows from the steps: the cause, how sure it is, whether the vmcore is needed, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grammars.blame import base
from grammars.data.verdicts import DEBUG, UNKNOWN, VERDICTS
from grammars.model import Analysis, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grammars.model import Confidence, CrashReport, Frame, InstructionPointer
    from grammars.reading.marks import Marks

STATED: Final = frozenset(
    {
        *("sysrq", "nmi", "machine-check", "out-of-memory", "init-died", "no-init", "no-root-filesystem"),
        *("explicit-panic", "divide-error", "breakpoint", "stack-corruption", "hung-task", "warning"),
    }
)
"""Causes that the kernel states itself, with nothing to infer."""


def _confidence(report: CrashReport) -> tuple[Confidence, str]:
    """Say how sure the cause is, and why."""
    if report.status != "complete" or report.cause == "unknown":
        corrupted = report.status == "corrupted"
        return "unknown", "the report cannot be trusted" if corrupted else "no grammar understands the report"
    if report.cause in STATED:
        return "certain", "the kernel says so itself"
    if report.blame.function:
        return "likely", f"the kernel says what happened, the trace that it was in {report.blame.function}"
    return "likely", "the kernel says what happened, and no function can be blamed"


def conclude(report: CrashReport, _marks: Marks, steps: Sequence[Step]) -> Analysis:
    """Return the analysis that the steps amount to."""
    known = VERDICTS.get(report.cause, UNKNOWN)
    confidence, sure = _confidence(report)
    needed = bool(known.question) and (report.fatal or report.kind in {"oops", "bug", "unknown"})
    if needed:
        why = f"The vmcore is needed to learn {known.question}: {known.why}."
    elif known.question:
        why = "The kernel went on, so there is no vmcore of it: the dmesg has to be enough."
    else:
        why = f"The dmesg is enough and the vmcore need not be opened: {known.why}."
    who = report.hostname or report.host
    subject = (
        f"{who} (kernel {report.kernel.release})" if who and report.kernel.release else who or "The kernel"
    )
    if not who and report.kernel.release:
        subject = f"Kernel {report.kernel.release}"
    place = f" in {report.blame.function}" if report.blame.function and report.cause != "sysrq" else ""
    summary = f"{subject} {known.words}{place}."
    said = f"The kernel {known.words}{place}; this is {confidence}: {sure}. {why}"
    return Analysis(
        summary=summary,
        steps=(*steps, Step("verdict", said)),
        vmcore_needed=needed,
        confidence=confidence,
        why=why,
        next=_next(report, known.next, needed=needed),
    )


def _next(report: CrashReport, own: tuple[str, ...], *, needed: bool) -> tuple[str, ...]:
    """Say what to do: the commands with the crash's own kernel and place in them."""
    release, ip = report.kernel.release, report.ip
    todo = list(own)
    package = next((words for part, words in DEBUG if part in release), "") if release else ""
    spot: InstructionPointer | Frame | None = ip if ip and ip.symbol else None
    if spot is None and report.blame.function:
        named = (frame for frame in report.call_trace if base(frame.symbol) == report.blame.function)
        spot = next(named, None)
    if needed:
        if package:
            todo.append("Install the symbols: " + package.format(release=release))
        todo.append("crash vmlinux vmcore  # then: bt, dis -l, struct; or: drgn -c vmcore -s vmlinux")
    if spot and spot.offset is not None and spot.size is not None and report.cause not in {"sysrq", "nmi"}:
        binary = f"{spot.module}.ko" if spot.module else "vmlinux"
        place = f"{spot.symbol}+0x{spot.offset:x}/0x{spot.size:x}"
        todo.append(f"scripts/faddr2line {binary} {place}  # the line of the source")
        todo.append(
            "scripts/decode_stacktrace.sh vmlinux < dmesg  # the whole trace with lines of the source"
        )
    if report.cause not in {"sysrq", "init-died", "no-init", "no-root-filesystem"}:
        todo.append(f'Search for the title: "{report.title}"')
    return tuple(todo)
