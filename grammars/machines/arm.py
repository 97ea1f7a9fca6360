"""32-bit arm, versions 5 to 7 (arch/arm/kernel/{process,traps}.c, arch/arm/mm/fault.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.backtrace import Trace
from kpanic.grammars.blocks.platform import platform
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import NOTHING, Access, Deed, access, status
from kpanic.grammars.machines.address import regions
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["ARMV5", "ARMV6", "ARMV7"]


@block("platform", platform("armv7l"))
def own_words() -> ParserElement:
    """8<--- cut here ---"""
    return "8<--- cut here ---" + k.rest_of_line


@sentence
def register() -> ParserElement:
    """r10: 00000000

    r9 : a0000013

    pc : [<8015df40>]
    """
    return k.register(r"[a-z]{1,6}\d{0,2}", k.Regex(r" ?: ?(?:\[<)?"), (8, 8))


@block("registers", registers(named(register), "armv7l"), each=register)
def rows() -> ParserElement:
    """pc : [<8015df40>]    lr : [<801559ec>]    psr: 60000093
    sp : d880df00  ip : 00000000  fp : 012241d0
    r10: bf0046c4  r9 : bf0008dc  r8 : c2151600
    """
    numbers = [f"r{number}: " for number in range(10, 13)] + [f"r{number} : " for number in range(9, -1, -1)]
    pc = "pc : [<" + k.hex_digits(8, 8)
    sp = "sp : " + k.FollowedBy(k.hex_digits(8, 8))
    return k.Lines((pc | sp | k.one_of(*numbers)) + k.rest_of_line)("lines")


@sentence
def frame() -> ParserElement:
    """[<bf0f627c>] (widget_probe+0x24/0x100 [widget]) from [<c02c3f10>] (usb_probe_interface+0xb4/0x1bc)

    [<c0101010>] (f) from [<c0202020>] (g+0x16/0x20)

     boom_null_write [boom] from vfs_write+0xe4/0x400

    [<c0101010>] (f) from [<c0202020>] (g file.c:12 [inline])
    """  # a function, and its caller; before 3.13; 6.0; since; symbolized
    module = k.Regex(r"(?:\+[^)\n]{0,60})?(?: \[[\w-]{1,64}\])?\)?")
    called = k.Opt("(") + k.symbol_name("called") + module
    address = k.Opt(k.Regex(r"\[<?(?:0x)?[0-9a-f]{0,16}>?\][ \t]*"))
    place = k.Opt(k.bracket + k.spaces) + k.Opt("(")
    return k.spaces + address + called + " from " + place + k.frame_symbol


@block("frames", lambda fields: Trace(fields["lines"], frame, "armv7l", linked=True), each=frame)
def frames() -> ParserElement:
    """[<c0101010>] (f) from [<c0202020>] (g+0x16/0x20)
    vfs_write from ksys_write+0x78/0xfc
    """
    return k.Lines(frame.build())("lines")


_LARGE, _WRITES, _FETCHES = 1 << 9, 1 << 11, 1 << 31
"""Bits of the fault status register: LPAE, write, prefetch abort."""
_ABSENT: Final = frozenset({5, 7})
_PROTECTED: Final = frozenset({9, 0xB, 0xD, 0xF})


def _fault(code: int) -> Access:
    """Read a fault status register (arch/arm/mm/fault.h)."""
    deed: Deed = "execute" if code & _FETCHES else "write" if code & _WRITES else "read"
    if code & _LARGE:
        return status(deed, code & 0x3F, "the kernel")
    short = code & 0xF | (code >> 6 & 0x10)
    if short in _ABSENT:
        return access(deed, "absent")
    if short in _PROTECTED:
        return access(deed, "protected")
    return Access("misaligned access", deed) if short == 1 else NOTHING


def _register(name: str) -> str:
    return {"sb": "r9", "sl": "r10"}.get(name, name)


ARMV7 = Machine(
    name="armv7l",
    words=(
        "armv7l",
        "armv7hl",
        "armv7",
        "armmp",
        "armhf",
        "arm-linux",
        "arm-openwrt-linux",
        "arm-poky-linux",
    ),
    bits=32,
    blocks=(rows, frames, own_words),
    entries=r"ret_fast_syscall$|__(?:irq|dabt|pabt|und)_svc$|vector_swi$",
    flags=frozenset({"ARM", "THUMB2"}),
    fault=_fault,
    says_trap=True,
    bug=frozenset({"e7f001f2", "de02"}),  # arch/arm/include/asm/bug.h
    regions=regions(  # Documentation/arch/arm/memory.rst
        (0, 0xBEFFFFFF, "user", "an address in user space"),
        (0xBF000000, 0xBFFFFFFF, "kernel", "an address in a module"),
    ),
    disassembler=Disassembler(
        architecture="ARM",
        modes=("ARM",),
        order="little",
        shown="number",
        register=_register,
        compressed=Disassembler(architecture="ARM", modes=("THUMB",), order="little", register=_register),
    ),
)
ARMV6 = replace(ARMV7, name="armv6l", words=("armv6l", "armv6", "rpi"), entries="")
ARMV5 = replace(ARMV7, name="armv5tel", words=("armv5tel", "armv5", "marvell", "versatile"), entries="")
