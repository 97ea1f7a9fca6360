"""The path to the crash: the entry into the kernel, the suspect function, the skipped functions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars.fact import once
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import frame, header, listed
from kpanic.grammars.suspect import PANIC, REMEMBERED, WATCHDOG, bare, base, passed_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.model import CrashReport, Line, Sentence

NAME: Final = "through what"
SHOWN: Final = 6
"""Maximum functions of the path that are named; of more, the innermost and the outermost."""
CALLS: Final = 4
"""Maximum consecutive functions of the entry of a system call."""
PASSED: Final = 3
"""Maximum skipped functions that are named."""

_CALL: Final = regex(
    r"^(?:compat_)?(?:__)?(?:do_|se_|x64_|ia32_|arm64_|riscv_|s390x?_)*(?:sys|ksys|SyS|SYSC)_"
    r"(?!imageblit|copyarea|fillrect)(\w+)$"  # functions of the frame buffer in system memory
)
_HANDLED: Final = {
    "run_timer_softirq": "timers",
    "__run_timers": "timers",
    "call_timer_fn": "timers",
    "hrtimer_run_softirq": "timers",
    "net_rx_action": "received packets",
    "net_tx_action": "sent packets",
    "tasklet_action": "tasklets",
    "tasklet_action_common": "tasklets",
    "blk_done_softirq": "finished block I/O",
    "rcu_core": "RCU callbacks",
    "rcu_core_si": "RCU callbacks",
    "rcu_process_callbacks": "RCU callbacks",
    "rebalance_domains": "the scheduler's balance",
    "run_rebalance_domains": "the scheduler's balance",
}
"""Handlers of softirqs, with words for what they handle (kernel/softirq.c, 2.6.32 to 7.x)."""
_INTERRUPTS: Final = {
    "apic_timer_interrupt": "the CPU's timer interrupt",
    "smp_apic_timer_interrupt": "the CPU's timer interrupt",
    "sysvec_apic_timer_interrupt": "the CPU's timer interrupt",
    "sysvec_irq_work": "an interrupt that the CPU sent to itself (irq_work)",
    "sysvec_reschedule_ipi": "another CPU's request to reschedule",
    "sysvec_call_function": "another CPU's call",
    "sysvec_call_function_single": "another CPU's call",
    "common_interrupt": "a device's interrupt",
    "do_IRQ": "a device's interrupt",
}
"""Entries of interrupts, without ``asm_``, with words for them (arch/x86/kernel/irq.c, apic/)."""
_SOME_CALL: Final = "a system call"
_ENTRIES: Final = (
    ("work", r"worker_thread|process_one_work|process_scheduled_works", "a work queue"),
    ("softirq", r"__do_softirq|handle_softirqs", "a softirq"),
    (
        "interrupt",
        (
            r"(?:asm_)?(?:sysvec_|common_interrupt)|el1h?_\w*irq|ret_from_intr|(?:smp_)?apic_timer|do_IRQ"
            r"|__irq_svc|do_irq$|do_ext_irq|handle_riscv_irq|do_interrupt_handler|handle_v?int$|do_vint|plat_irq_dispatch"
        ),
        "an interrupt",
    ),
    (
        "fault",
        (
            r"(?:asm_)?exc_page_fault|(?:async_)?page_fault$|do_user_addr_fault|el0_da|do_mem_abort"
            r"|__do_page_fault|do_DataAbort"
        ),
        "a page fault",
    ),
    ("sysrq", r"write_sysrq_trigger", "a write to /proc/sysrq-trigger"),
    ("idle", r"cpu_startup_entry|do_idle|rest_init|start_secondary", "the idle task"),
    ("start", r"kernel_init|do_one_initcall", "the start of the kernel"),
    ("thread", r"kthread|ret_from_fork", "a kernel thread"),
    (
        "call",
        r"\w*syscall|entry_(?:SYS|INT80)|system_call|el0_svc|sysenter|ret_fast|do_fast_call|do_SYSENTER",
        _SOME_CALL,
    ),
)
"""Kinds of entries: the beginnings of their functions' names, and words; the first match counts."""
_ENTRY: Final = regex("|".join(f"(?P<{kind}>{pattern})" for kind, pattern, _ in _ENTRIES))
_WORDS: Final = {kind: words for kind, _, words in _ENTRIES}


class Entry(Struct, frozen=True):
    """The entry into the kernel."""

    kind: str
    words: str
    at: int
    """Index of the entry's function, counted from the innermost."""


