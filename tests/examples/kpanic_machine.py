"""A machine: C-SKY (arch/csky/kernel/ptrace.c, show_regs; 4.20 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import split

if TYPE_CHECKING:
    from pyparsing import ParserElement


@block("pointer", pointer("csky"))
def pc() -> ParserElement:
    """PC: 0x8021a5c4 (sysrq_handle_crash+0x14/0x1c)"""
    raw = k.FollowedBy(k.rest_of_line("raw"))
    return "PC: 0x" + k.hex_digits(8, 8) + " " + raw + k.place  # which takes brackets too


@sentence
def register() -> ParserElement:
    """a0: 0x00000063"""
    return k.Regex(r"(?<!\w)[a-z]{1,4}\d{0,2}")("name") + ": 0x" + k.hex_digits(8, 8)("value")


@block("registers", registers(named(register), "csky"), each=register)
def rows() -> ParserElement:
    """a0: 0x00000063   a1: 0x00000000   a2: 0x00000001   a3: 0x00000000"""
    return k.Lines(k.one_of("a0: 0x", "r4: 0x") + k.rest_of_line)("lines")


CSKY = Machine(name="csky", bits=32, blocks=(pc, rows), regions=split(0x80000000))
