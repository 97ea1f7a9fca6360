"""sh (arch/sh/kernel/{process_32,traps,dumpstack}.c, arch/sh/mm/fault.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import regions

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["SH"]


@sentence
def register() -> ParserElement:
    """R0  : 00000000

    PC  : 8c0a6fae
    """
    return k.register(r"[A-Z]{1,4}\d{0,2}", k.Regex(" {0,3}: "), (8, 8))


@block("registers", registers(named(register), "sh"), each=register)
def rows() -> ParserElement:
    """PC  : 8c0a6fae SP  : 8f829e9c SR  : 400080f0
    R0  : 00000000 R1  : 8c4a3e58 R2  : 00000001 R3  : 00000000
    MACH: 0000017a MACL: 0ae4849d GBR : 00000000 PR  : 8c0a709e
    """
    names = k.one_of("PC  : ", "R0  : ", "R4  : ", "R8  : ", "R12 : ", "MACH: ")
    return k.Lines(names + k.hex_digits(8, 8) + k.rest_of_line)("lines")


SH = Machine(
    name="sh",
    words=("sh4", "sh4a", "sh7751r", "sh7785lcr", "sh-linux"),
    bits=32,
    blocks=(rows,),
    regions=regions(  # arch/sh/include/asm/addrspace.h
        (0, 0x7FFFFFFF, "user", "an address in user space"),
        (0x80000000, 0x9FFFFFFF, "kernel", "an address in the kernel's direct map (P1)"),
        (
            0xA0000000,
            0xBFFFFFFF,
            "kernel",
            "an address in the uncached direct map (P2), for device registers",
        ),
        (0xC0000000, 0xDFFFFFFF, "kernel", "an address in the kernel's mapped memory (P3, vmalloc)"),
        (0xE0000000, 0xFFFFFFFF, "kernel", "an address of processor control registers (P4)"),
    ),
)
