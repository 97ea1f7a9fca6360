"""The instruction that trapped, decoded from ``Code:``, and the registers that it went through.

The bytes stand as each machine prints them: single ones on x86 (arch/x86/kernel/dumpstack.c), numbers of 16
or 32 bits on arm, arm64, powerpc and riscv (dump_instr, show_instructions), as they lie in memory on s390x
(arch/s390/kernel/dis.c). The trapping one is in ``<>`` or ``()``.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import capstone

    from kpanic.grammars.model import CrashReport

__all__ = ["Instruction", "Register", "Registers", "decode"]

LONGEST: Final = 15
"""Bytes of an instruction, on x86."""
_VALUE: Final = re.compile(r"(?:[0-9a-f]{4}:)?(?:0x)?([0-9a-f]{1,16})(?:\(\w*\))?")
_DIGITS: Final = re.compile(r"(?:[0-9a-f]{2}){1,6}")
_IMMEDIATE: Final = re.compile(r"\$(\d+)\b(?!x)")
"""A number in AT&T's syntax, which objdump shows in hexadecimal."""
_PAIR: Final = re.compile(r"(-?(?:0x)?[0-9a-f]*)\((\w+)\)")
"""``8(a5)``, of riscv's compressed instructions, which capstone takes apart differently."""
_REWOUND: Final = frozenset({0x04, 0x10, 0x11, 0x38, 0x39, 0x3A, 0x3B})
"""Program interruptions of s390x at which the PSW is at the instruction itself, not behind it."""
_S390_TRAPS: Final = ("#af", "#0000")
"""A monitor call, which is BUG() and WARN(), and what is no instruction."""
_HALF: Final = 4
_UD2: Final = b"\x0f\x0b"
"""BUG() and WARN() of x86: most of all that traps, and no reason to load a disassembler."""


class Register(NamedTuple):
    """A register that an instruction used."""

    name: str
    """As the dump of the registers names it."""
    value: int
    written: str
    """The value as it stands in the dump."""


class Instruction(NamedTuple):
    """One instruction."""

    text: str
    """In the machine's usual syntax, AT&T's on x86: ``movl $0x1,(%rax)``."""
    code: str
    """Its bytes in hexadecimal: one by one on x86, a number on machines whose dump has numbers."""
    base: Register | None = None
    """What the address that it used starts with."""
    other: Register | None = None
    """What is added to it, ``scale`` times."""
    scale: int = 1
    displacement: int = 0
    address: int | None = None
    """That address, of what the registers held; None where it used none, or they are not known."""
    operand: Register | None = None
    """The register that a division divided by, or a jump went to."""


class Registers:
    """The registers of a crash by their names in lower case, the first of each; read when somebody asks."""

    __slots__ = ("_written",)

    def __init__(self, report: CrashReport) -> None:
        """Note what is written."""
        self._written = {name.lower(): (name, value) for name, value in reversed(report.registers)}

    def get(self, name: str) -> Register | None:
        """Return a register; None where the dump does not have it."""
        name, written = self._written.get(name, ("", ""))
        match = _VALUE.fullmatch(written)
        return Register(name, int(match[1], 16), written) if match else None

    def holding(self, value: int) -> Iterator[Register]:
        """Yield the registers that hold a value, in the order of the dump."""
        digits = f"{value:x}"
        for name, (_, written) in reversed(self._written.items()):
            if digits in written and (register := self.get(name)) is not None and register.value == value:
                yield register


def decode(report: CrashReport, registers: Registers | None = None) -> Instruction | None:
    """Decode the instruction that a crash happened at; None where the text does not have it."""
    registers = Registers(report) if registers is None else registers
    taken = _trapping(report)
    if taken is None or report.ip is None or not report.ip.symbol:
        return None  # where no function is there is data
    machine, data = taken
    if machine in {"x86_64", "i686"} and data.startswith(_UD2):
        return Instruction("ud2", _UD2.hex(" "))
    engine = _engine(machine)
    at = report.ip.offset if report.ip and report.ip.offset is not None else 0
    found = next(engine.disasm(data, at, 1), None)
    if found is None:
        return None
    text = _text(found, report, at)
    code = _bytes(found, machine)
    plain = Instruction(text, code)
    operand = _operand(found, registers, machine)
    if operand is not None:
        plain = plain._replace(operand=operand)
    used = [_address(plain, parts, registers, machine) for parts in _memory(found, machine)]
    fault = report.fault_address
    if not used:
        return plain
    if fault is not None:
        used.sort(key=lambda one: abs(one.address - fault) if one.address is not None else 1 << 65)
    return used[0]


