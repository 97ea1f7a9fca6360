"""powerpc, 64 and 32 bits (arch/powerpc/{kernel/process.c,kernel/traps.c,xmon/xmon.c}; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.backtrace import Opening, Trace
from kpanic.grammars.blocks.code import Code
from kpanic.grammars.blocks.owner import read_owner
from kpanic.grammars.blocks.platform import platform
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import Access, Deed, Page, access
from kpanic.grammars.machines.address import KERNEL, USER, split
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyparsing import ParserElement

__all__ = ["PPC", "PPC64", "PPC64LE"]


_BY_DIGITS: Final = {8: "ppc", 16: "ppc64le"}


@block("platform", platform("ppc64le"))
def little_endian() -> ParserElement:
    """LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=2048 NUMA PowerNV

    LE SMP NR_CPUS=2048 NUMA PowerNV
    """  # since 5.1; before
    return "LE " + _board()


@block("platform", platform("", big_endian=True))
def big_endian() -> ParserElement:
    """BE PAGE_SIZE=4K MPC8544 DS

    BE PREEMPT SMP NR_CPUS=4 PowerMac
    """
    return "BE " + _board()


@block("platform", platform(""))
def unordered() -> ParserElement:
    """SMP NR_CPUS=1024 NUMA pSeries

    PREEMPT SMP NR_CPUS=2 PowerMac
    """  # before 4.11
    return (
        k.FollowedBy(k.one_of("PREEMPT SMP NR_CPUS=", "SMP NR_CPUS="))
        + _options()
        + k.rest_of_line("hardware")
    )


def _options() -> ParserElement:
    return k.ZeroOrMore(k.Regex(r"(?:MMU=\w+|PREEMPT\w*|SMP|NR_CPUS=\d+|DEBUG_PAGEALLOC|NUMA) "))


def _board() -> ParserElement:
    """Return the kernel's build options, then the platform's name."""
    first = "PAGE_SIZE=" + k.word + " " | k.FollowedBy(k.one_of("PREEMPT", "SMP "))
    return first + _options() + k.rest_of_line("hardware")


@block("pointer", pointer(_BY_DIGITS))
def nip() -> ParserElement:
    """NIP [c0000000008e5c68] sysrq_handle_crash+0x28/0x30
    LR [c0000000008e6610] __handle_sysrq+0xd0/0x230

    NIP [c03a2c1c] sysrq_handle_crash+0x28/0x30
    """
    address = "[" + k.hex_digits(8, 16) + "] "
    raw = k.FollowedBy(k.rest_of_line("raw"))
    return "NIP " + raw + k.place + k.soon("LR " + address + k.Opt(".") + k.link) + k.rest_of_line


@block("pointer", pointer(_BY_DIGITS))
def xmon() -> ParserElement:
    """pc: c0000000008e5c68: sysrq_handle_crash+0x28/0x30
    lr: c0000000008e6610: __handle_sysrq+0xd0/0x230
    """  # printed by xmon, the debugger
    address = k.hex_digits(8, 16)
    lead = k.Regex(" {4}")
    raw = k.FollowedBy((k.Combine(address + k.Opt(": " + k.Regex(r"\S{1,200}"))))("raw"))
    caller = lead + "lr: " + address + ": " + k.Opt(".") + k.link
    where = address("address") + k.Opt(": " + k.Opt(".") + k.symbol_name("name") + k.offset)
    return "    pc: " + raw + where + k.soon(caller) + k.rest_of_line


@block("owner", read_owner)
def task() -> ParserElement:
    """TASK = c00000003c9b8000[2211] 'bash' THREAD: c00000003cc5a000 CPU: 1"""  # before 4.9
    comm = "'" + k.UpTo("'", most=64)("comm") + "'"
    thread = k.Opt(k.Regex(r" THREAD: \S{1,20}") + k.Opt(" CPU: " + k.number("cpu")))
    return "TASK = " + k.hex_number + "[" + k.number("pid") + "] " + comm + thread + k.rest_of_line


@block("owner", read_owner)
def debugged() -> ParserElement:
    """pid   = 0, comm = swapper/0"""  # arch/powerpc/xmon/xmon.c: excprint()
    comm = k.Regex(r"[^\n]{1,16}")("comm")
    return "    pid   = " + k.number("pid") + ", comm = " + comm


@block("opening", lambda _: Opening("xmon"))
def prompt() -> ParserElement:
    """enter ? for help"""  # xmon prints the backtrace after it
    return "enter ? for help" + k.end_of_line


@block("owner", read_owner)
def release() -> ParserElement:
    """REGS: c0000000038bfa10 TRAP: 0300   Tainted: G           OE       (6.12.107+deb13-powerpc64le)"""
    kernel = k.Regex(r"\d+\.\d+[^\s)]*")("release") + k.Opt(" " + k.Regex(r"#[^\s)]+")("build"))
    return "REGS: " + k.hex_number + " TRAP: " + k.UpTo(k.Regex(r"\(\d+\.\d")) + "(" + kernel + k.rest_of_line


@sentence
def register() -> ParserElement:
    """DAR: 0000000000000010

    NIP:  c008000000335024
    """
    return k.register(r"[A-Z]{2,6}\d{0,2}", k.Regex(":  ? ?"), (4, 16))


@sentence
def general() -> ParserElement:
    """GPR00: c000000000137dd8 c000000003977920 c000000002a87b00 0000000000000001"""
    return "GPR" + k.Regex(r"\d\d")("first") + ": " + k.Regex(r"[0-9a-f ]+")("values")


def _registers(text: str) -> Iterator[tuple[str, str]]:
    found = general.match(text)
    if found is None:
        yield from named(register)(text)
        return
    first = int(found[1]["first"])
    yield from ((f"GPR{first + at:02}", value) for at, value in enumerate(found[1]["values"].split()))


@block("registers", registers(_registers), each=general)
def rows() -> ParserElement:
    """GPR00: c000000000137dd8 c000000003977920 c000000002a87b00 0000000000000001"""
    return k.Combine("GPR" + k.Regex(r"\d\d: ") + k.rest_of_line)("lines")


@block("registers", registers(_registers, _BY_DIGITS), each=register)
def special() -> ParserElement:
    """NIP:  c008000000335024 LR: c008000000335cf8 CTR: c008000000335008

    REGS: c0000000038bfa10 TRAP: 0300   Tainted: G           OE

    DAR: 0000000000000010, DSISR: 40000000
    """
    names = k.one_of("NIP:  ", "NIP: ", "REGS: ", "MSR:  ", "CFAR: ", "DAR: ", "DEAR: ")
    digits = k.FollowedBy(names + k.Regex("[0-9A-Fa-f]+")("digits"))  # in capitals until 2.6.13
    return k.Opt(digits) + k.Combine(names + k.rest_of_line)("lines")


@block("code", lambda fields: Code(" ".join(fields.get("bytes", "").split())))
def dump() -> ParserElement:
    """Instruction dump:
    60000000 7c0802a6 <e9430000> 4e800020
    """  # until 6.2; then Code:
    row = k.Regex(r"[0-9a-fX<>() ]{8,100}(?=\n)")
    return "Instruction dump:" + k.Opt("\n" + k.Lines(row, most=4)("bytes"))


@sentence
def frame() -> ParserElement:
    """[c0000000038bfcb0] [c008000000335cd0] boom_write+0x28/0x80 [boom] (unreliable)

    [c000000003cc5be0] [c0000000001f2d3c] .vfs_write+0xbc/0x1d0

    [link register   ] c008000000335cd0 boom_write+0x28/0x80 [boom]

    [c0000000038bfcb0] c008000000335cd0 boom_write+0x28/0x80 [boom]
    """  # stack address, code address; big endian; LR; xmon
    stack = k.Regex(r"\[(?:link register   |[0-9a-f]{8,16})\] ")
    address = k.hex_digits(8, 16)("address")
    code = ("[" + address + "] ") | (address + " ")
    return k.spaces + stack + code + k.Opt(".") + k.frame_symbol


def _trace(fields: Mapping[str, str]) -> Trace:
    return Trace(fields["lines"], frame, _BY_DIGITS.get(len(fields.get("digits", "")), ""))


@block("frames", _trace, each=frame)
def frames() -> ParserElement:
    """[c0000000038bfcb0] [c008000000335cd0] boom_write+0x28/0x80 [boom] (unreliable)
    [c0000000038bfcd0] [c0000000005da988] vfs_write+0x168/0x4f0
    """
    digits = k.FollowedBy(k.spaces + "[" + k.hex_digits(8, 16)("digits") + "] ")
    return k.Opt(digits) + k.Lines(frame.build())("lines")


@block("fault address", dict)
def faulting_instruction_address() -> ParserElement:
    """Faulting instruction address: 0xc0000000008e5c68"""  # arch/powerpc/mm/fault.c
    return "Faulting instruction address: 0x" + k.hex_number("address") + k.rest_of_line


_WRITES, _ABSENT, _PROTECTED = 0x02000000, 0x40000000, 0x08000000
"""Bits of DSISR."""


def _fault(code: int) -> Access:
    """Read DSISR, the data storage interrupt status register (arch/powerpc/include/asm/reg.h)."""
    deed: Deed = "write" if code & _WRITES else "read"
    page: Page = "absent" if code & _ABSENT else "protected" if code & _PROTECTED else ""
    return access(deed, page)


def _register(name: str) -> str:
    number = name[1:]
    return f"gpr{int(number):02}" if name[:1] == "r" and number.isdecimal() and name != "r0" else ""


_DISASSEMBLER: Final = Disassembler(
    architecture="PPC",
    modes=("64", "BIG_ENDIAN"),
    order="big",  # the dump shows numbers in both byte orders
    register=_register,
)
PPC64LE = Machine(
    name="ppc64le",
    words=("ppc64le", "ppc64el", "powerpc64le"),
    blocks=(
        little_endian,
        big_endian,
        unordered,
        nip,
        xmon,
        task,
        debugged,
        prompt,
        release,
        rows,
        special,
        dump,
        frames,
        faulting_instruction_address,
    ),
    fault=_fault,
    code_apart=True,
    code_register="DSISR",
    address_register="DAR",
    big_endian="ppc64",
    regions=lambda address: USER if address < 1 << 56 else KERNEL,
    disassembler=_DISASSEMBLER,
)
PPC64 = replace(PPC64LE, name="ppc64", words=("ppc64", "powerpc64"), big_endian="")
PPC = replace(
    PPC64LE,
    name="ppc",
    words=("powerpc", "ppc"),
    big_endian="",
    address_register="DEAR",
    bits=32,
    regions=split(0xC0000000),
    disassembler=replace(_DISASSEMBLER, modes=("32", "BIG_ENDIAN")),
)
