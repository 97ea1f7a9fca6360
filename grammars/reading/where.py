"""Where the CPU was: the function, the instruction, and the register that held the bad value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kpanic.grammars import machines
from kpanic.grammars.machines.address import NULL_PAGE
from kpanic.grammars.model import Step
from kpanic.grammars.reading.instruction import Registers, decode
from kpanic.grammars.reading.marks import listed, once

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, InstructionPointer, Line
    from kpanic.grammars.reading.instruction import Instruction, Register
    from kpanic.grammars.reading.marks import Marks

NAME: Final = "where"
TOUCHED: Final = 64
"""Bytes that one instruction reaches from its address on."""
_INTERRUPTED: Final = frozenset({"nmi", "soft-lockup", "hard-lockup", "rcu-stall", "hung-task", "sysrq"})
"""Causes that have nothing to do with the instruction that the CPU was at."""
_TRAPS: Final = {
    "ud2": "the trap of BUG() and WARN()",
    "ud1": "the trap of WARN() and of checks",
    "udf": "the trap of BUG() and WARN()",
    "int3": "a breakpoint",
    "brk": "the trap of BUG(), WARN() and of checks",
    "ebreak": "the trap of BUG() and WARN()",
    "mc": "the trap of BUG() and WARN()",
    "twui": "the trap of BUG() and WARN()",
    "tdnei": "the trap of BUG_ON() and WARN_ON()",
}
"""Instructions that are there to trap."""
_AT: Final = re.compile(r"[<(]([0-9a-f ]+)[)>]")
_NOT_READ: Final = re.compile(r"Unable to access|Bad [RE]?[IP]\w* value|bad PC")


def read(report: CrashReport, marks: Marks) -> Step:
    """Say where the instruction pointer was, what it executed, and through which register it went."""
    ip = report.ip
    if ip is None:
        where = ": its trace says where it was" if report.call_trace else ""
        return Step(NAME, f"The report gives no instruction pointer of the kernel{where}.")
    registers = Registers(report)
    said = [_place(ip, named=any(frame.symbol for frame in report.call_trace))]
    proof = marks.get("ip")
    found = decode(report, registers)
    if found is not None:
        words, used = _instruction(report, found)
        said.append(words)
        proof = once(proof, marks.get("code"), *(_dumped(marks, register) for register in used))
    elif report.code and ip.symbol and (bytes_ := _AT.search(report.code)):
        said.append(f"The bytes there, {bytes_[1]}, are no instruction that the decoder knows.")
        proof = once(proof, marks.get("code"))
    elif report.code and (_NOT_READ.search(report.code) or "XXXX" in report.code):
        said.append("The code there could not be read.")
        proof = once(proof, marks.get("code"))
    if (found is None or found.base is None) and report.fault_address is not None:
        held = _holders(registers, report.fault_address, ip.address)
        if held:
            names = listed(register.name for register in held)
            said.append(f"The faulting address was in {names}.")
            proof = once(proof, *(_dumped(marks, register) for register in held[:3]))
    return Step(NAME, " ".join(said), proof)


def _place(ip: InstructionPointer, *, named: bool) -> str:
    if ip.symbol:
        place = ip.symbol
        if ip.offset is not None:
            place += f"+0x{ip.offset:x}"
            if ip.size is not None:
                place += f"/0x{ip.size:x}"
        return (
            f"The CPU was at {place}, in {f'the module {ip.module}' if ip.module else 'the kernel itself'}."
        )
    if ip.address is None:
        return "The instruction pointer is given as an address only."
    if ip.address < NULL_PAGE:
        return (
            f"The CPU was at 0x{ip.address:x}, where there is no code: "
            "it had called or jumped through a pointer that was NULL."
        )
    if not named:
        return f"The CPU was at 0x{ip.address:x}, of which the kernel says no name."
    return f"The CPU was at 0x{ip.address:x}, where the kernel has no code."


def _instruction(report: CrashReport, found: Instruction) -> tuple[str, list[Register]]:
    """Put the instruction into words; with the registers that matter."""
    text = f'"{found.text}"'
    trap = _TRAPS.get(found.text.partition(" ")[0])
    if trap:
        return f"The instruction there is {text}, {trap}.", []
    if report.cause in _INTERRUPTED and report.fault_address is None:
        return f"It was about to execute {text}.", []
    if found.operand is not None:
        held = f"{found.operand.name} held 0x{found.operand.value:x}"
        if report.cause == "divide-error":
            divisor = f"the divisor, {found.operand.name}, held 0x{found.operand.value:x}"
            return f"The instruction there is {text}: {divisor}.", [found.operand]
        return f"The instruction there is {text}: {held}.", [found.operand]
    used = [register for register in (found.base, found.other) if register is not None]
    if report.kind in {"warning", "bug"}:
        return f"The instruction there is {text}.", []
    if "(%rip)" in found.text:
        return f"The instruction there is {text}: it goes to a fixed place, that of a variable.", []
    if found.address is None:
        return f"The instruction there is {text}.", []
    return f"The instruction there is {text}: {_went(report, found)}", used


def _went(report: CrashReport, found: Instruction) -> str:
    """Say through which register the instruction went, and what that held."""
    if (checked := _checked(report, found)) is not None:
        meant, register = checked
        place = machines.find(report.kernel.architecture).locate(meant).words
        return (
            f"a check of KASAN before the access to 0x{meant:x}, which is {place}; "
            f"{register.name} held an eighth of it."
        )
    base, index, away = found.base, found.other, found.displacement
    parts = []
    if base is not None:
        parts.append(f"{base.name} held 0x{base.value:x}")
    if index is not None:
        times = f" (times {found.scale})" if found.scale > 1 else ""
        parts.append(f"{index.name} held 0x{index.value:x}{times}")
    if away and parts:
        parts.append(f"0x{abs(away):x} is {'added' if away > 0 else 'taken away'}")
    address, fault = found.address, report.fault_address
    if address is None:
        return f"{listed(parts)}."
    same = fault is not None and 0 <= fault - (address & _untagged(report)) < TOUCHED
    single = len(parts) == 1 and base is not None
    if not parts:
        guess = "; the kernel only guesses another" if "maybe for address" in report.reason else ""
        return f"it goes to the fixed address 0x{address:x}{guess}."
    place = machines.find(report.kernel.architecture).locate(address).words
    if same:
        return (
            f"{listed(parts)}: the faulting address." if not single else f"{parts[0]}, the faulting address."
        )
    if fault is None:
        result = "" if single else f", which makes 0x{address:x}"
        return f"{listed(parts)}{result}, {place}."
    named = "guesses" if "maybe for address" in report.reason else "names"
    return f"{listed(parts)}, which makes 0x{address:x}; that is not the address that the kernel {named}."


def _untagged(report: CrashReport) -> int:
    """Return the bits of an address that count: the topmost may be a tag, which the kernel leaves out."""
    fault = report.fault_address
    bits = 64 - machines.find(report.kernel.architecture).ignored_bits
    return (1 << (bits if fault is not None and fault < 1 << bits else 64)) - 1


def _checked(report: CrashReport, found: Instruction) -> tuple[int, Register] | None:
    """Return the address that a check of KASAN was for, if the instruction is one."""
    start = machines.find(report.kernel.architecture).shadow
    if not start:
        return None
    base, index, away = found.base, found.other, found.displacement % (1 << 64)
    pairs = [(base, index), (index, base)] if found.scale == 1 else []
    for shadow, other in pairs:
        if shadow is not None and other is not None and shadow.value == start and not away:
            return other.value << 3 & ((1 << 64) - 1), other
    if base is not None and index is None and away == start:
        return base.value << 3 & ((1 << 64) - 1), base
    return None


def _holders(registers: Registers, fault: int, ip: int | None) -> list[Register]:
    """Return the registers of the dump that hold an address; NULL is in too many of them to say anything."""
    if fault < 8 or fault == ip:  # noqa: PLR2004 - a small number like any other
        return []
    return [one for one in registers.holding(fault) if not _NO_DATA.fullmatch(one.name.lower())]


_NO_DATA: Final = re.compile(
    r"dar|cfar|badaddr|nip|e?pc|[cdefgs]s|knlgs|[er]flags|psr|pstate|orig_rax|pkru|[cd]r\d"
)
"""Registers that say where the fault was or how, not what the code worked with."""


def _dumped(marks: Marks, register: Register) -> tuple[Line, ...]:
    """Return the line of the dump that holds a register."""
    if register.name.startswith("GPR"):
        return marks.holding(register.written, since="ip") or marks.holding(register.written)
    written = (f"{register.name}: {register.written}", f"{register.name} : {register.written}")
    return marks.holding(*written, since="ip") or marks.holding(*written)