def _trapping(report: CrashReport) -> tuple[str, bytes] | None:
    """Return the machine that executes the trapping instruction, and the bytes from that on."""
    machine = report.kernel.architecture
    tokens = report.code.split()
    at = next((number for number, token in enumerate(tokens) if token[0] in "<("), None)
    if at is None or machine not in _ENGINES:
        return None
    if machine == "s390x" and at and tokens[at - 1][0] == "#":
        code = report.oops.error_code if report.oops else None
        trapped = tokens[at - 1].startswith(_S390_TRAPS) if code is None else code & 0x7F not in _REWOUND
        at -= trapped
    if machine in {"x86_64", "i686"} and report.cause == "breakpoint" and at and tokens[at - 1] == "cc":
        at -= 1  # the CPU is behind the breakpoint when it traps
    marked = tokens[at].strip("#<>()")
    if not _DIGITS.fullmatch(marked) or len(marked) % 2:
        return None
    if machine == "armv7l" and len(marked) == _HALF:
        machine = "thumb"
    words = [
        marked,
        *itertools.takewhile(_DIGITS.fullmatch, (one.strip(">)") for one in tokens[at + 1 : at + LONGEST])),
    ]
    if machine in {"aarch64", "armv7l", "thumb", "riscv64"}:
        data = b"".join([bytes.fromhex(one)[::-1] for one in words if len(one) == len(marked)])
    else:
        data = bytes.fromhex("".join(words))
    return machine, data[:LONGEST]


_ENGINES: Final = {
    "x86_64": ("X86", ("64",)),
    "i686": ("X86", ("32",)),
    "aarch64": ("ARM64", ("ARM",)),
    "armv7l": ("ARM", ("ARM",)),
    "thumb": ("ARM", ("THUMB",)),
    "ppc64le": ("PPC", ("64", "BIG_ENDIAN")),  # the dump has numbers, whatever the order in memory
    "s390x": ("SYSZ", ("BIG_ENDIAN",)),
    "riscv64": ("RISCV", ("RISCV64", "RISCVC")),
}
"""Machines, and capstone's names of their architecture and modes."""


@functools.lru_cache(maxsize=len(_ENGINES))
def _engine(machine: str) -> capstone.Cs:
    """Return what decodes a machine's instructions."""
    import capstone  # noqa: PLC0415 - 15 ms, and few reports need it

    architecture, modes = _ENGINES[machine]
    mode = sum(getattr(capstone, f"CS_MODE_{name}") for name in modes)
    engine = capstone.Cs(getattr(capstone, f"CS_ARCH_{architecture}"), mode)
    engine.detail = True
    if architecture == "X86":
        engine.syntax = capstone.CS_OPT_SYNTAX_ATT
    return engine


def _text(found: capstone.CsInsn, report: CrashReport, at: int) -> str:
    """Return an instruction as it is written; a jump's target by its function."""
    operands = _IMMEDIATE.sub(lambda number: f"${int(number[1]):#x}", found.op_str.replace(", ", ","))
    ip = report.ip
    if _relative(found, report.kernel.architecture) and ip is not None and ip.size is not None:
        others, comma, target = operands.rpartition(",")
        where = int(target.lstrip("#"), 0)
        inside = 0 <= where < ip.size and at < ip.size
        operands = f"{others}{comma}{f'{ip.symbol}+0x{where:x}' if inside else '...'}"
    return f"{found.mnemonic.removeprefix('c.')} {operands}".strip()


