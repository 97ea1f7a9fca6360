"""powerpc, s390x, riscv64 and mips (arch/*/kernel/{process,dumpstack,traps}.c; 3.10 to 7.x).

::

    NIP [c0000000008e5c68] sysrq_handle_crash+0x28/0x30   NIP:  c0000000008e5c68 LR: c0000000008e6610 CTR: 0
    LR [c0000000008e6610] __handle_sysrq+0xd0/0x230
    GPR00: c000000000137dd8 c000000003977920 c000000002a87b00 0000000000000001
    Krnl PSW : 0704e00180000000 00000000006bf738 (sysrq_handle_crash+0x28/0x30)
    Krnl GPRS: 0000000000000000 …
    Krnl Code: 000003ff7fd023de: a51ddead		llihl	%r1,57005     # (* since 7.x) before the PSW, > at it
    Instruction dump:                                                until 6.2; then Code:
    60000000 7c0802a6 <e9430000> 4e800020
    epc : sysrq_handle_crash+0x10/0x1a ra : __handle_sysrq+0x8a/0x134 sp : ff2000000000bd30
    epc   : 8003ab3c kthread_data+0x4/0xc      $ 0   : 00000000 00000015 00000000 a25b0831      mips
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kpanic.grammars.element import Element
from kpanic.grammars.header import Code
from kpanic.grammars.machines import Jump, Machine, Registers, Rule
from kpanic.grammars.machines.pointer import PLACE, pointer, registers
from kpanic.grammars.trace import DECODED, NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGISTER: Final = re.compile(r"\b([a-z]{1,7}\d{0,2}) ?: ?([0-9a-f]{8,16})\b")
_NAMED: Final = re.compile(r"\b([A-Z]{2,6}\d{0,2}): +([0-9a-f]{4,16})\b")
_GENERAL: Final = re.compile(r"GPR(\d\d): ([0-9a-f ]+)")


def _riscv(text: str) -> Iterator[tuple[str, str]]:
    yield from _REGISTER.findall(text)


def _powerpc(match: re.Match[str]) -> Registers | Code:
    if match["code"] is not None:
        return Code(" ".join(match["code"].split()))
    return Registers(match[0], _powerpc_registers)


def _powerpc_registers(text: str) -> Iterator[tuple[str, str]]:
    yield from _NAMED.findall(text)
    for first, row in _GENERAL.findall(text):
        yield from ((f"GPR{int(first) + number:02}", value) for number, value in enumerate(row.split()))


_INSTRUCTION: Final = re.compile(r"([#*> ])[0-9a-f]{8,16}: ([0-9a-f]{4,12})\b")
_MARKED: Final = {"#": "#{}", "*": "#{}", ">": "<{}>", " ": "{}"}


def _s390(match: re.Match[str]) -> Registers | Code:
    """Return registers, or code: ``#`` before the instruction ahead of the PSW, ``<>`` around that at it."""
    if match["code"] is not None:
        found = _INSTRUCTION.findall(match["code"])
        return Code(" ".join(_MARKED[mark].format(digits) for mark, digits in found))
    return Registers(match[0], _s390_registers)


def _s390_registers(text: str) -> Iterator[tuple[str, str]]:
    yield from ((f"GPR{number}", value) for number, value in enumerate(text.partition("GPRS:")[2].split()))


def _mips(text: str) -> Iterator[tuple[str, str]]:
    name, _, row = text.partition(":")
    values = row.split()
    if name[0] != "$":
        yield from ((name.strip(), value) for value in values[:1])
        return
    first = int(name[1:])
    yield from ((f"${first + number}", value) for number, value in enumerate(values[:4]))


POWERPC = Machine(
    name="ppc64le",
    rules=(
        Rule(
            "ppc_pointer",
            r"NIP \[",
            pointer(
                rf"NIP (?P<raw>{PLACE}[^\n]*)(?:\nLR \[[0-9a-f]+\] \.?(?P<caller>{NAME})(?:\+0x|{DECODED}))?",
                "ppc64le",
            ),
        ),
        Rule(
            "xmon_pointer",
            r"    pc: [0-9a-f]{16}",
            pointer(
                rf"    pc: (?P<raw>[0-9a-f]{{16}}(?:: {PLACE})?)[^\n]*"
                rf"(?:\n    lr: [0-9a-f]+: \.?(?P<caller>{NAME})\+0x)?",
                "ppc64le",
            ),
        ),
        Rule(
            "ppc_registers",
            r"(?:NIP:  |REGS: |GPR\d\d: |MSR:  |CFAR: |DAR: |Instruction dump:)",
            Element(
                "powerpc registers and code",
                r"Instruction dump:(?P<code>(?:\n[0-9a-fX<>() ]{8,100}(?=\n)){0,4})|[^\n]*",
                _powerpc,
            ),
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
            r"Krnl (?:GPRS|Code):",
            Element(
                "s390x registers and code",
                r"Krnl Code:(?P<code>[^\n]*(?:\n *[#*>]?[0-9a-f]{8,16}: [^\n]*){0,15})"
                r"|Krnl GPRS:[^\n]*(?:\n {4,}(?:[0-9a-f]{16} ?){4}){0,3}",
                _s390,
            ),
        ),
    ),
)
RISCV = Machine(
    name="riscv64",
    rules=(
        Rule(
            "riscv_pointer",
            r"epc : ",
            pointer(
                rf"epc ?: (?P<raw>{PLACE})(?:\s+ra : (?P<caller>{NAME})(?:\+0x|{DECODED}))?[^\n]*", "riscv64"
            ),
        ),
        Rule(
            "riscv_registers",
            r"(?: (?:gp|t\d|s\d\d?|a\d) : |status: )",
            registers(r"(?:(?: (?:gp|t\d|s\d\d?|a\d) *|status): [^\n]*\n)+", _riscv, "riscv"),
        ),
    ),
)
MIPS = Machine(
    name="mips",
    rules=(
        Rule(
            "mips_pointer",
            r"epc   : ",
            pointer(
                rf"epc   : (?P<raw>(?:(?:[0-9a-f]{{8}}){{1,2}} )?{PLACE}[^\n]*)"
                rf"(?:\n(?:[^\n]*\n)?ra    : [0-9a-f]+ (?P<caller>{NAME})\+0x)?",
                "mips",
            ),
        ),
        Rule(
            "mips_registers",
            r"(?:\$ ?\d+ +: |(?:Hi|Lo|Status|Cause|BadVA) *: [0-9a-f]{8})",
            registers(r"[^\n]*", _mips, "mips"),
        ),
    ),
)
