"""Where the CPU was: the function, the instruction, and the register that held the bad value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import machines
from kpanic.grammars.fact import lines_of, once
from kpanic.grammars.lazy import regex
from kpanic.grammars.machines.address import NULL_PAGE
from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import listed, register
from kpanic.grammars.reading.instruction import Registers, decode

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, InstructionPointer, Sentence
    from kpanic.grammars.reading.instruction import Instruction, Register

NAME: Final = "where"
TOUCHED: Final = 64
"""Maximum bytes that one instruction accesses."""
_INTERRUPTED: Final = frozenset({"nmi", "soft-lockup", "hard-lockup", "rcu-stall", "hung-task", "sysrq"})
"""Causes that are unrelated to the instruction at the instruction pointer."""
_TRAPS: Final = {
    "ud2": "the trap of BUG() or WARN()",
    "ud1": "the trap of WARN() or a check",
    "udf": "the trap of BUG() or WARN()",
    "int3": "a breakpoint",
    "brk": "the trap of BUG(), WARN() or a check",
    "ebreak": "the trap of BUG() or WARN()",
    "mc": "the trap of BUG() or WARN()",
    "twui": "the trap of BUG() or WARN()",
    "tdnei": "the trap of BUG_ON() or WARN_ON()",
}
"""Instructions whose purpose is to trap."""
_AT: Final = regex(r"[<(]([0-9a-f ]+)[)>]")
_NOT_READ: Final = regex(r"Unable to access|Bad [RE]?[IP]\w* value|bad PC")


_NIP: Final = "NIP"
"""The instruction pointer in the register dump of powerpc; another line names its function."""
AT: Final = Claim("The CPU was at {place}, in {home}.", "pointer", derived=("home",))
UNNAMED: Final = Claim("The CPU was at 0x{address}, for which the kernel printed no symbol.", "pointer")
NULL_JUMP: Final = Claim(
    "The CPU was at 0x{address}, where there is no code: it had called or jumped through a NULL pointer.",
    "pointer",
)
NO_CODE: Final = Claim("The CPU was at 0x{address}, where the kernel has no code.", "pointer")
UNTOLD: Final = Claim("The kernel printed the instruction pointer as {raw}.", "pointer", "registers")
NOWHERE: Final = Absence(
    "No line that was read gives the instruction pointer in the kernel.",
    lambda report: report.ip is None and _NIP not in dict(report.registers),
)
INTERRUPTED: Final = Claim('It was about to execute "{text}".', "code", derived=("text",))
INSTRUCTION: Final = Claim(
    'The instruction there is "{text}"{more}.', "code", "registers", derived=("text", "more")
)
UNDECODED: Final = Claim("The decoder knows no instruction for the bytes there, {bytes}.", "code")
UNREADABLE: Final = Claim("The kernel could not read the code there.", "code")
HELD: Final = Claim(
    "The faulting address was in {registers}.",
    "registers",
    derived=("registers",),  # mips and powerpc name only the first register of a row
)


def read(report: CrashReport) -> Step:
    """Name the place of the instruction pointer, the instruction, and the registers that it used."""
    if report.ip is None:
        return Step(NAME, step_sentences(_dumped(report)))
    registers = Registers(report)
    found = decode(report, registers)
    held = None
    if (found is None or found.base is None) and report.fault_address is not None:
        held = _held(report, registers, report.fault_address)
    return Step(NAME, step_sentences(_place(report, report.ip), _code(report, found), held))


def _dumped(report: CrashReport) -> Sentence | None:
    """Return the instruction pointer from the register dump, if no line names its function."""
    written = next((value for name, value in report.registers if name == _NIP), None)
    if written is None:
        return NOWHERE.say(report)
    return UNTOLD.say(report, register(report, _NIP, written), raw=written)


def _place(report: CrashReport, ip: InstructionPointer) -> Sentence | None:
    if ip.symbol:
        place = ip.symbol
        if ip.offset is not None:
            place += f"+0x{ip.offset:x}"
            if ip.size is not None:
                place += f"/0x{ip.size:x}"
        home = f"the module {ip.module}" if ip.module else "the kernel itself"
        return AT.say(report, place=place, home=home)
    if ip.address is None:
        return UNTOLD.say(report, raw=" ".join(ip.raw.split()))
    address = f"{ip.address:x}"
    if ip.address < NULL_PAGE:
        return NULL_JUMP.say(report, address=address)
    named = any(frame.symbol for frame in report.call_trace)
    return (NO_CODE if named else UNNAMED).say(report, address=address)


def _code(report: CrashReport, found: Instruction | None) -> Sentence | None:
    """Describe the code at the instruction pointer."""
    if found is not None:
        claim, more, used = _instruction(report, found)
        proof = (register(report, one.name, one.written) for one in used)
        lines = once(lines_of(report.facts_of("code")), *proof)
        return claim.say(report, lines, text=found.text, more=more)
    if report.code and report.ip and report.ip.symbol and (bytes_ := _AT.search(report.code)):
        return UNDECODED.say(report, bytes=bytes_[1])
    if report.code and (_NOT_READ.search(report.code) or "XXXX" in report.code):
        return UNREADABLE.say(report)
    return None


def _instruction(report: CrashReport, found: Instruction) -> tuple[Claim, str, list[Register]]:
    """Describe the instruction, with the registers that it used."""
    trap = _TRAPS.get(found.text.partition(" ")[0])
    if trap:
        return INSTRUCTION, f", {trap}", []
    if report.cause in _INTERRUPTED and report.fault_address is None:
        return INTERRUPTED, "", []
    if found.operand is not None:
        held = f"{found.operand.name} held 0x{found.operand.value:x}"
        divisor = "the divisor " if report.cause == "divide-error" else ""
        return INSTRUCTION, f": {divisor}{held}", [found.operand]
    used = [register for register in (found.base, found.other) if register is not None]
    if report.kind in {"warning", "bug"}:
        return INSTRUCTION, "", []
    if "(%rip)" in found.text:
        return INSTRUCTION, ": it accesses a fixed address, that of a variable", []
    if found.address is None:
        return INSTRUCTION, "", []
    return INSTRUCTION, f": {_went(report, found)}", used


def _went(report: CrashReport, found: Instruction) -> str:
    """Describe the registers of the memory operand, and their values."""
    if (checked := _checked(report, found)) is not None:
        meant, register = checked
        place = machines.find(report.kernel.architecture).locate(meant).words
        return (
            f"a check of KASAN before the access to 0x{meant:x}, which is {place}; "
            f"{register.name} held an eighth of it"
        )
    base, index, away = found.base, found.other, found.displacement
    parts = []
    if base is not None:
        parts.append(f"{base.name} held 0x{base.value:x}")
    if index is not None:
        times = f" (times {found.scale})" if found.scale > 1 else ""
        parts.append(f"{index.name} held 0x{index.value:x}{times}")
    if away and parts:
        parts.append(f"0x{abs(away):x} is {'added' if away > 0 else 'subtracted'}")
    address, fault = found.address, report.fault_address
    if address is None:
        return listed(parts)
    same = fault is not None and 0 <= fault - (address & _untagged(report)) < TOUCHED
    single = len(parts) == 1 and base is not None
    if not parts:
        guess = ", not the one that the kernel guesses" if _guessed(report) else ""
        return f"it accesses the fixed address 0x{address:x}{guess}"
    place = machines.find(report.kernel.architecture).locate(address).words
    if same:
        return f"{listed(parts)}: the faulting address" if not single else f"{parts[0]}, the faulting address"
    if fault is None:
        result = "" if single else f", which makes 0x{address:x}"
        return f"{listed(parts)}{result}, {place}"
    named = "guesses" if _guessed(report) else "names"
    return f"{listed(parts)}, which makes 0x{address:x}; that is not the address that the kernel {named}"


def _guessed(report: CrashReport) -> bool:
    """Tell whether the kernel guesses the address: ``general protection fault, maybe for address 0x…``."""
    return any("maybe" in fact.value.get("likely", "") for fact in report.facts_of("header"))


def _untagged(report: CrashReport) -> int:
    """Return the mask of an address without its tag, which the kernel does not print."""
    fault = report.fault_address
    bits = 64 - machines.find(report.kernel.architecture).ignored_bits
    return (1 << (bits if fault is not None and fault < 1 << bits else 64)) - 1


def _checked(report: CrashReport, found: Instruction) -> tuple[int, Register] | None:
    """Return the address that a KASAN check covers, and the register, if the instruction is such a check."""
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


def _held(report: CrashReport, registers: Registers, fault: int) -> Sentence | None:
    """Name the registers that held the faulting address."""
    held = _holders(registers, fault, report.ip.address if report.ip else None)
    lines = once(*(register(report, one.name, one.written) for one in held[:3]))
    return HELD.say(report, lines, registers=listed(one.name for one in held))


def _holders(registers: Registers, fault: int, ip: int | None) -> list[Register]:
    """Return the registers that hold an address; none for NULL, which too many registers hold."""
    if fault < 8 or fault == ip:  # noqa: PLR2004
        return []
    return [one for one in registers.holding(fault) if not _NO_DATA.fullmatch(one.name.lower())]


_NO_DATA: Final = regex(
    r"dar|dear|cfar|badaddr|badva|nip|e?pc|[cdefgs]s|knlgs|[er]flags|psr|pstate|orig_rax|pkru|[cd]r\d"
)
"""Registers that describe the fault, and do not hold data of the code."""