@functools.lru_cache(maxsize=REMEMBERED)
def _way(symbol: str) -> tuple[str, str]:
    """Return the kind of entry that a function is, and words for it; empty if it is none."""
    name = base(symbol)
    if "sys_" in name or "SyS_" in name or "SYSC_" in name:
        call = _CALL.match(bare(name)) or _CALL.match(name)
        if call:
            return "call", _SOME_CALL if call[1] == "call" else f"the system call {call[1]}"
    kind = found.lastgroup if (found := _ENTRY.match(name)) else None
    return (kind, _INTERRUPTS.get(name.removeprefix("asm_"), _WORDS[kind])) if kind else ("", "")


def enter(functions: Sequence[str], start: int = 0) -> Entry | None:
    """Return the first entry among the functions from index ``start`` on, innermost first."""
    for number in range(start, len(functions)):
        kind, words = _way(functions[number])
        if kind == "call":
            return _outermost(functions, Entry(kind, words, number))
        if kind:
            return Entry(kind, words, number)
    return None


def _outermost(functions: Sequence[str], found: Entry) -> Entry:
    """Return the outermost function of an entry: do_sys_openat2 is part of the system call openat."""
    for number in range(found.at + 1, min(found.at + CALLS, len(functions))):
        kind, words = _way(functions[number])
        if kind != "call":
            break
        if words != _SOME_CALL:
            found = Entry(kind, words, number)
    return found


def functions_of(report: CrashReport) -> list[str]:
    """Return the functions of the reliable frames, innermost first.

    The function of the instruction pointer is the first, unless the trace begins in an interrupt that hit it.
    Functions on the NMI stack are left out.
    """
    pointed = report.ip is not None
    functions = [
        frame.symbol
        for frame in report.call_trace
        if frame.reliable and frame.symbol and not (pointed and frame.stack == "NMI")
    ]
    if report.ip is not None and report.ip.symbol and not _reached(report.ip.symbol, functions):
        functions.insert(0, report.ip.symbol)
    return functions


def _reached(symbol: str, functions: Sequence[str]) -> bool:
    """Tell whether a trace begins with a function, with an interrupt that hit it, or with panic()."""
    if symbol in functions[:1] or PANIC in map(base, functions[:WATCHDOG]):
        return True
    above = functions[: functions.index(symbol)] if symbol in functions else ()
    return any(_way(function)[0] == "interrupt" for function in above)


ENTERED: Final = Claim(
    "The trace leads from {entry}{way} to the crash.", "frames", "pointer", derived=("entry", "way")
)
INTERRUPTED: Final = Claim("The interrupted code came from {entry}{way}.", "frames", derived=("entry", "way"))
NOTICED: Final = Claim("{noticed} detected it.", "frames", derived=("noticed",))
SYMBOLLESS: Final = Claim(
    "The trace has {count} addresses without symbols{modules}: the kernel was built without them.",
    *("opening", "frames"),
    derived=("count", "modules"),
)
GUESSES: Final = Claim("All frames of the trace are guesses (marked with ?).", "frames")
UNENTERED: Final = Claim(
    "The trace has {count} and does not show how the kernel was entered.", "frames", derived=("count",)
)
NO_TRACE: Final = Absence(
    "The lines that were read contain no call trace.", lambda report: not report.call_trace
)
SUSPECT: Final = Claim(
    "The suspect function is {function}: {rule}.", *("header", "pointer", "frames"), derived=("rule",)
)
DERIVED: Final = Claim(
    "{function} is the suspect function: {rule}.", *SUSPECT.kinds, derived=("function", "rule")
)
"""For names that the lines do not contain literally: of a group of functions, or of a system call."""
NO_SUSPECT: Final = Absence("No function is suspect: {rule}.", lambda report: not report.blame.function)
PASSED_OVER: Final = Claim("Skipped: {functions}.", "frames", "pointer", "header", derived=("functions",))


def read(report: CrashReport) -> Step:
    """Describe the path from the entry to the crash, and why the function is suspect."""
    functions = functions_of(report)
    found = enter(functions)
    if found is not None:
        way = _entered(report, functions, found)
    else:
        way = (_unentered(report), NO_TRACE.say(report))
    return Step(NAME, step_sentences(*way, *_suspect(report), _passed_over(report)))


