"""s390x (arch/s390/kernel/{dumpstack,dis,traps}.c, arch/s390/mm/fault.c; 2.6.32 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.backtrace import Trace
from kpanic.grammars.blocks.code import Code
from kpanic.grammars.blocks.oops import read_oops
from kpanic.grammars.blocks.platform import platform
from kpanic.grammars.blocks.pointer import Jump, pointer
from kpanic.grammars.blocks.registers import registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import NOTHING, Access, access
from kpanic.grammars.machines.address import KERNEL, apart
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyparsing import ParserElement

    from kpanic.grammars.model import CrashReport

__all__ = ["S390X"]


@block("platform", platform("s390x"))
def own_words() -> ParserElement:
    """Fault in home space mode while using kernel ASCE."""
    return (
        "Fault in "
        + k.one_of("home", "primary", "secondary", "access register")
        + " space mode"
        + k.rest_of_line
    )


@block("pointer", pointer("s390x"))
def psw() -> ParserElement:
    """Krnl PSW : 0704e00180000000 00000000006bf738 (sysrq_handle_crash+0x28/0x30)"""
    mask = k.hex_number + " " + k.hex_number + " "
    return "Krnl PSW : " + k.FollowedBy(k.rest_of_line("raw")) + mask + k.place + k.rest_of_line


@block("jump", lambda fields: Jump(fields["caller"]))
def last_jump() -> ParserElement:
    """Last Breaking-Event-Address:
    [<000003ff7e754b70>] boom_write+0x48/0x60 [boom]
    """
    address = k.Regex(r" *\[<[0-9a-f]{0,16}>\] ")
    return "Last Breaking-Event-Address:\n" + address + k.symbol_name("caller") + "+0x" + k.rest_of_line


def _registers(text: str) -> Iterator[tuple[str, str]]:
    yield from ((f"GPR{number}", value) for number, value in enumerate(text.split()))


@block("registers", registers(_registers, "s390x"))
def general() -> ParserElement:
    """Krnl GPRS: 0000000000000000 000003ff7e75a460 0000000000000000 0000000000000000
    00000000fd8f6600 0000000000000001 00000000004a0e6a 0000000000000000
    """
    row = k.Regex(r"\n {4,20}(?:[0-9a-f]{16} ?){4}")
    rows = k.Opt(row) + k.Opt(row) + k.Opt(row)
    return "Krnl GPRS:" + k.Combine(k.rest_of_line + rows)("lines")


@sentence
def instruction() -> ParserElement:
    """#00000000006bf732: a7f40001    brc    15,0000000000131ef8"""  # since 7.x "*" for "#"
    address = k.Regex("[#*> ]")("mark") + k.hex_digits(8, 16)
    return address + ": " + k.Regex(r"[0-9a-f]{4,12}(?!\w)")("digits")


_MARKED: Final = {"#": "#{}", "*": "#{}", ">": "<{}>", " ": "{}"}


def _code(fields: Mapping[str, str]) -> Code:
    """Return the code with ``#`` at the instruction before the PSW, and ``<>`` around the one at the PSW."""
    found = instruction.regex.finditer(fields.get("lines", ""))
    return Code(" ".join(_MARKED[one["mark"]].format(one["digits"]) for one in found))


@block("code", _code, each=instruction)
def code() -> ParserElement:
    """Krnl Code: 00000000006bf728: a51ddead            llihl   %r1,57005
    #00000000006bf732: a7f40001            brc     15,0000000000131ef8
    >00000000006bf736: 92002000            mvi     0(%r2),0
    """
    row = k.Regex(r" {0,20}[#*>]?[0-9a-f]{8,16}: [^\n]*(?=\n)")
    return "Krnl Code:" + k.Combine(k.rest_of_line + k.Opt("\n" + k.Lines(row, most=15)))("lines")


@sentence
def frame() -> ParserElement:
    """([<000003fffec8fc40>] vfs_write+0xc0/0x400)"""  # a caller; the innermost frame has no parentheses
    return k.spaces + "(" + k.bracket + k.spaces + k.frame_symbol


@block("frames", lambda fields: Trace(fields["lines"], frame), each=frame)
def frames() -> ParserElement:
    """([<000003fffec8fc40>] vfs_write+0xc0/0x400)"""
    return k.Lines(frame.build())("lines")


@block("oops", read_oops)
def interruption() -> ParserElement:
    """specification exception: 0006 ilc:2 [#1] SMP

    monitor event: 0040 ilc:2 [#1] PREEMPT SMP

    illegal operation: 0001 ilc:1 [#1] SMP

    Unknown program exception: 0028 [#1] SMP
    """  # arch/s390/kernel/traps.c
    return k.exception(
        *("addressing exception: ", "execute exception: ", "fixpoint divide exception: "),
        *("fixpoint overflow exception: ", "operand exception: ", "privileged operation: "),
        *("specification exception: ", "special operation exception: ", "illegal operation: "),
        *("data exception: ", "vector exception: ", "space switch event: ", "monitor event: "),
        *(
            "Unknown program exception: ",
            "transaction constraint exception: ",
            "secure storage access: ",
            "protection exception: ",
        ),
    )


@block("fault address", dict)
def failing_address() -> ParserElement:
    """Failing address: 0000000000000000 TEID: 0000000000000483"""  # arch/s390/mm/fault.c
    return k.one_of("Failing address: ", "failing address: ") + k.hex_number("address") + k.rest_of_line


_PAGES: Final = frozenset({0x10, 0x11, 0x38, 0x39, 0x3A, 0x3B})
"""Program interruptions of failed address translations."""
_INTERRUPTIONS: Final = {
    0x01: Access("operation exception: invalid instruction"),
    0x02: Access("privileged operation"),
    0x04: access("write", "protected"),
    0x05: Access("addressing exception: no memory at the address"),
    0x06: Access("specification exception: misaligned or malformed operand"),
    0x07: Access("data exception"),
    0x08: Access("fixed-point overflow"),
    0x09: Access("fixed-point division by zero"),
    **dict.fromkeys(_PAGES, access("", "absent")),
    0x40: Access("monitor event: the trap of BUG() and WARN()"),
}
_REWOUND: Final = _PAGES | {0x04}
"""Program interruptions that leave the PSW at the instruction, not after it."""
_TRAPS: Final = ("#af", "#0000")
"""The monitor call of BUG() and WARN(), and an invalid instruction."""


def _trapped(tokens: Sequence[str], at: int, report: CrashReport) -> int:
    """Return the instruction before the PSW, unless the interruption leaves the PSW at the instruction."""
    if not at or tokens[at - 1][0] != "#":
        return at
    code = report.oops.error_code if report.oops else None
    ahead = tokens[at - 1].startswith(_TRAPS) if code is None else code & 0x7F not in _REWOUND
    return at - ahead


def _register(name: str) -> str:
    number = name.lstrip("r%")
    return f"gpr{number}" if number.isdecimal() and name != "0" else ""


_LOW: Final = apart("s390x")
S390X = Machine(
    name="s390x",
    words=("s390x",),
    blocks=(psw, last_jump, general, code, frames, interruption, failing_address, own_words),
    fault=lambda code: _INTERRUPTIONS.get(code & 0x7F, NOTHING),
    regions=lambda address: _LOW if address < 1 << 56 else KERNEL,
    disassembler=Disassembler(
        architecture="SYSZ",
        modes=("BIG_ENDIAN",),
        trapped=_trapped,
        register=_register,
        call="bras",
    ),
)
