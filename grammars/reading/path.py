"""Through what the kernel got there: how it was entered, whom it is blamed on, who was passed over."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from grammars.blame import REMEMBERED, bare, base
from grammars.model import Step
from grammars.names import Names
from grammars.reading.marks import listed

if TYPE_CHECKING:
    from grammars.model import CrashReport, Frame
    from grammars.reading.marks import Marks

_CALL: Final = re.compile(
    r"^(?:compat_)?(?:__)?(?:do_|se_|x64_|ia32_|arm64_|riscv_)*(?:sys|ksys|SyS|SYSC)_(\w+)$"
)
_ENTRIES: Final = Names(
    (
        ("^worker_thread|^process_one_work|^process_scheduled_works", "a work queue's worker"),
        ("^do_softirq|^__do_softirq|^handle_softirqs|^run_ksoftirqd", "a softirq"),
        (
            (
                "^sysvec_|^asm_sysvec_|^common_interrupt|^asm_common_interrupt|^ret_from_intr|^apic_timer|^do_IRQ"
                r"|^__irq_svc|^el1h?_\w*irq"
            ),
            "an interrupt",
        ),
        (
            (
                "^exc_page_fault|^asm_exc_page_fault|^page_fault$|^async_page_fault$|^do_user_addr_fault|^el0_da"
                "|^do_mem_abort"
            ),
            "a page fault",
        ),
        ("^write_sysrq_trigger", "a write to /proc/sysrq-trigger"),
        ("^cpu_startup_entry|^do_idle|^rest_init|^start_secondary", "the idle task"),
        ("^kernel_init|^do_one_initcall", "the kernel's own start"),
        ("^kthread|^ret_from_fork", "a kernel thread"),
        (
            "^entry_SYS|^system_call|^el0_svc|^sysenter|^ret_fast|^do_fast_call|^do_SYSENTER|syscall",
            "a system call",
        ),
    )
)
"""What a trace's frames show of the way in, from the innermost out."""


@functools.lru_cache(maxsize=REMEMBERED)
def _way(symbol: str) -> str:
    """Return what a function shows of the way in."""
    name = base(symbol)
    if call := _CALL.match(bare(name)) or _CALL.match(name):
        return f"the system call {call[1]}"
    return _ENTRIES.reason(name)


def entry(frames: tuple[Frame, ...]) -> tuple[str, str]:
    """Return how the kernel was entered, in words, and the function that shows it."""
    for frame in frames:
        if frame.reliable and frame.symbol:
            way = _way(frame.symbol)
            if way:
                return way, frame.symbol
    return "", ""


def read(report: CrashReport, marks: Marks) -> Step:
    """Tell the way in, and why the blamed function is blamed."""
    said: list[str] = []
    way, shown = entry(report.call_trace)
    proof = marks.get("work")
    frames = [frame for frame in report.call_trace if frame.reliable and frame.symbol]
    if way:
        said.append(f"The trace comes from {way}")
        proof += marks.holding(shown)
    elif frames:
        said.append(f"The trace has {len(frames)} frames and does not show how the kernel was entered")
    elif report.call_trace:
        said.append("The trace has nothing but guesses (the frames with ?)")
    else:
        said.append("There is no call trace")
    blame = report.blame
    if blame.function:
        said.append(f"{blame.function} is blamed: {blame.rule}")
        proof += marks.holding(f"{blame.function}+0x") or marks.holding(blame.function)
    else:
        said.append(f"no function is blamed: {blame.rule or 'the report names none'}")
    if blame.skipped:
        names = listed((f"{name} ({why})" for name, why in dict(blame.skipped).items()), 3)
        said.append(f"passed over: {names}")
    unique = {id(line): line for line in proof}
    return Step("path", "; ".join(said) + ".", tuple(unique.values()))
