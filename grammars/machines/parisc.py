"""parisc, 32 and 64 bits (arch/parisc/kernel/traps.c, arch/parisc/mm/fault.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.platform import platform
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import apart

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["PARISC", "PARISC64"]


@block("pointer", pointer("parisc"))
def iaoq() -> ParserElement:
    """IAOQ[0]: emulate_stw+0x5c/0x90
    IAOQ[1]: emulate_stw+0x60/0x90
    RP(r2): handle_unaligned+0x598/0x758
    """
    raw = k.FollowedBy(k.rest_of_line("raw"))
    caller = k.one_of("  RP(r2): ", " RP(r2): ", "RP(r2): ") + k.link
    return (
        k.one_of("  IAOQ[0]: ", " IAOQ[0]: ", "IAOQ[0]: ") + raw + k.place + k.soon(caller) + k.rest_of_line
    )


@sentence
def register() -> ParserElement:
    """IIR: 0fc010dc

    CR30: 000000007f9a0000
    """
    return k.register(r"[A-Z_]{2,6}\d{0,2}", ": ", (8, 16))


@block("registers", registers(named(register), "parisc"), each=register)
def rows() -> ParserElement:
    """IIR: 0fc010dc    ISR: 00000000  IOR: 00000008

    CPU:        0   CR30: 7f9a0000 CR31: ffffffff

    ORIG_R28: 00000000
    """
    lead = k.one_of("  IIR: ", " IIR: ", "IIR: ", "  ORIG_R28: ", " ORIG_R28: ", "ORIG_R28: ")
    cpu = k.one_of("  CPU: ", " CPU: ", "CPU: ") + k.Regex(r" {1,12}\d{1,4} {1,4}CR30: ")
    return k.Lines((lead | cpu) + k.rest_of_line)("lines")


@block("platform", platform("parisc"))
def status() -> ParserElement:
    """YZrvWESTHLNXBCVMcbcbcbcbOGFRQPDI"""  # the line below has the bits of the PSW
    return k.one_of("      YZrvWESTHL", "     YZrvWESTHL", "YZrvWESTHL") + k.rest_of_line


_APART: Final = apart("parisc")
PARISC = Machine(
    name="parisc",
    words=("parisc", "hppa"),
    bits=32,
    blocks=(iaoq, rows, status),
    regions=lambda _address: _APART,
)
PARISC64 = replace(PARISC, name="parisc64", words=("parisc64", "hppa64"), bits=64)
