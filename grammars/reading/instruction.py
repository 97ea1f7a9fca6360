"""Decodes the trapping instruction from ``Code:``, and finds the registers that it used.

The format of the code depends on the machine: single bytes on x86 (arch/x86/kernel/dumpstack.c), numbers of
16 or 32 bits on arm, arm64, powerpc and riscv (dump_instr, show_instructions), bytes in memory order on s390x
(arch/s390/kernel/dis.c). The trapping instruction is in ``<>`` or ``()``. Each machine's
:class:`~kpanic.grammars.machines.disassembler.Disassembler` describes its format.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct, structs

from kpanic.grammars import machines
from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterator

    import capstone

    from kpanic.grammars.machines.disassembler import Disassembler
    from kpanic.grammars.model import CrashReport

__all__ = ["Instruction", "Register", "Registers", "decode", "installed"]

LONGEST: Final = 15
"""Maximum bytes of an instruction (x86)."""
_VALUE: Final = regex(r"(?:[0-9a-f]{4}:)?(?:0x)?([0-9a-f]{1,16})(?:\(\w*\))?")
_DIGITS: Final = regex(r"(?:[0-9a-f]{2}){1,6}")
_IMMEDIATE: Final = regex(r"\$(\d+)\b(?!x)")
"""A decimal number in AT&T syntax, which is converted to hexadecimal, as objdump prints it."""
_PAIR: Final = regex(r"(-?(?:0x)?[0-9a-f]{0,16})\((\w+)\)")
"""``8(a5)`` in riscv's compressed instructions, which capstone does not split."""
_HALF: Final = 4
"""Number of digits of a compressed instruction."""


class Register(Struct, frozen=True):
    """A register that an instruction used."""

    name: str
    """The name in the register dump."""
    value: int
    written: str
    """The value as printed."""


class Instruction(Struct, frozen=True):
    """An instruction, with the registers that it used."""

    text: str
    """The instruction in the machine's usual syntax, AT&T's on x86: ``movl $0x1,(%rax)``."""
    code: str
    """The instruction in hexadecimal, in the format of the machine's dump: single bytes or a number."""
    base: Register | None = None
    """The base register of the memory operand."""
    other: Register | None = None
    """The index register, which is multiplied by ``scale``."""
    scale: int = 1
    displacement: int = 0
    address: int | None = None
    """The address of the memory operand; None without one, or if a register's value is unknown."""
    operand: Register | None = None
    """The divisor of a division, or the target of a jump."""


class Registers:
    """The registers of a crash by their names in lower case, parsed on demand.

    If the dump prints a register several times, the first value counts.
    """

    __slots__ = ("_written",)

    def __init__(self, report: CrashReport) -> None:
        """Collect the names and values, as printed."""
        self._written = {name.lower(): (name, value) for name, value in reversed(report.registers)}

    def get(self, name: str) -> Register | None:
        """Return a register; None if it is not in the dump."""
        name, written = self._written.get(name, ("", ""))
        match = _VALUE.fullmatch(written)
        return Register(name, int(match[1], 16), written) if match else None

    def holding(self, value: int) -> Iterator[Register]:
        """Yield the registers that hold a value, in the order of the dump."""
        digits = f"{value:x}"
        for name, (_, written) in reversed(self._written.items()):
            if digits in written and (register := self.get(name)) is not None and register.value == value:
                yield register


@functools.cache
def installed() -> bool:
    """Tell whether capstone is installed; it has wheels only for x86-64 and arm64."""
    return importlib.util.find_spec("capstone") is not None


def decode(report: CrashReport, registers: Registers | None = None) -> Instruction | None:
    """Return the instruction at the place of the crash; None if it is not in the report or not decodable."""
    registers = Registers(report) if registers is None else registers
    machine = machines.find(report.kernel.architecture)
    taken = _trapping(report, machine.disassembler)
    if taken is None or report.ip is None or not report.ip.symbol:
        return None  # the bytes outside of functions are data
    settings, data = taken
    if settings.trap and data.startswith(settings.trap):
        return Instruction(settings.trap_name, settings.trap.hex(" "))
    if not installed():
        return None
    at = report.ip.offset if report.ip.offset is not None else 0
    found = next(_engine(settings.architecture, settings.modes).disasm(data, at, 1), None)
    if found is None:
        return None
    plain = Instruction(_text(found, report, at, settings), _bytes(found, settings))
    operand = _operand(found, registers, settings)
    if operand is not None:
        plain = structs.replace(plain, operand=operand)
    used = [_address(plain, parts, registers, machine.bits) for parts in _memory(found, settings)]
    fault = report.fault_address
    if not used:
        return plain
    if fault is not None:
        used.sort(key=lambda one: abs(one.address - fault) if one.address is not None else 1 << 65)
    return used[0]


def _trapping(report: CrashReport, settings: Disassembler | None) -> tuple[Disassembler, bytes] | None:
    """Return the settings for the trapping instruction, and the bytes from it on."""
    tokens = report.code.split()
    at = next((number for number, token in enumerate(tokens) if token[0] in "<("), None)
    if at is None or settings is None:
        return None
    at = settings.trapped(tokens, at, report)
    marked = tokens[at].strip("#<>()")
    if not _DIGITS.fullmatch(marked) or len(marked) % 2:
        return None
    if settings.compressed is not None and len(marked) == _HALF:
        settings = settings.compressed
    words = [
        marked,
        *itertools.takewhile(_DIGITS.fullmatch, (one.strip(">)") for one in tokens[at + 1 : at + LONGEST])),
    ]
    if settings.order == "little":
        data = b"".join([bytes.fromhex(one)[::-1] for one in words if len(one) == len(marked)])
    else:
        data = bytes.fromhex("".join(words))
    return settings, data[:LONGEST]


