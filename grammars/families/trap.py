"""Traps of the CPU that are no page faults (arch/x86/kernel/traps.c, arch/arm*/kernel/traps.c, …).

::

    general protection fault: 0000 [#1] SMP                         Oops: general protection fault, probably for …
    divide error: 0000 [#1] PREEMPT SMP        stack segment: 0000 [#1]      int3: 0000 [#1]
    invalid opcode: 0000 [#1] SMP              alignment check: 0000 [#1]
    PANIC: double fault, error_code: 0x0       traps: PANIC: double fault
    BUG: stack guard page was hit at (____ptrval____) (stack is …)           BUG: TASK stack guard page was hit at …
    Internal error: Oops: 96000004 [#1] SMP    Unhandled fault: alignment exception (0x221) at 0x…
"""

from __future__ import annotations

from typing import Final

from grammars.family import Family, Form, head

USER: Final = r"traps: |\bip:[0-9a-f]+ sp:|\[\d+\] (?:general protection|trap )|error:\w+ in "
"""How the kernel reports the same of a process: ``traps: bash[1] general protection fault ip:… sp:…``."""

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
        "Unhandled fault: ",
        "Unhandled prefetch abort: ",
        "Alignment trap: ",
        "Bad mode in ",
    ),
    ignore=USER,
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
            cause="general-protection",
            walk="ip",
        ),
        Form(
            head(r"Unhandled (?:fault|prefetch abort): (?P<what>[^\n(]*)[^\n]*"),
            title="Unhandled fault in {function}",
            kind="oops",
            cause="bad-pointer",
            walk="ip",
        ),
        Form(
            head(r"Alignment trap: (?P<what>[^\n]*)"),
            title="Alignment trap in {function}",
            kind="oops",
            cause="general-protection",
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
                r"(?:[kK]ernel stack overflow|Insufficient stack space to handle exception|stack overflow detected|Thread overran stack)[^\n]*"
            ),
            title="kernel stack overflow in {function}",
            kind="oops",
            cause="stack-overflow",
            walk="down",
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
