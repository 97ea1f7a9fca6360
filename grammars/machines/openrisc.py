"""openrisc (arch/openrisc/kernel/traps.c, arch/openrisc/mm/fault.c; 3.1 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.oops import read_oops
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import split

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["OPENRISC"]


@block("pointer", pointer("openrisc"))
def pc() -> ParserElement:
    """PC: c0002f4c    SR: 0000807f    SP: c1845e50"""
    address = k.FollowedBy(k.hex_digits(8, 8)("raw")) + k.hex_digits(8, 8)("address")
    return k.one_of("   PC: ", "PC: ") + address + k.Regex(" {1,8}") + "SR: " + k.rest_of_line


@block("oops", read_oops)
def oops() -> ParserElement:
    """Oops#: 0000"""
    return "Oops#: " + k.hex_number("error") + k.rest_of_line


@sentence
def register() -> ParserElement:
    """GPR01: c1845e50"""
    return k.Regex(r"(?<!\w)GPR\d\d")("name") + ": " + k.hex_digits(8, 8)("value")


@block("registers", registers(named(register), "openrisc"), each=register)
def rows() -> ParserElement:
    """GPR00: 00000000 GPR01: c1845e50 GPR02: c1845e8c GPR03: 00000000
    GPR04: c03a8000 GPR05: 00000001 GPR06: 00000000 GPR07: c0390000
    """
    first = k.one_of(*[f"GPR{number:02}: " for number in range(0, 32, 4)])
    row = first + k.Regex(r"[0-9a-f]{8} GPR\d\d: ")
    return k.Lines(row + k.rest_of_line)("lines")


OPENRISC = Machine(
    name="openrisc",
    words=("openrisc", "or1k"),
    bits=32,
    blocks=(pc, oops, rows),
    regions=split(0xC0000000),
)
