"""ia64 (arch/ia64/kernel/{process,traps}.c, arch/ia64/mm/fault.c; 2.6.18 to 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.owner import read_owner
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import regions

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["IA64"]


@block("pointer", pointer("ia64"))
def ip() -> ParserElement:
    """ip is at sysrq_handle_crash+0x20/0x40"""
    return "ip is at " + k.FollowedBy(k.rest_of_line("raw")) + k.place + k.rest_of_line


@block("owner", read_owner)
def task() -> ParserElement:
    """Pid: 2211, CPU 0, comm:                 bash"""
    comm = k.Regex(" {0,20}") + k.Regex(r"[^\n]{1,16}")("comm")
    return "Pid: " + k.number("pid") + ", CPU " + k.number("cpu") + ", comm:" + comm


@block("owner", read_owner)
def release() -> ParserElement:
    """psr : 00001210085a2010 ifs : 8000000000000205 ip  : [<a000000100045abc>] Not tainted (2.6.32-5)"""
    behind = k.UpTo(k.Regex(r"\(\d+\.\d")) + "("
    return (
        "psr : " + k.hex_number + " ifs : " + behind + k.Regex(r"\d+\.\d+[^\s)]*")("release") + k.rest_of_line
    )


@sentence
def register() -> ParserElement:
    """b0  : a000000100045a60

    r14 : 0000000000000001
    """
    return k.register(r"[a-z]{1,4}\d{0,2}", k.Regex(r" {0,3}: ?"), (8, 21))


@block("registers", registers(named(register), "ia64"), each=register)
def rows() -> ParserElement:
    """b0  : a000000100045a60 b6  : a000000100045a20 b7  : a00000010000b9f0
    f6  : 1003e0000000000000000 f7  : 1003e0000000000000000
    r1  : a000000100d0c9b0 r2  : a000000100b0d6b8 r3  : a000000100b0d6c0
    """
    names = k.one_of("b0  : ", "f6  : ", "f8  : ", "f10 : ", "unat: ", "rnat: ", "ldrs: ", "csd : ")
    general = k.one_of("r1  : ", "r8  : ", *[f"r{number} : " for number in range(11, 32, 3)])
    return k.Lines((names | general + k.FollowedBy(k.hex_digits(16, 16))) + k.rest_of_line)("lines")


IA64 = Machine(
    name="ia64",
    words=("ia64", "mckinley", "itanium"),
    blocks=(ip, task, release, rows),
    regions=regions(  # Documentation/arch/ia64: the upper three bits are a region's number
        (0, 0x9FFFFFFFFFFFFFFF, "user", "an address in user space"),
        (0xA000000000000000, 0xBFFFFFFFFFFFFFFF, "kernel", "an address in the kernel's image or in vmalloc"),
        (0xC000000000000000, 0xDFFFFFFFFFFFFFFF, "kernel", "an address in the uncached direct map"),
        (0xE000000000000000, 0xFFFFFFFFFFFFFFFF, "kernel", "an address in the kernel's direct map"),
    ),
)
