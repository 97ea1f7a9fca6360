"""powerpc, s390x and riscv64 (arch/*/kernel/{process,dumpstack,traps}.c; 3.10 to 7.x).

::

    NIP [c0000000008e5c68] sysrq_handle_crash+0x28/0x30   NIP:  c0000000008e5c68 LR: c0000000008e6610 CTR: 0
    LR [c0000000008e6610] __handle_sysrq+0xd0/0x230
    GPR00: c000000000137dd8 c000000003977920 c000000002a87b00 0000000000000001
    Krnl PSW : 0704e00180000000 00000000006bf738 (sysrq_handle_crash+0x28/0x30)
    Krnl GPRS: 0000000000000000 …
    epc : sysrq_handle_crash+0x10/0x1a ra : __handle_sysrq+0x8a/0x134 sp : ff2000000000bd30
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grammars.element import Element
from grammars.machines import Jump, Machine, Rule
from grammars.machines.pointer import PLACE, pointer, registers
from grammars.trace import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGISTER: Final = re.compile(r"\b([a-z]{1,6}\d{0,2}) ?: ?([0-9a-f]{8,16})\b")
_NAMED: Final = re.compile(r"\b([A-Z]{2,6}\d{0,2}): +([0-9a-f]{4,16})\b")
_GENERAL: Final = re.compile(r"GPR(\d\d): ([0-9a-f ]+)")


def _riscv(text: str) -> Iterator[tuple[str, str]]:
    yield from _REGISTER.findall(text)


def _powerpc(text: str) -> Iterator[tuple[str, str]]:
    yield from _NAMED.findall(text)
    for first, row in _GENERAL.findall(text):
        yield from ((f"GPR{int(first) + number:02}", value) for number, value in enumerate(row.split()))


def _s390(text: str) -> Iterator[tuple[str, str]]:
    yield from (
        (f"GPR{number}", value) for number, value in enumerate(text.partition("GPRS:")[2].split()[:4])
    )


POWERPC = Machine(
    name="ppc64le",
    rules=(
        Rule(
            "ppc_pointer",
            r"NIP \[",
            pointer(rf"NIP (?P<raw>{PLACE}[^\n]*)(?:\nLR \[[0-9a-f]+\] (?P<caller>{NAME})\+0x)?", "ppc64le"),
        ),
        Rule(
            "ppc_registers",
            r"(?:NIP:  |REGS: |GPR\d\d: |MSR:  |CFAR: |DAR: )",
            registers(r"[^\n]*", _powerpc, "powerpc"),
        ),
    ),
)
S390 = Machine(
    name="s390x",
    rules=(
        Rule(
            "s390_pointer",
            r"Krnl PSW : ",
            pointer(rf"Krnl PSW : (?P<raw>[0-9a-f]+ [0-9a-f]+ \(?{PLACE}[^\n]*)", "s390x"),
        ),
        Rule(
            "s390_jump",
            r"Last Breaking-Event-Address:\n *\[",
            Element(
                "s390x last jump",
                rf"Last Breaking-Event-Address:\n *\[<[0-9a-f]+>\] (?P<caller>{NAME})\+0x[^\n]*",
                lambda match: Jump(match["caller"]),
            ),
        ),
        Rule(
            "s390_registers",
            r"Krnl GPRS: ",
            registers(r"[^\n]*", _s390, "s390x"),
        ),
    ),
)
RISCV = Machine(
    name="riscv64",
    rules=(
        Rule(
            "riscv_pointer",
            r"epc : ",
            pointer(rf"epc ?: (?P<raw>{PLACE})(?:\s+ra : (?P<caller>{NAME})\+0x)?[^\n]*", "riscv64"),
        ),
        Rule(
            "riscv_registers",
            r" (?:gp|t\d|s\d\d?|a\d) : ",
            registers(r"(?: (?:gp|t\d|s\d\d?|a\d) *: [^\n]*\n)+", _riscv, "riscv"),
        ),
    ),
)
