"""loongarch64 (arch/loongarch/kernel/traps.c, arch/loongarch/mm/fault.c; 5.19 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import NOTHING, Access, access
from kpanic.grammars.machines.address import regions

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["LOONGARCH64"]


def _at() -> ParserElement:
    address = k.hex_digits(16, 16)("address")
    return k.FollowedBy(k.rest_of_line("raw")) + address + k.Opt(" " + k.code) + k.rest_of_line


@block("pointer", pointer("loongarch64"))
def era() -> ParserElement:
    """ERA: 9000000000222ca4 sysrq_handle_crash+0x54/0x110"""
    return k.one_of("  ERA: ", "ERA: ") + _at()


@block("pointer", pointer("loongarch64"))
def return_address_and_era() -> ParserElement:
    """ra: 9000000000222c98 __handle_sysrq+0x48/0x110
    ERA: 9000000000222ca4 sysrq_handle_crash+0x54/0x110
    """  # since 6.2
    ra = k.one_of("   ra: ", "ra: ") + k.hex_digits(16, 16) + " " + k.link + k.rest_of_line
    return ra + k.Regex(r"\n {0,8}") + "ERA: " + _at()


@block("pointer", pointer("loongarch64"))
def era_first() -> ParserElement:
    """era   : 9000000000223d5c vram_copy+0x4c/0x90
    ra    : 9000000000256dbc process_one_work+0x1ec/0x35c
    """  # until 6.1
    ra = "ra    : " + k.hex_digits(16, 16) + " " + k.link
    address = k.hex_digits(16, 16)("address")
    where = k.FollowedBy(k.rest_of_line("raw")) + address + k.Opt(" " + k.code)
    return "era   : " + where + k.soon(ra) + k.rest_of_line


@sentence
def register() -> ParserElement:
    """a0 9000000100a4bcf0

    BADV: 0000000000000040
    """
    return k.register(r"(?:[a-z]{1,2}\d?|[A-Z]{4,5})", k.Regex(":? "), (8, 16))


@block("registers", registers(named(register), "loongarch64"), each=register)
def rows() -> ParserElement:
    """pc 9000000000222ca4 ra 9000000000222c98 tp 90000001000a4000 sp 90000001000a7cf0
    a0 0000000000000063 a1 9000000100aabbe8 a2 9000000100ab8ed8 a3 0000000000000000
    """
    names = k.one_of("pc ", "a0 ", "a4 ", "t0 ", "t4 ", "t8 ", "s1 ", "s5 ")
    return k.Lines(names + k.hex_digits(16, 16) + k.rest_of_line)("lines")


@block("error code", dict)
def status() -> ParserElement:
    """ESTAT: 00010000 [PIL] (IS= ECode=1 EsubCode=0)"""
    return "ESTAT: " + k.hex_number("code") + k.rest_of_line


@block("fault address", dict)
def bad_address() -> ParserElement:
    """BADV: 0000000000000040"""
    return k.one_of(" BADV: ", "BADV: ") + k.hex_number("address") + k.rest_of_line


_CODES: Final = {
    1: access("read", "absent"),
    2: access("write", "absent"),
    3: access("execute", "absent"),
    4: access("write", "protected"),
    5: access("read", "protected"),
    6: access("execute", "protected"),
    7: Access("access to a page of a higher privilege level"),
    8: Access("address error"),
    9: Access("misaligned access"),
    12: Access("breakpoint: the trap of BUG() and WARN()"),
    13: Access("undefined instruction"),
}
"""Exception codes (arch/loongarch/include/asm/loongarch.h)."""

LOONGARCH64 = Machine(
    name="loongarch64",
    words=("loongarch64", "loong64"),
    blocks=(return_address_and_era, era, era_first, rows, status, bad_address),
    fault=lambda code: _CODES.get(code >> 16 & 0x3F, NOTHING),
    address_register="BadVA",  # before 6.2
    says_fetch=True,
    says_trap=True,
    regions=regions(  # arch/loongarch/include/asm/addrspace.h
        (0, 0x7FFFFFFFFFFFFFFF, "user", "an address in user space"),
        (0x8000000000000000, 0x8FFFFFFFFFFFFFFF, "kernel", "an address in the uncached direct map"),
        (0x9000000000000000, 0x9FFFFFFFFFFFFFFF, "kernel", "an address in the kernel's direct map"),
        (0xFFFF800000000000, 0xFFFFFFFFFFFFFFFF, "kernel", "an address in a module or in vmalloc"),
    ),
)