def _relative(found: capstone.CsInsn, machine: str) -> bool:
    """Tell whether an instruction goes to a place that it gives as its last operand."""
    import capstone  # noqa: PLC0415

    jumps = capstone.CS_GRP_BRANCH_RELATIVE in found.groups
    if machine == "s390x":  # which capstone sorts into other groups
        jumps = capstone.CS_GRP_JUMP in found.groups or found.mnemonic.startswith("bras")
    return jumps and bool(found.operands) and found.operands[-1].type == capstone.CS_OP_IMM


def _bytes(found: capstone.CsInsn, machine: str) -> str:
    data = bytes(found.bytes)
    if machine in {"x86_64", "i686"}:
        return data.hex(" ")
    return (data[::-1] if machine in {"aarch64", "armv7l"} else data).hex()


class _Parts(NamedTuple):
    base: str
    other: str
    scale: int
    displacement: int
    segment: str = ""


def _memory(found: capstone.CsInsn, machine: str) -> Iterator[_Parts]:
    """Yield the memory that an instruction's operands name."""
    import capstone  # noqa: PLC0415

    any_ = False
    for operand in found.operands:
        if operand.type != capstone.CS_OP_MEM:
            continue
        if found.mnemonic.startswith(("lea", "nop", "prefetch")):
            return  # it computes the address, and does not go there
        any_ = True
        memory = operand.mem
        segment = getattr(memory, "segment", 0)
        shift = getattr(operand, "shift", None)
        scale = getattr(memory, "scale", 1) or 1
        if shift is not None and shift.type:
            scale <<= shift.value
        yield _Parts(
            _name(found, memory.base, machine),
            _name(found, getattr(memory, "index", 0), machine),
            scale,
            memory.disp,
            _name(found, segment, machine) if segment else "",
        )
    if not any_ and machine == "riscv64" and (pair := _PAIR.search(found.op_str)):
        yield _Parts(pair[2], "", 1, int(pair[1] or "0", 0))


_ALIASES: Final = {
    "x86_64": {"r8": "r08", "r9": "r09"},
    "armv7l": {"sb": "r9", "sl": "r10"},
    "thumb": {"sb": "r9", "sl": "r10"},
    "aarch64": {"fp": "x29"},
}


def _name(found: capstone.CsInsn, number: int, machine: str) -> str:
    """Return a register's name as the machine's dump has it, in lower case."""
    if not number:
        return ""
    name = str(found.reg_name(number) or "").lower()
    if machine == "s390x":
        return f"gpr{name.lstrip('r%')}" if name.lstrip("r%").isdecimal() and name != "0" else ""
    if machine == "ppc64le":
        return f"gpr{int(name[1:]):02}" if name[:1] == "r" and name[1:].isdecimal() and name != "r0" else ""
    return _ALIASES.get(machine, {}).get(name, name)


def _address(instruction: Instruction, parts: _Parts, registers: Registers, machine: str) -> Instruction:
    """Work out an address from what the registers held."""
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
        ) % (1 << (32 if machine in {"i686", "armv7l", "thumb"} else 64))
    return instruction._replace(
        base=base, other=other, scale=parts.scale, displacement=parts.displacement, address=address
    )


def _operand(found: capstone.CsInsn, registers: Registers, machine: str) -> Register | None:
    """Return the register that decides what a division or an indirect jump of x86 does."""
    if machine not in {"x86_64", "i686"}:
        return None
    name = found.op_str.lstrip("*%")
    divides = found.mnemonic.startswith(("div", "idiv"))
    if not divides and not (found.mnemonic.startswith(("call", "jmp")) and found.op_str.startswith("*%")):
        return None
    name = _ALIASES["x86_64"].get(name, name)
    half = _HALVES.get(name) if machine == "x86_64" else None
    register = registers.get(half or name)
    if register is not None and half:
        return register._replace(value=register.value & 0xFFFFFFFF)
    return register


_HALVES: Final = {
    **{f"e{name}": f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp")},
    **{f"r{number}d": f"r{number:02}" for number in range(8, 16)},
}
"""Registers of 32 bits, and those whose lower halves they are."""
