"""alpha (arch/alpha/kernel/traps.c, arch/alpha/mm/fault.c; 2.6.32 to 7.x)."""

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

__all__ = ["ALPHA"]


@block("pointer", pointer("alpha"))
def pc() -> ParserElement:
    """pc is at sysrq_handle_crash+0x20/0x40
    ra is at __handle_sysrq+0x10/0x20
    """
    raw = k.FollowedBy(k.rest_of_line("raw"))
    return "pc is at " + raw + k.place + k.soon("ra is at " + k.link) + k.rest_of_line


@block("owner", read_owner)
def task() -> ParserElement:
    """CPU 0 swapper(1): Oops 0"""
    cpu = "CPU " + k.number("cpu") + " "
    comm = k.Regex(r"[^\s(]{1,16}")("comm") + "(" + k.number("pid") + "): "
    return (
        cpu + comm + k.one_of("Oops", "Kernel Bug", "Instruction fault", "Arithmetic fault") + k.rest_of_line
    )


@sentence
def register() -> ParserElement:
    """v0 = 0000000000000000

    t10= fffffc00003d1c38

    pc = [<fffffc0000310f40>]
    """
    return k.register(r"[a-z]\w{1,2}", k.Regex(r" ?= (?:\[<)?"), (4, 16))


@block("registers", registers(named(register), "alpha"), each=register)
def rows() -> ParserElement:
    """pc = [<fffffc0000310f40>]  ra = [<fffffc0000310f20>]  ps = 0000    Not tainted

    v0 = 0000000000000000  t0 = fffffc00005f1c38  t1 = 0000000000000001
    t2 = 0000000000000000  t3 = 0000000000000000  t4 = 0000000000000000
    """
    names = k.one_of(*[f"{name} = " for name in ("v0", "t2", "t5", "s0", "s3", "s6", "a0", "a3", "t8", "gp")])
    row = ("pc = [<" | names | "t11= ") + k.hex_digits(16, 16)
    return k.Lines(row + k.rest_of_line)("lines")


ALPHA = Machine(
    name="alpha",
    words=("alpha-generic", "alpha-smp", "alpha-linux"),
    blocks=(pc, task, rows),
    regions=regions(  # arch/alpha/include/asm/pgtable.h
        (0, 0x3FFFFFFFFFF, "user", "an address in user space"),
        (0xFFFFFC0000000000, 0xFFFFFDFFFFFFFFFF, "kernel", "an address in the kernel's direct map (kseg)"),
        (0xFFFFFE0000000000, 0xFFFFFFFFFFFFFFFF, "kernel", "a vmalloc address"),
    ),
)
