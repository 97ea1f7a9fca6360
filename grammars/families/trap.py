"""CPU exceptions other than page faults (arch/x86/kernel/traps.c, arch/arm*/kernel/traps.c, …)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import ByWord, Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

USER: Final = r"traps: |\bip:[0-9a-f]+ sp:|\[\d+\] (?:general protection|trap )|error:\w+ in "
"""Reports of the same exceptions in user mode: ``traps: bash[1] general protection fault ip:… sp:…``."""

ERROR: Final = ByWord(  # for ``Internal error`` and ``Oops -``
    "what",
    (
        ("undefined instruction", "invalid-opcode"),
        ("illegal instruction", "invalid-opcode"),
        ("bad mode", "invalid-opcode"),
        ("BRK", "breakpoint"),
        ("breakpoint", "breakpoint"),
        ("BUG", "bug"),
        ("CFI", "bug"),
        ("SError", "machine-check"),
        ("synchronous external abort", "machine-check"),
        ("stack overflow", "stack-overflow"),
        ("outside uaccess routines", "user-memory-access"),
        ("misaligned", "general-protection"),
        ("access fault", "bad-pointer"),
        ("Oops", "bad-pointer"),
    ),
    default="general-protection",
)
FAULT: Final = ByWord(  # for ``Unhandled fault`` (arch/arm/mm/fsr-2level.c, arch/arm64/mm/fault.c)
    "what",
    (
        ("external abort", "machine-check"),
        ("parity", "machine-check"),
        ("bus error", "machine-check"),
        ("alignment", "general-protection"),
        ("debug event", "breakpoint"),
    ),
    default="bad-pointer",
)

SYNDROME: Final = ByWord(  # for unexpected exceptions of arm64 (arch/arm64/kernel/traps.c)
    "syndrome",
    (
        ("SError", "machine-check"),
        ("BTI", "exec-protected"),
        ("BRK", "breakpoint"),
        ("DABT", "bad-pointer"),
        ("IABT", "bad-pointer"),
        ("FPAC", "general-protection"),
        ("Alignment", "general-protection"),
    ),
    default="invalid-opcode",
)

cfi = Family("cfi")  # kernel/cfi.c announces the trap behind it: ud2, brk, or a warning where that is enough


@cfi.form(title="CFI failure in {function}", kind="warning", cause="warning", walk="named")
def cfi_permissive() -> ParserElement:
    """CFI failure at boom_cfi+0x1/0x2 [boom] (target: f+0x0/0x2; expected type: 0x12345678)
    WARNING: CPU: 0 PID: 1 at boom_cfi+0x1/0x2 [boom]
    """
    return "CFI failure at " + k.symbol + k.later("WARNING: ", within=4)


@cfi.form(title="CFI failure in {function}", kind="oops", cause="bug", walk="named")
def cfi_failure() -> ParserElement:
    """CFI failure at boom_cfi+0x1/0x2 [boom] (target: f+0x0/0x2; expected type: 0x12345678)"""
    return "CFI failure at " + k.symbol + k.rest_of_line


@cfi.form(
    title="CFI failure in {function}", kind="bug", cause="bug", skip=(("cfi", "checks indirect calls"),)
)
def cfi_target() -> ParserElement:
    """CFI failure (target: f+0x0/0x2):"""  # before 6.1
    return "CFI failure (target: " + k.rest_of_line


trap = Family("trap", ignore=rf"{USER}|Oops - (?![^\n]*\[#\d)|Alignment trap: .* PC=")
_form = partial(trap.form, kind="oops", walk="ip")


@_form(title="general protection fault in {function}", cause="general-protection")
def general_protection() -> ParserElement:
    """general protection fault: 0000 [#1] SMP

    general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP

    general protection fault, maybe for address 0xffffffffc0527080: 0000 [#1] SMP
    """
    address = "address 0x" + k.hex_number("address")
    mark = k.one_of("[#", ":")
    return (
        "general protection fault"
        + k.Opt(k.UpTo(address)("likely") + address)
        + k.UpTo(mark)
        + (mark | k.end_of_text)
        + k.rest_of_line
    )


@_form(title="divide error in {function}", cause="divide-error")
def divide() -> ParserElement:
    """divide error: 0000 [#1] PREEMPT SMP

    Oops: divide error: 0000 [#1] SMP
    """
    return k.one_of("divide error:", "divide_error:", "Oops: divide error:") + k.rest_of_line


@_form(title="stack segment fault in {function}", cause="general-protection")
def stack_segment() -> ParserElement:
    """stack segment: 0000 [#1] SMP"""
    return k.one_of("stack segment: ", "stack segment fault: ") + k.rest_of_line


@_form(title="invalid opcode in {function}", cause="invalid-opcode")
def invalid_opcode() -> ParserElement:
    """invalid opcode: 0000 [#1] SMP"""
    return k.one_of("invalid opcode: ", "Oops: invalid opcode: ") + k.rest_of_line


@_form(title="int3 in {function}", cause="breakpoint")
def int3() -> ParserElement:
    """int3: 0000 [#1] SMP"""
    return k.one_of("int3: ", "Oops: int3: ") + k.rest_of_line


@_form(title="alignment check in {function}", cause="general-protection")
def alignment_check() -> ParserElement:
    """alignment check: 0000 [#1] SMP"""
    return "alignment check: " + k.rest_of_line


@_form(title="Internal error in {function}", cause=ERROR, detail="{what}")
def internal_error() -> ParserElement:
    """Internal error: Oops: 96000004 [#1] SMP

    Internal error: synchronous external abort: 96000210 [#1] SMP
    """  # arm64, arm
    return "Internal error: " + k.Opt(k.Regex(r"[^\n:]+")("what")) + k.rest_of_line


@_form(title="invalid opcode in {function}", cause="invalid-opcode")
def oops_illegal_instruction() -> ParserElement:
    """Oops - illegal instruction [#1]"""  # riscv
    return "Oops - " + k.Literal("illegal instruction")("what") + k.rest_of_line


@_form(title="Internal error in {function}", cause=ERROR, detail="{what}")
def oops_dash() -> ParserElement:
    """Oops - load access fault [#1]"""  # riscv
    return "Oops - " + k.Opt(k.Regex(r"[^\n\[]+")("what")) + k.rest_of_line


@_form(title="invalid opcode in {function}", cause="invalid-opcode")
def illegal_operation() -> ParserElement:
    """illegal operation: 0001 ilc:1 [#1] SMP

    Oops: Exception in kernel mode, sig: 4 [#1]
    """  # s390x; powerpc
    return (
        k.one_of("illegal operation: 0001 ilc:", "Oops: Exception in kernel mode, sig: 4 ") + k.rest_of_line
    )


@_form(title="Machine check in {function}", cause="machine-check")
def machine_check() -> ParserElement:
    """Oops: Machine check, sig: 7 [#1]"""  # powerpc
    return "Oops: Machine check, sig: " + k.rest_of_line


@_form(title="System Reset in {function}", cause="nmi", walk="interrupted")
def system_reset() -> ParserElement:
    """Oops: System Reset, sig: 6 [#1]"""  # powerpc's NMI
    return "Oops: System Reset, sig: " + k.rest_of_line


@_form(title="divide error in {function}", cause="divide-error")
def division_by_zero() -> ParserElement:
    """fixpoint divide exception: 0009 ilc:2 [#1] SMP"""  # s390x
    return "fixpoint divide exception: 0009 ilc:" + k.rest_of_line


@_form(title="{what} exception in {function}", cause="general-protection")
def program_check() -> ParserElement:
    """specification exception: 0006 ilc:3 [#1] SMP

    Unknown program exception: 0028 [#1] SMP
    """  # s390x; before 3.14 without the instruction length code
    what = k.one_of("execute", "addressing", "specification", "data", "special operation", "operand")
    named = (what | "Unknown program")("what") + " exception: "
    return named + k.hex_number + k.one_of(" ilc:", " [#") + k.rest_of_line


@_form(title="{what}", cause="general-protection", harmless=True)
def fault_of_a_program() -> ParserElement:
    """Unhandled fault: alignment exception (0x811) at 0xb13eed96
    pgd = 45acdb93

    Alignment trap: not handling instruction f843b004 at [<b677bb2e>]
    8<--- cut here ---
    Unhandled fault: alignment exception (0x811) at 0xb13eed96
    pgd = 45acdb93
    """  # arm: "Internal error" follows a fault in the kernel (traps.c: arm_notify_die)
    fault = k.one_of("Unhandled fault: ", "Unhandled prefetch abort: ")
    trap = "Alignment trap: not handling " + k.later(fault, within=3)
    died = k.rest_of_line + k.Later("Internal error: ", within=12)
    header = (fault | trap) + k.Opt(k.Regex(r"[^\n(]+")("what"))
    return header + ~died + k.later("pgd = ", within=2)


@_form(title="Unhandled fault in {function}", cause=FAULT, detail="{what}")
def unhandled_fault() -> ParserElement:
    """Unhandled fault: alignment exception (0x221) at 0xb6f12345

    Unhandled prefetch abort: breakpoint debug exception (0x222) at 0x00000000
    """  # arm, arm64
    address = " at 0x" + k.hex_number("address")
    return (
        k.one_of("Unhandled fault: ", "Unhandled prefetch abort: ")
        + k.UpTo(k.Regex(r" *(?:\(|\n|\Z)"), least=1)("what")
        + k.Opt(k.UpTo(address)("likely") + address)
        + k.rest_of_line
    )


@_form(title="Alignment trap in {function}", cause="general-protection")
def alignment_trap() -> ParserElement:
    """Alignment trap: not handling instruction e1b32f9f at [<c0123456>]"""  # arm
    return "Alignment trap: " + k.Opt(k.any_text("what")) + k.rest_of_line


@_form(title="Unhandled kernel unaligned access in {function}", cause="general-protection")
def unaligned_access() -> ParserElement:
    """Unhandled kernel unaligned access[#1]:"""  # mips
    return "Unhandled kernel unaligned access[#" + k.rest_of_line


@_form(title="bus error in {function}", cause="machine-check")
def bus_error() -> ParserElement:
    """Data bus error, epc == 80123456, ra == 80123458

    Instruction bus error, epc == 80123456, ra == 80123458
    """  # mips
    return k.one_of("Data", "Instruction") + " bus error, epc == " + k.rest_of_line


@_form(
    title="invalid opcode in {function}",
    cause=ByWord("what", (("break", "breakpoint"),), default="invalid-opcode"),
)
def reserved_instruction() -> ParserElement:
    """Reserved instruction in kernel code[#1]:

    Break instruction in kernel code[#1]:
    """  # mips
    return k.one_of("Reserved", "Break")("what") + " instruction in kernel code[#" + k.rest_of_line


@_form(title="Bad mode in {what} handler in {function}", cause=SYNDROME)
def bad_mode() -> ParserElement:
    """Bad mode in Synchronous Abort handler detected on CPU0, code 0x86000006 -- IABT (current EL)

    Bad mode in prefetch abort handler detected
    """  # arm64 before 5.13; arm
    syndrome = k.UpTo(" -- ") + " -- " + k.any_text("syndrome")
    return "Bad mode in " + k.UpTo(" handler", least=1)("what") + " handler" + (syndrome | k.rest_of_line)


@_form(title="Unhandled exception in {function}", cause=SYNDROME, detail="{syndrome}", fatal=True)
def unhandled_exception() -> ParserElement:
    """Unhandled 64-bit el1h sync exception on CPU0, ESR 0x0000000034000002 -- BTI"""  # arm64 since 5.13
    bits = k.one_of("Unhandled 64-bit el", "Unhandled 32-bit el")
    syndrome = k.UpTo(" -- ") + " -- " + k.any_text("syndrome")
    return bits + k.Regex(r"\d[ht]?(?: \w{2,6}){1,2} exception on CPU") + k.number + syndrome


@_form(title="Machine check in {function}", cause="machine-check")
def machine_check_interrupt() -> ParserElement:
    """Severe Machine check interrupt [Not recovered]

    Machine check in kernel mode.
    """  # powerpc: arch/powerpc/kernel/mce.c before 4.18; 32-bit platforms
    return (
        k.one_of("Severe Machine check interrupt [Not recovered", "Machine check in kernel mode")
        + k.rest_of_line
    )


@_form(title="Non-resumable error in {function}", cause="machine-check", fatal=True)
def non_resumable_error() -> ParserElement:
    """NON-RESUMABLE ERROR: Reporting on cpu 39"""  # sparc64: arch/sparc/kernel/traps_64.c
    return "NON-RESUMABLE ERROR: Reporting on cpu " + k.number


stack = Family("stack", after=1500)  # a recursion begins in the last frames of a long backtrace
_stack = partial(stack.form, kind="oops", cause="stack-overflow")


@stack.form(
    title="PANIC: double fault in {function}", kind="oops", cause="double-fault", walk="ip", fatal=True
)
def double_fault() -> ParserElement:
    """PANIC: double fault, error_code: 0x0

    Oops: double fault: 0000 [#1] SMP

    double fault: 0000 [#1] SMP
    """
    return k.one_of("PANIC: double fault", "Oops: double fault", "double fault: ") + k.rest_of_line


@_stack(title="BUG: stack guard page was hit in {function}", walk="down")
def guard_page() -> ParserElement:
    """stack guard page was hit at 000000001234 (stack is 0000..0001)"""
    return "stack guard page was hit" + k.rest_of_line


@_stack(title="kernel stack overflow in {function}", walk="deep")
def overflow() -> ParserElement:
    """Insufficient stack space to handle exception!

    Thread overran stack, or stack corrupted
    """
    return (
        k.one_of(
            "kernel stack overflow",
            "Kernel stack overflow",
            "Insufficient stack space to handle exception",
            "stack overflow detected",
            "Thread overran stack",
        )
        + k.rest_of_line
    )


@_stack(title="kernel stack pointer invalid in {function}", walk="ip", traceless=True)
def stack_pointer() -> ParserElement:
    """Kernel stack pointer invalid"""  # s390x: arch/s390/kernel/traps.c, 7.2
    return "Kernel stack pointer invalid" + k.rest_of_line


@stack.form(
    title="kernel panic: corrupted stack end in {function}",
    kind="panic",
    cause="stack-corruption",
    walk="down",
    fatal=True,
)
def stack_end() -> ParserElement:
    """corrupted stack end detected inside scheduler"""
    return "corrupted stack end detected" + k.rest_of_line
