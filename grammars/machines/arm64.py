"""arm64 (arch/arm64/kernel/{process,traps}.c, arch/arm64/mm/fault.c; 3.10 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.platform import platform
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import NOTHING, Access, status
from kpanic.grammars.machines.address import KERNEL, USER, Address
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["AARCH64"]


@block("platform", platform("aarch64"))
def own_words() -> ParserElement:
    """Mem abort info:

    Unhandled 64-bit el1h sync exception on CPU0, ESR 0x0000000034000002 -- BTI

    Bad mode in Error handler detected on CPU3, code 0xbf000002 -- SError

    SError Interrupt on CPU2, code 0x00000000be000011 -- SError

    swapper pgtable: 4k pages, 48-bit VAs, pgdp=0000000041f6a000
    """
    mode = "Bad mode in " + k.UpTo(" handler", most=60) + " handler detected on CPU"
    words = (
        "Mem abort info:",
        "Unhandled 64-bit el",
        "SError Interrupt on CPU",
        "swapper pgtable: ",
        "user pgtable: ",
    )
    return (k.one_of(*words) | mode) + k.rest_of_line


@block("pointer", pointer("aarch64"))
def pc() -> ParserElement:
    """pc : sysrq_handle_crash+0x20/0x28
    lr : __handle_sysrq+0x90/0x19c

    pc : 0xffff64f943142800
    """
    raw = k.FollowedBy(k.UpTo(" lr :")("raw"))
    inline = k.Regex(r"[^\n]{0,200}\[inline\]")
    return "pc : " + ~k.Literal("[<") + ~inline + raw + k.place + k.soon("lr : " + k.link) + k.rest_of_line


@block("place", dict)
def between() -> ParserElement:
    """[0000080100000058] address between user and kernel address ranges"""  # show_pte()
    words = k.Combine("address between " + k.rest_of_line)("place")
    return "[" + k.hex_digits(8, 16)("address") + "] " + words


@sentence
def register() -> ParserElement:
    """x29: ffff80000b10bb40

    x9 : 0000000000000000

    pc : [<ffffff8008085b34>]
    """
    return k.register(r"[a-z]{1,6}\d{0,2}", k.Regex(r" ?: ?(?:\[<)?"), (8, 16))


@block("registers", registers(named(register), "aarch64"), each=register)
def rows() -> ParserElement:
    """sp : ffff80000b10bb40
    x29: ffff80000b10bb40 x28: ffff0000c0a80000
    x9 : 0000000000000000 x8 : 0000000000000001

    pc : [<ffffff8008085b34>] lr : [<ffffff8008085b20>] pstate: 60000145
    """
    numbers = [f"x{number}: " for number in range(29, 9, -1)] + [
        f"x{number} : " for number in range(9, -1, -1)
    ]
    old = "pc : [<" + k.hex_digits(16, 16)
    stack = "sp : " + k.FollowedBy(k.hex_digits(16, 16))
    row = old | stack | k.one_of("pstate: ", *numbers)
    return k.Lines(row + k.rest_of_line)("lines")


@block("error code", dict)
def syndrome() -> ParserElement:
    """ESR = 0x96000004"""  # arch/arm64/mm/fault.c, below "Mem abort info:"
    return k.one_of("  ESR = 0x", "ESR = 0x") + k.hex_number("code") + k.rest_of_line


_CLASSES: Final = {
    0x00: Access("undefined instruction"),
    0x0E: Access("illegal execution state"),
    0x0D: Access("branch target exception"),
    0x1C: Access("pointer authentication failure"),
    0x22: Access("misaligned program counter"),
    0x26: Access("misaligned stack pointer"),
    0x2F: Access("SError interrupt: an asynchronous hardware error"),
    0x3C: Access("BRK instruction"),
}
_FETCHES: Final = frozenset({0x20, 0x21})
_DATA: Final = frozenset({0x24, 0x25})
_WRITES: Final = 0x40


def _fault(code: int) -> Access:
    """Read an exception syndrome, ESR_EL1 (arch/arm64/include/asm/esr.h)."""
    kind = code >> 26 & 0x3F
    who = "the kernel" if kind & 1 else "user mode"
    if kind in _FETCHES:
        return status("execute", code & 0x3F, who)
    if kind in _DATA:
        return status("write" if code & _WRITES else "read", code & 0x3F, who)
    return _CLASSES.get(kind, NOTHING)


def _regions(address: int) -> Address:
    if address < 1 << 56:
        return USER
    if address >> 48 != 0xFFFF:  # noqa: PLR2004
        return Address(
            "non-canonical", "not a valid address: its upper bits are neither all clear nor all set"
        )
    return KERNEL


AARCH64 = Machine(
    name="aarch64",
    words=("aarch64", "arm64"),
    blocks=(pc, rows, syndrome, between, own_words),
    opening="Call trace:",
    entries=r"el[01][ht]?_(?:\d\d_)?(?:sync|irq|fiq|svc|da|ia|undef|error|interrupt)|__arm64_(?:compat_)?sys_",
    fault=_fault,
    says_fetch=True,
    says_trap=True,
    regions=_regions,
    ignored_bits=8,
    disassembler=Disassembler(
        architecture="ARM64",
        modes=("ARM",),
        order="little",
        shown="number",
        register=lambda name: "x29" if name == "fp" else name,
    ),
)