def _suspect(report: CrashReport) -> tuple[Sentence | None, ...]:
    blame = report.blame
    if not blame.function:
        return (NO_SUSPECT.say(report, rule=blame.rule or "the report names no function"),)
    lines = frame(report, blame.function) or tuple(
        line for line in header(report) if blame.function in line.text
    )
    if lines:
        return (SUSPECT.say(report, lines, function=blame.function, rule=blame.rule),)
    return (DERIVED.say(report, _walked(report), function=blame.function, rule=blame.rule),)


def _walked(report: CrashReport) -> tuple[Line, ...]:
    """Return the lines from which a function's name is derived: the frames or the instruction pointer."""
    kinds = ("frames", "pointer")
    found = (fact.lines for kind in kinds for fact in report.facts_of(kind))
    return next(found, header(report))


def _passed_over(report: CrashReport) -> Sentence | None:
    skipped = dict(report.blame.skipped)
    names = listed((f"{name} ({why})" for name, why in skipped.items()), PASSED)
    lines = once(*(frame(report, name) for name in list(skipped)[:PASSED]))
    return PASSED_OVER.say(report, lines or (header(report) if skipped else ()), functions=names)


def _unentered(report: CrashReport) -> Sentence | None:
    """Describe a trace that does not show the entry into the kernel."""
    trace = report.call_trace
    if not trace:
        return None
    if not any(one.symbol for one in trace):
        modules = {one.module: None for one in trace if one.module}
        named = f"module{'s' if len(modules) > 1 else ''} {listed(modules)}"
        inside = f", some of them in the {named}" if modules else ""
        return SYMBOLLESS.say(report, count=len(trace), modules=inside)
    count = sum(one.reliable and bool(one.symbol) for one in trace)
    if not count:
        return GUESSES.say(report)
    return UNENTERED.say(report, count=f"{count} frame{'s' if count > 1 else ''}")


def _entered(report: CrashReport, functions: Sequence[str], found: Entry) -> tuple[Sentence | None, ...]:
    """Describe the path from the entry to the crash."""
    words, proof = _inside(report, functions, found)
    way = _through(functions[: found.at], report)
    below = enter(functions, found.at + 1) if found.kind in {"softirq", "interrupt"} else None
    while below is not None and below.kind in {"softirq", "interrupt"}:
        below = enter(functions, below.at + 1)
    if below is None:
        return (ENTERED.say(report, proof, entry=words, way=way),)
    interrupted, more = _inside(report, functions, below)
    under = _through(functions[found.at + 1 : below.at], report)
    if report.cause in _NOTICED:
        return (
            ENTERED.say(report, more, entry=interrupted, way=under),
            NOTICED.say(report, proof, noticed=words[0].upper() + words[1:]),
        )
    return (
        ENTERED.say(report, proof, entry=words, way=way),
        INTERRUPTED.say(report, more, entry=interrupted, way=under),
    )


def _inside(report: CrashReport, functions: Sequence[str], found: Entry) -> tuple[str, tuple[Line, ...]]:
    """Describe an entry in detail, with the lines that prove it."""
    proof = frame(report, functions[found.at])
    if found.kind == "work":
        named = next(iter(report.facts_of("work queue")), None)
        if named is None:
            return "a work queue", proof
        return f"a work queue ({named.value['name'].strip()[:80]})", (*named.lines, *proof)
    if found.kind == "softirq":
        inner = functions[max(found.at - 2, 0) : found.at]
        handled = next((_HANDLED[name] for symbol in inner[::-1] if (name := base(symbol)) in _HANDLED), "")
        return (f"the softirq for {handled}" if handled else "a softirq"), proof
    if found.kind == "thread":
        if base(functions[found.at - 1]).startswith("kernel_init") and found.at:
            return "the start of the kernel", proof
        return f"the kernel thread {report.process.name}" if report.process.name else "a kernel thread", proof
    return found.words, proof


def _through(functions: Sequence[str], report: CrashReport) -> str:
    """Name the functions from the entry to the crash, without helpers at its end."""
    suspect = report.blame.function
    names = [base(symbol) for symbol in functions]
    if suspect in names:
        names = names[names.index(suspect) :]
    else:
        while names and passed_over(names[0]):
            del names[0]
    way = [name for number, name in enumerate(names[::-1]) if not number or names[-number] != name]
    if len(way) > SHOWN:
        way = [*way[: SHOWN // 2], "...", *way[-SHOWN // 2 :]]
    return f" through {' -> '.join(way)}" if way else ""


_NOTICED: Final = frozenset({"rcu-stall", "soft-lockup", "hard-lockup"})
"""Causes that a timer's interrupt detects: the interrupted code matters, not the interrupt."""
