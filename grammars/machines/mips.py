"""mips, 32 and 64 bits (arch/mips/kernel/traps.c, arch/mips/mm/fault.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block
from kpanic.grammars.blocks.platform import platform
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import NOTHING, Access, access
from kpanic.grammars.machines.address import regions
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyparsing import ParserElement

__all__ = ["MIPS", "MIPS64"]


_BY_DIGITS: Final = {8: "mips", 16: "mips64"}


@block("pointer", pointer(_BY_DIGITS))
def epc() -> ParserElement:
    """epc   : 8003ab3c kthread_data+0x4/0xc
    ra    : 80036f64 wq_worker_sleeping+0x14/0xbc

    epc   : ffffffff8003ab3c kthread_data+0x4/0xc

    epc   : 8eaa8be0 0x8eaa8be0 [mac80211@8ea80000+0x6c980]
    """  # a kernel without symbols (OpenWrt)
    raw = k.FollowedBy(k.rest_of_line("raw"))
    address = k.hex_digits(8, 16)
    module = k.Regex(r"0x[0-9a-f]+ \[") + k.Regex(r"[\w-]+(?=@)")("module")
    where = address("address") + k.Opt(" " + (k.code | module))
    return "epc   : " + raw + where + k.soon("ra    : " + address + " " + k.link) + k.rest_of_line


def _registers(text: str) -> Iterator[tuple[str, str]]:
    name, _, row = text.partition(":")
    values = row.split()
    if name[0] != "$":
        yield from ((name.strip(), value) for value in values[:1])
        return
    first = int(name[1:])
    yield from ((f"${first + number}", value) for number, value in enumerate(values[:4]))


@block("registers", registers(_registers, {8: "mips"}))  # loongarch uses this format for 16 digits before 6.2
def rows() -> ParserElement:
    """$ 0   : 00000000 00000015 00000000 a25b0831

    $12   : 0000000000000001 ffffffff81c4bcb0 0000000000000000 0000000000000001

    Hi    : 00000000

    Cause : 80800008 (ExcCode 02)

    BadVA : 00000010
    """
    general = "$" + k.Regex(r" ?\d{1,2} {1,4}: ") | "BadVA : "  # as many digits as the machine has
    special = k.one_of("Hi", "Lo", "Status", "Cause") + k.Regex(r" {0,4}: (?=[0-9a-f]{8})")
    digits = k.FollowedBy(general + k.hex_number("digits"))
    return k.Opt(digits) + k.Combine((general | special) + k.rest_of_line)("lines")


@block("platform", platform("mips"))
def stack() -> ParserElement:
    """Stack : 00000000 00000000 00000000 8fdfab40"""  # loongarch prints 16 digits
    return "Stack : " + k.hex_digits(8, 8) + k.rest_of_line


_DEEDS: Final = {
    1: access("write", "protected"),
    2: access("read", "absent"),
    3: access("write", "absent"),
    4: Access("misaligned read", "read"),
    5: Access("misaligned write", "write"),
    6: Access("bus error on an instruction fetch", "execute"),
    7: Access("bus error on a data access"),
    9: Access("breakpoint: the trap of BUG() and WARN()"),
    10: Access("reserved instruction"),
    13: Access("trap instruction: BUG_ON() or WARN_ON()"),
}
"""Exception codes in the Cause register (arch/mips/include/asm/mipsregs.h)."""


def _fault(code: int) -> Access:
    """Read the exception code in the Cause register."""
    return _DEEDS.get(code >> 2 & 0x1F, NOTHING)


_DISASSEMBLER: Final = Disassembler(architecture="MIPS", modes=("MIPS32", "BIG_ENDIAN"), order="big")
MIPS = Machine(
    name="mips",
    words=("mips", "mipsel", "4kc-malta"),
    bits=32,
    fault=_fault,
    code_register="Cause",
    address_register="BadVA",
    disassembler=_DISASSEMBLER,
    blocks=(epc, rows, stack),
    regions=regions(  # arch/mips/include/asm/addrspace.h
        (0, 0x7FFFFFFF, "user", "an address in user space"),
        (0x80000000, 0x9FFFFFFF, "kernel", "an address in the kernel's direct map (kseg0)"),
        (
            0xA0000000,
            0xBFFFFFFF,
            "kernel",
            "an address in the uncached direct map (kseg1), for device registers",
        ),
        (0xC0000000, 0xFFFFFFFF, "kernel", "an address in the kernel's mapped memory (modules, vmalloc)"),
    ),
)
MIPS64 = Machine(
    name="mips64",
    fault=_fault,
    code_register="Cause",
    address_register="BadVA",
    disassembler=replace(_DISASSEMBLER, modes=("MIPS64", "BIG_ENDIAN")),
    words=("mips64", "mips64el", "5kc-malta", "octeon", "loongson-3", "loongson-2e", "loongson-2f"),
    regions=regions(
        (0, 0x3FFFFFFFFFFFFFFF, "user", "an address in user space"),
        (0x8000000000000000, 0xBFFFFFFFFFFFFFFF, "kernel", "an address in the kernel's direct map (xkphys)"),
        (
            0xC000000000000000,
            0xFFFFFFFF7FFFFFFF,
            "kernel",
            "an address in the kernel's mapped memory (vmalloc)",
        ),
        (0xFFFFFFFF80000000, 0xFFFFFFFF9FFFFFFF, "kernel", "an address in the kernel's direct map (kseg0)"),
        (0xFFFFFFFFA0000000, 0xFFFFFFFFBFFFFFFF, "kernel", "an address in the uncached direct map (kseg1)"),
        (0xFFFFFFFFC0000000, 0xFFFFFFFFFFFFFFFF, "kernel", "an address in a module"),
    ),
)
