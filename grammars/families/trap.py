"""Traps of the CPU that are no page faults (arch/x86/kernel/traps.c, arch/arm*/kernel/traps.c, …).

::

    general protection fault: 0000 [#1] SMP   Oops: general protection fault, probably for …
    divide error: 0000 [#1] PREEMPT SMP        stack segment: 0000 [#1]      int3: 0000 [#1]
    invalid opcode: 0000 [#1] SMP              alignment check: 0000 [#1]
    PANIC: double fault, error_code: 0x0       traps: PANIC: double fault
    BUG: stack guard page was hit at (____ptrval____) (stack is …)   BUG: TASK stack guard page was hit at …
    Internal error: Oops: 96000004 [#1] SMP    Unhandled fault: alignment exception (0x221) at 0x…
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.family import SYMBOL, Family, Form, head, later

if TYPE_CHECKING:
    from collections.abc import Mapping

USER: Final = r"traps: |\bip:[0-9a-f]+ sp:|\[\d+\] (?:general protection|trap )|error:\w+ in "
"""How the kernel reports the same of a process: ``traps: bash[1] general protection fault ip:… sp:…``."""

_WORDS: Final = (
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
)
"""What ``Internal error`` and ``Oops -`` are about, and the cause."""


_FAULTS: Final = (
    ("external abort", "machine-check"),
    ("parity", "machine-check"),
    ("bus error", "machine-check"),
    ("alignment", "general-protection"),
    ("debug event", "breakpoint"),
)
"""What ``Unhandled fault`` is about (arch/arm/mm/fsr-2level.c, arch/arm64/mm/fault.c), and the cause."""


def _fault(fields: Mapping[str, str]) -> str:
    what = fields["what"].lower()
    return next((cause for word, cause in _FAULTS if word in what), "bad-pointer")


def _word(fields: Mapping[str, str]) -> str:
    what = fields["what"].lower()
    return next((cause for word, cause in _WORDS if word.lower() in what), "general-protection")


CFI = Family(  # kernel/cfi.c; then the trap that told it: ud2, brk, or a warning where that is enough
    name="cfi",
    literals=("CFI failure at ", "CFI failure (target: "),
    forms=(
        Form(
            head(rf"CFI failure at {SYMBOL}[^\n]*") + later(r"WARNING: ", within=3),
            title="CFI failure in {function}",
            kind="warning",
            cause="warning",
            walk="named",
        ),
        Form(
            head(rf"CFI failure at {SYMBOL}[^\n]*"),
            title="CFI failure in {function}",
            kind="oops",
            cause="bug",
            walk="named",
        ),
        Form(  # before 6.1
            head(r"CFI failure \(target: [^\n]*"),
            title="CFI failure in {function}",
            kind="bug",
            cause="bug",
            skip=(("cfi", "checks the jumps of others"),),
        ),
    ),
)

TRAP = Family(
    name="trap",
    literals=(
        "general protection fault",
        "divide error:",
        "divide_error:",
        "Oops: divide error",
        "stack segment: ",
        "stack segment fault",
        "invalid opcode: ",
        "Oops: invalid opcode",
        "int3: ",
        "Oops: int3",
        "alignment check: ",
        "Internal error: ",
        "Oops - ",
        "Oops: Exception in kernel mode, sig: 4 ",
        "Oops: Machine check, sig: ",
        "Oops: System Reset, sig: ",
        "Division by zero in kernel",
        "illegal operation: 0001 ilc:",
        "fixpoint divide exception: 0009 ilc:",
        "execute exception: 0003 ilc:",
        "addressing exception: 0005 ilc:",
        "specification exception: 0006 ilc:",
        "data exception: 0007 ilc:",
        "special operation exception: 0013 ilc:",
        "operand exception: 0015 ilc:",
        "Unhandled fault: ",
        "Unhandled prefetch abort: ",
        "Alignment trap: ",
        "Bad mode in ",
        "Unhandled kernel unaligned access[#",
        " bus error, epc == ",
        "Reserved instruction in kernel code[#",
        "Break instruction in kernel code[#",
    ),
    ignore=rf"{USER}|Oops - (?![^\n]*\[#\d)|Alignment trap: .* PC=",
    forms=(
        Form(
            head(r"general protection fault(?:[^\n]*address 0x(?P<address>[0-9a-f]+))?[^\n]*?(?:\[#|:|$)"),
            title="general protection fault in {function}",
            kind="oops",
            cause="general-protection",
            walk="ip",
        ),
        Form(
            head(r"(?:Oops: )?divide[ _]error: ?[^\n]*"),
            title="divide error in {function}",
            kind="oops",
            cause="divide-error",
            walk="ip",
        ),
        Form(
            head(r"stack segment(?: fault)?: [^\n]*"),
            title="stack segment fault in {function}",
            kind="oops",
            cause="general-protection",
            walk="ip",
        ),
        Form(
            head(r"(?:Oops: )?invalid opcode: [^\n]*"),
            title="invalid opcode in {function}",
            kind="oops",
            cause="invalid-opcode",
            walk="ip",
        ),
        Form(
            head(r"(?:Oops: )?int3: [^\n]*"),
            title="int3 in {function}",
            kind="oops",
            cause="breakpoint",
            walk="ip",
        ),
        Form(
            head(r"alignment check: [^\n]*"),
            title="alignment check in {function}",
            kind="oops",
            cause="general-protection",
            walk="ip",
        ),
        Form(
            head(r"Internal error: (?P<what>[^\n:]*)[^\n]*"),
            title="Internal error in {function}",
            kind="oops",
            cause=_word,
            walk="ip",
            detail="{what}",
        ),
        Form(
            head(r"Oops - (?P<what>illegal instruction)[^\n]*"),
            title="invalid opcode in {function}",
            kind="oops",
            cause="invalid-opcode",
            walk="ip",
        ),
        Form(
            head(r"Oops - (?P<what>[^\n\[]*)[^\n]*"),
            title="Internal error in {function}",
            kind="oops",
            cause=_word,
            walk="ip",
            detail="{what}",
        ),
        Form(
            head(r"(?:illegal operation: |Oops: Exception in kernel mode, sig: 4 )[^\n]*"),
            title="invalid opcode in {function}",
            kind="oops",
            cause="invalid-opcode",
            walk="ip",
        ),
        Form(  # powerpc
            head(r"Oops: Machine check, [^\n]*"),
            title="Machine check in {function}",
            kind="oops",
            cause="machine-check",
            walk="ip",
        ),
        Form(  # powerpc's NMI
            head(r"Oops: System Reset, [^\n]*"),
            title="System Reset in {function}",
            kind="oops",
            cause="nmi",
            walk="interrupted",
        ),
        Form(
            head(r"(?:fixpoint divide exception: |Division by zero in kernel)[^\n]*"),
            title="divide error in {function}",
            kind="oops",
            cause="divide-error",
            walk="ip",
            skip=(("^__div0|^Ldiv0|^__aeabi_", "divides for others"),),
        ),
        Form(
            head(r"(?P<what>[a-z ]+) exception: [0-9a-f]{4} ilc:[^\n]*"),
            title="{what} exception in {function}",
            kind="oops",
            cause="general-protection",
            walk="ip",
        ),
        Form(
            head(
                r"Unhandled (?:fault|prefetch abort): (?P<what>[^\n(]*?) *(?=\(|\n|$)"
                r"(?:[^\n]*? at 0x(?P<address>[0-9a-f]+))?[^\n]*"
            ),
            title="Unhandled fault in {function}",
            kind="oops",
            cause=_fault,
            walk="ip",
            detail="{what}",
        ),
        Form(
            head(r"Alignment trap: (?P<what>[^\n]*)"),
            title="Alignment trap in {function}",
            kind="oops",
            cause="general-protection",
            walk="ip",
        ),
        Form(  # mips, this one and those below
            head(r"Unhandled kernel unaligned access[^\n]*"),
            title="Unhandled kernel unaligned access in {function}",
            kind="oops",
            cause="general-protection",
            walk="ip",
        ),
        Form(
            head(r" bus error, epc[^\n]*"),
            title="bus error in {function}",
            kind="oops",
            cause="machine-check",
            walk="ip",
        ),
        Form(
            head(r"(?:Reserved|(?P<brk>Break)) instruction in kernel code[^\n]*"),
            title="invalid opcode in {function}",
            kind="oops",
            cause=lambda fields: "breakpoint" if "brk" in fields else "invalid-opcode",
            walk="ip",
        ),
        Form(
            head(r"Bad mode in (?P<what>[^\n]*?) handler[^\n]*"),
            title="Bad mode in {what} handler in {function}",
            kind="oops",
            cause="invalid-opcode",
            walk="ip",
        ),
    ),
)

STACK = Family(
    name="stack",
    literals=(
        "PANIC: double fault",
        "Oops: double fault",
        "double fault: ",
        "stack guard page was hit",
        "kernel stack overflow",
        "Insufficient stack space to handle exception",
        "Kernel stack overflow",
        "stack overflow detected",
        "corrupted stack end detected",
        "Thread overran stack",
        "Kernel stack pointer invalid",
    ),
    forms=(
        Form(
            head(r"(?:PANIC: |Oops: )?double fault[^\n]*"),
            title="PANIC: double fault in {function}",
            kind="oops",
            cause="double-fault",
            walk="ip",
            fatal=True,
        ),
        Form(
            head(r"stack guard page was hit[^\n]*"),
            title="BUG: stack guard page was hit in {function}",
            kind="oops",
            cause="stack-overflow",
            walk="down",
        ),
        Form(
            head(
                "(?:[kK]ernel stack overflow|Insufficient stack space to handle exception|stack overflow "
                r"detected|Thread overran stack)[^\n]*"
            ),
            title="kernel stack overflow in {function}",
            kind="oops",
            cause="stack-overflow",
            walk="down",
        ),
        Form(
            head(r"Kernel stack pointer invalid[^\n]*"),  # arch/s390/kernel/traps.c, 7.2
            title="kernel stack pointer invalid in {function}",
            kind="oops",
            cause="stack-overflow",
            walk="ip",
            traceless=True,
        ),
        Form(
            head(r"corrupted stack end detected[^\n]*"),
            title="kernel panic: corrupted stack end in {function}",
            kind="panic",
            cause="stack-corruption",
            walk="down",
            fatal=True,
        ),
    ),
)
