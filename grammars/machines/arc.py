"""arc (arch/arc/kernel/{troubleshoot,stacktrace}.c, arch/arc/mm/fault.c; 3.9 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import regions

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["ARC"]


@block("pointer", pointer("arc"))
def eret() -> ParserElement:
    """[ERET  ]: free_highmem_page+0x6/0x88"""  # until 5.1
    return "[ERET  ]: " + k.FollowedBy(k.rest_of_line("raw")) + k.place + k.rest_of_line


@block("pointer", pointer("arc"))
def instruction() -> ParserElement:
    """Invalid Read @ 0x01200000 by insn @ free_highmem_page+0x6/0x88"""  # since 5.2
    access = k.one_of("Read", "Write", "EX") + " @ 0x" + k.hex_number + " by insn @ "
    return "Invalid " + access + k.FollowedBy(k.rest_of_line("raw")) + k.place + k.rest_of_line


@block("fault address", dict)
def efa() -> ParserElement:
    """[EFA   ]: 0x01200000

    ECR: 0x00050100 EFA: 0x01200000 ERET: 0x800a8bc6
    """
    ecr = "ECR: 0x" + k.hex_number + " EFA: 0x"
    return ("[EFA   ]: 0x" | ecr) + k.hex_number("address") + k.rest_of_line


@sentence
def register() -> ParserElement:
    """r00: 0x00000063"""
    return k.Regex(r"(?<!\w)r\d\d")("name") + ": 0x" + k.hex_digits(8, 8)("value")


@block("registers", registers(named(register), "arc"), each=register)
def rows() -> ParserElement:
    """r00: 0x00000063	r01: 0x80a3e000	r02: 0x00000001
    r03: 0x00000000	r04: 0x80a3e000	r05: 0x00000002
    """
    row = k.one_of(*[f"r{number:02}: 0x" for number in range(0, 25, 3)]) + k.hex_digits(8, 8)
    return k.Lines(row + k.rest_of_line)("lines")


ARC = Machine(
    name="arc",
    words=("arc-linux", "arceb-linux", "arc-buildroot"),
    bits=32,
    blocks=(eret, instruction, efa, rows),
    regions=regions(  # arch/arc/include/asm/processor.h
        (0, 0x5FFFFFFF, "user", "an address in user space"),
        (0x60000000, 0x6FFFFFFF, "kernel", "an address in the gutter between user space and the kernel"),
        (0x70000000, 0x7FFFFFFF, "kernel", "an address in a module or in vmalloc"),
        (0x80000000, 0xFFFFFFFF, "kernel", "an address in the kernel's direct map"),
    ),
)
