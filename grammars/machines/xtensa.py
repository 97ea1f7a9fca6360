"""xtensa (arch/xtensa/kernel/traps.c, arch/xtensa/mm/fault.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyparsing import ParserElement

__all__ = ["XTENSA"]


@block("pointer", pointer("xtensa"))
def pc() -> ParserElement:
    """pc: d0046abc, ps: 00060030, depc: 00000008, excvaddr: 00000000"""
    address = k.FollowedBy(k.hex_digits(8, 8)("raw")) + k.hex_digits(8, 8)("address")
    return "pc: " + address + ", ps: " + k.rest_of_line


@sentence
def row() -> ParserElement:
    """a08: 00000000 d181de40 00000001"""
    values = k.Regex(r"(?: [0-9a-f]{8}){1,8}")
    return "a" + k.Regex(r"\d\d")("first") + ":" + values("values")


def _registers(text: str) -> Iterator[tuple[str, str]]:
    for found in row.regex.finditer(text):
        first = int(found["first"])
        yield from ((f"a{first + at:02}", value) for at, value in enumerate(found["values"].split()))


@block("registers", registers(_registers, "xtensa"), each=row)
def rows() -> ParserElement:
    """a00: 900461bc d181de40 d02b6a00 00000001 00000000 d02f6b28 00000000 00000000
    a08: 00000000 d181de40 00000001 00000000 00000000 00000000 00000000 00000000
    """
    return k.Lines(k.one_of("a00:", "a08:") + k.Regex(r"(?: [0-9a-f]{8}){1,8} {0,2}"))("lines")


XTENSA = Machine(
    name="xtensa",
    words=("xtensa",),
    bits=32,
    blocks=(pc, rows),
    regions=regions(  # Documentation/arch/xtensa/mmu.rst
        (0, 0x3FFFFFFF, "user", "an address in user space"),
        (0xD0000000, 0xD7FFFFFF, "kernel", "an address in the kernel's direct map (kseg)"),
        (0xD8000000, 0xDFFFFFFF, "kernel", "an address in the uncached direct map"),
        (0xE0000000, 0xFFFFFFFF, "kernel", "an address of device registers"),
    ),
)
