"""sparc64 (arch/sparc/kernel/{process_64,traps_64}.c, arch/sparc/mm/fault_64.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.backtrace import Trace
from kpanic.grammars.blocks.code import Code
from kpanic.grammars.blocks.oops import read_oops
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import KERNEL, apart
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["SPARC64"]


@block("pointer", pointer("sparc64"))
def tpc() -> ParserElement:
    """TPC: <init_new_context+0x14/0xc0>"""
    return "TPC: <" + k.FollowedBy(k.UpTo(">")("raw")) + k.code + ">" + k.rest_of_line


@block("pointer", pointer("sparc64"))
def non_resumable() -> ParserElement:
    """NON-RESUMABLE ERROR: TPC [0x000000000093798c] <__pci_enable_msix_range+0x38c/0x6c0>"""
    address = "[0x" + k.hex_number("address") + "] <"
    raw = k.FollowedBy(k.rest_of_line("raw"))
    return "NON-RESUMABLE ERROR: TPC " + raw + address + k.code + k.rest_of_line


@block("oops", read_oops)
def oops() -> ParserElement:
    """swapper/0(1): Oops [#1]"""
    task = k.Regex(r"[^\s(]{1,16}\(\d{1,10}\): ")
    return task + "Oops [#" + k.number("number") + "]" + k.rest_of_line


@sentence
def register() -> ParserElement:
    """g0: 0000000000000000

    TSTATE: 0000004411001606
    """
    return k.register(r"[A-Za-z_]{1,6}\d?", ": ", (8, 16))


@block("registers", registers(named(register), "sparc64"), each=register)
def rows() -> ParserElement:
    """TSTATE: 0000004411001606 TPC: 0000000000465674 TNPC: 0000000000465678 Y: 00000021    Not tainted

    g0: 0000000000000000 g1: 0000000000000001 g2: 0000000000000000 g3: 0000000000000000
    o0: 0000000000000000 o1: 0000000000000000 o2: 0000000000000000 o3: 0000000000000000
    """
    names = k.one_of("TSTATE: ", *[f"{kind}{number}: " for kind in "goli" for number in (0, 4)])
    return k.Lines(names + k.hex_digits(16, 16) + k.rest_of_line)("lines")


@sentence
def caller() -> ParserElement:
    """Caller[000000000046d20c]: handle_IRQ_event+0x38/0x78

    Caller[0000000000000000]: 0x8
    """
    number = "0x" + k.hex_digits(1, 16)("number") + k.rest_of_line
    return "Caller[" + k.hex_digits(8, 16)("address") + "]: " + (k.frame_symbol | number)


@block("frames", lambda fields: Trace(fields["lines"], caller, "sparc64", linked=True), each=caller)
def callers() -> ParserElement:
    """Caller[000000000046d20c]: handle_IRQ_event+0x38/0x78
    Caller[000000000046d308]: __do_IRQ+0xbc/0x13c
    """
    return k.FollowedBy("Caller[") + k.Lines(caller.build())("lines")


@block("code", lambda fields: Code(fields["bytes"].strip()))
def code() -> ParserElement:
    """Instruction DUMP: da5a6000  c25a6008  8ea1e010 <da72400b> 92026008  c272400b"""
    return "Instruction DUMP: " + k.rest_of_line("bytes")


_LOW: Final = apart("sparc64")
SPARC64 = Machine(
    name="sparc64",
    words=("sparc64",),
    blocks=(tpc, non_resumable, oops, rows, callers, code),
    disassembler=Disassembler(
        architecture="SPARC",
        modes=("V9", "BIG_ENDIAN"),
        order="big",
        register=lambda name: "i6" if name == "fp" else name,
    ),
    regions=lambda address: _LOW if address < 1 << 51 else KERNEL,
)
