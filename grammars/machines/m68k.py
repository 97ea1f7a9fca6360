"""m68k (arch/m68k/kernel/traps.c, arch/m68k/mm/fault.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import apart
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["M68K"]


@block("pointer", pointer())
def pc() -> ParserElement:
    """PC: [<0000280a>] sysrq_handle_crash+0x1a/0x40"""  # sh too
    return "PC: " + k.FollowedBy("[<") + k.FollowedBy(k.rest_of_line("raw")) + k.place + k.rest_of_line


@sentence
def register() -> ParserElement:
    """d0: 00000063

    SR: 2204
    """
    return k.register(r"(?:[ad]\d|S[RP])", ": ", (4, 8))


@block("registers", registers(named(register), "m68k"), each=register)
def rows() -> ParserElement:
    """SR: 2204  SP: 05ef00e4  a2: 010195d0
    d0: 00000063    d1: 00000001    d2: 00000000    d3: 0029d6f8
    d4: 00000007    d5: 002a5c3e    a0: 0033c9a4    a1: 0029f5d0
    """
    row = k.one_of("SR: ", "d0: ", "d4: ") + k.Regex("[0-9a-f]{4,8} {2,4}")
    return k.Lines(row + k.rest_of_line)("lines")


_APART: Final = apart("m68k")
M68K = Machine(
    name="m68k",
    words=("m68k",),
    bits=32,
    blocks=(pc, rows),
    regions=lambda _address: _APART,
    disassembler=Disassembler(architecture="M68K", modes=("BIG_ENDIAN", "M68K_040"), order="big"),
)