@functools.lru_cache(maxsize=16)
def _engine(architecture: str, modes: tuple[str, ...]) -> capstone.Cs:
    """Return capstone's decoder for an architecture."""
    import capstone  # noqa: PLC0415 - 15 ms, and few reports need it

    mode = sum(getattr(capstone, f"CS_MODE_{name}") for name in modes)
    engine = capstone.Cs(getattr(capstone, f"CS_ARCH_{architecture}"), mode)
    engine.detail = True
    if architecture == "X86":
        engine.syntax = capstone.CS_OPT_SYNTAX_ATT
    return engine


def _text(found: capstone.CsInsn, report: CrashReport, at: int, settings: Disassembler) -> str:
    """Return an instruction as text; the target of a jump is relative to the function."""
    operands = _IMMEDIATE.sub(lambda number: f"${int(number[1]):#x}", found.op_str.replace(", ", ","))
    ip = report.ip
    if _relative(found, settings) and ip is not None and ip.size is not None:
        others, comma, target = operands.rpartition(",")
        where = int(target.lstrip("#"), 0)
        inside = 0 <= where < ip.size and at < ip.size
        operands = f"{others}{comma}{f'{ip.symbol}+0x{where:x}' if inside else '...'}"
    return f"{found.mnemonic.removeprefix('c.')} {operands}".strip()


def _relative(found: capstone.CsInsn, settings: Disassembler) -> bool:
    """Tell whether the last operand of an instruction is the address of a jump's target."""
    import capstone  # noqa: PLC0415

    jumps = capstone.CS_GRP_BRANCH_RELATIVE in found.groups
    if settings.call:  # capstone has another group for branches of this machine
        jumps = capstone.CS_GRP_JUMP in found.groups or found.mnemonic.startswith(settings.call)
    return jumps and bool(found.operands) and found.operands[-1].type == capstone.CS_OP_IMM


def _bytes(found: capstone.CsInsn, settings: Disassembler) -> str:
    data = bytes(found.bytes)
    if settings.shown == "bytes":
        return data.hex(" ")
    return (data[::-1] if settings.shown == "number" else data).hex()


class _Parts(NamedTuple):
    base: str
    other: str
    scale: int
    displacement: int
    segment: str = ""


def _memory(found: capstone.CsInsn, settings: Disassembler) -> Iterator[_Parts]:
    """Yield the memory operands of an instruction."""
    import capstone  # noqa: PLC0415

    any_ = False
    for operand in found.operands:
        if operand.type != capstone.CS_OP_MEM:
            continue
        if found.mnemonic.startswith(("lea", "nop", "prefetch")):
            return  # lea computes an address, but does not access it
        any_ = True
        memory = operand.mem
        segment = getattr(memory, "segment", 0)
        shift = getattr(operand, "shift", None)
        scale = getattr(memory, "scale", 1) or 1
        if shift is not None and shift.type:
            scale <<= shift.value
        yield _Parts(
            _name(found, getattr(memory, "base", 0) or getattr(memory, "base_reg", 0), settings),  # m68k
            _name(found, getattr(memory, "index", 0) or getattr(memory, "index_reg", 0), settings),
            scale,
            memory.disp,
            _name(found, segment, settings) if segment else "",
        )
    if not any_ and settings.pairs and (pair := _PAIR.search(found.op_str)):
        yield _Parts(pair[2], "", 1, int(pair[1] or "0", 0))


def _name(found: capstone.CsInsn, number: int, settings: Disassembler) -> str:
    """Return the name of a register in the machine's dump, in lower case."""
    return settings.register(str(found.reg_name(number) or "").lower()) if number else ""


def _address(instruction: Instruction, parts: _Parts, registers: Registers, bits: int) -> Instruction:
    """Compute the address of a memory operand from the values of the registers."""
    held = [registers.get(name) for name in (parts.base, parts.other)]
    base, other = held
    known = all(register is not None or not name for name, register in zip(parts, held, strict=False))
    start = registers.get(parts.segment) if parts.segment in {"fs", "gs"} else None
    if parts.segment in {"fs", "gs"} and start is None:
        known = False
    address = None
    if known:
        address = sum(
            (
                base.value if base else 0,
                parts.scale * other.value if other else 0,
                parts.displacement,
                start.value if start else 0,
            )
        ) % (1 << bits)
    return structs.replace(
        instruction,
        base=base,
        other=other,
        scale=parts.scale,
        displacement=parts.displacement,
        address=address,
    )


def _operand(found: capstone.CsInsn, registers: Registers, settings: Disassembler) -> Register | None:
    """Return the divisor of a division, or the target of an indirect jump."""
    if not f"{found.mnemonic} {found.op_str}".startswith(settings.operand or ("\0",)):
        return None
    name = settings.register(found.op_str.lstrip("*%"))
    half = settings.halves.get(name)
    register = registers.get(half or name)
    if register is not None and half:
        return structs.replace(register, value=register.value & 0xFFFFFFFF)
    return register
