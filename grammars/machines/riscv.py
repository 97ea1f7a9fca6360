"""riscv, 64 and 32 bits (arch/riscv/kernel/{process,traps}.c, arch/riscv/mm/fault.c; 4.15 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import NOTHING, Access, access
from kpanic.grammars.machines.address import KERNEL, USER, split
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["RISCV32", "RISCV64"]


_BY_DIGITS: Final = {8: "riscv32", 16: "riscv64", 0: "riscv64"}
"""The machine by the digits of a register; none where the lines name only functions."""


@block("pointer", pointer(_BY_DIGITS))
def epc() -> ParserElement:
    """epc : sysrq_handle_crash+0x10/0x1a
     ra : __handle_sysrq+0x8a/0x134
    epc : ffffffff01e6b162 ra : ffffffff01e6b734 sp : ff2000000000ba30

    epc : ffffffff01e6b162 ra : ffffffff01e6b734 sp : ff2000000000ba30
    """
    raw = k.FollowedBy(k.UpTo(k.Regex(r" ra :|\(|$"))("raw"))
    caller = k.Opt(k.Regex(r"\s{1,3}ra : ") + k.link)
    value = "epc : " + k.Regex("[0-9a-f]+(?= )")("digits")
    return k.one_of("epc : ", "epc: ") + raw + k.place + caller + k.soon(value) + k.rest_of_line


@sentence
def register() -> ParserElement:
    """gp : ffffffff81a1b0e8

    s11: ff60000000220000
    """
    return k.register(r"[a-z]{1,7}\d{0,2}", k.Regex(" ?: ?"), (8, 16))


@block("registers", registers(named(register), _BY_DIGITS), each=register)
def rows() -> ParserElement:
    """gp : ffffffff81a1b0e8 tp : ff60000000220000 t0 : 0000000000000000
    t1 : 0000000000000001 t2 : ff60000000220000 s0 : ff2000000000ba40
    """
    first = k.one_of(
        *(" gp : ", " t0 : ", " t1 : ", " t2 : ", " s0 : ", " s1 : ", " s2 : ", " s5 : ", " s8 : "),
        *(" a0 : ", " a1 : ", " a2 : ", " a5 : ", " s11: ", " t5 : "),
    )
    row = first + k.rest_of_line
    return k.FollowedBy(first + k.Regex("[0-9a-f]+")("digits")) + k.Lines(row)("lines")


@block("registers", registers(named(register), _BY_DIGITS), each=register)
def status() -> ParserElement:
    """status: 0000000200000120 badaddr: 0000000000000010 cause: 000000000000000d"""
    digits = k.FollowedBy("status: " + k.Regex("[0-9a-f]+")("digits"))
    return digits + k.Combine("status: " + k.rest_of_line)("lines")


_CAUSES: Final = {
    0: Access("misaligned instruction fetch"),
    1: Access("access fault on an instruction fetch", "execute"),
    2: Access("illegal instruction"),
    3: Access("breakpoint"),
    4: Access("misaligned read", "read"),
    5: Access("access fault on a read", "read"),
    6: Access("misaligned write", "write"),
    7: Access("access fault on a write", "write"),
    12: access("execute", ""),
    13: access("read", ""),
    15: access("write", ""),
}
"""Exception codes in scause (arch/riscv/include/asm/csr.h)."""

RISCV64 = Machine(
    name="riscv64",
    words=("riscv64",),
    blocks=(epc, rows, status),
    fault=lambda code: _CAUSES.get(code, NOTHING),
    says_trap=True,
    code_register="cause",
    address_register="badaddr",
    untitled=True,
    regions=lambda address: USER if address < 1 << 56 else KERNEL,
    disassembler=Disassembler(architecture="RISCV", modes=("RISCV64", "RISCVC"), order="little", pairs=True),
)
RISCV32 = replace(
    RISCV64,
    name="riscv32",
    words=("riscv32",),
    bits=32,
    regions=split(0xC0000000),
    disassembler=Disassembler(architecture="RISCV", modes=("RISCV32", "RISCVC"), order="little", pairs=True),
)
