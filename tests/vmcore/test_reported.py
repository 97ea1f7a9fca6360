"""The reported frame of a stack: the interrupted one, or the one that a failing check is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from kpanic.shipper.vmcore.dump import Stack, trapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drgn import Object, StackFrame

KEXEC = "crash_setup_regs __crash_kexec panic "
TRAP = "exc_page_fault asm_exc_page_fault"
IRQ = "irq_handler __handle_irq_event_percpu common_interrupt asm_common_interrupt"


class Frame(NamedTuple):
    """A frame; an inlined function has the program counter of its caller."""

    name: str
    pc: int
    interrupted: bool


def frames(text: str) -> Sequence[StackFrame]:
    """Return the frames of a stack, innermost first: ``name!`` was interrupted, ``name+`` is inlined."""
    found: list[Frame] = []
    pc = (1 << 64) - (1 << 20)
    for word in text.split():
        found.append(Frame(word.rstrip("!+"), pc, word.endswith("!")))
        pc += 0 if word.endswith("+") else 16
    return cast("Sequence[StackFrame]", found)


@pytest.mark.parametrize(
    ("text", "trapped"),
    [
        # mm/kasan/report.c: 6.1 with panic_on_warn, 5.10 and 4.18 (RHEL 8), without inlined checks
        (f"{KEXEC} check_panic_on_warn end_report.part.0 kasan_report guilty commit_set", "guilty"),
        (f"{KEXEC} end_report __kasan_report kasan_report __asan_load8 guilty commit_set", "guilty"),
        (f"{KEXEC} kasan_end_report kasan_report check_memory_region guilty", "guilty"),
        (f"{KEXEC} end_report kasan_report kasan_check_range __asan_memcpy guilty", "guilty"),
        (f"{KEXEC} end_report kasan_report instrument_atomic_read+ account_get+ guilty x", "account_get"),
        ("__const_udelay panic end_report kasan_report guilty commit_set", "guilty"),
        # in an interrupt handler, on an interrupted stack
        (f"{KEXEC} end_report kasan_report {IRQ} cpu_idle! do_idle", "irq_handler"),
        # checks in exceptions: tags of arm64, KFENCE, WARN
        (f"{KEXEC} end_report kasan_report report_tag_fault el1_abort el1h_64_sync guilty! x", "guilty"),
        (f"{KEXEC} check_panic_on_warn kfence_report_error kfence_handle_page_fault {TRAP} guilty! x",
         "guilty"),
        (f"{KEXEC} check_panic_on_warn __warn report_bug handle_bug asm_exc_invalid_op guilty! x",
         "guilty"),
        # lib/ubsan.c, kernel/panic.c
        (f"{KEXEC} check_panic_on_warn ubsan_epilogue __ubsan_handle_out_of_bounds guilty x", "guilty"),
        (f"{KEXEC} __stack_chk_fail guilty commit_set", "guilty"),
        (f"{KEXEC} check_panic_on_warn __warn warn_slowpath_fmt guilty commit_set", "guilty"),
        # a panic without a check
        (f"{KEXEC} guilty commit_set", ""),
        (f"{KEXEC} check_hung_uninterruptible_tasks watchdog kthread", ""),
        (f"{KEXEC} watchdog_timer_fn __run_hrtimer asm_common_interrupt guilty! kthread", "guilty"),
        (f"{KEXEC} nmi_panic watchdog_overflow_callback __perf_event_overflow asm_exc_nmi guilty! x",
         "guilty"),
        ("guilty! commit_set", "guilty"),
        ("kasan_report guilty", ""),
        (f"{KEXEC} end_report kasan_report", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_trapping_frame(text: str, trapped: str) -> None:
    stack = frames(text)
    found = Stack(cast("Object", None), stack, trapping(stack)).trapped
    assert (found[0].name if found else "") == trapped
