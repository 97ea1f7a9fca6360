"""How a machine's instructions are decoded: capstone's names, and how the ``Code:`` line has the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kpanic.grammars.model import CrashReport

__all__ = ["Disassembler"]


def _marked(_tokens: Sequence[str], at: int, _report: CrashReport) -> int:
    return at


def _same(name: str) -> str:
    return name


class Disassembler(Struct, frozen=True, kw_only=True):
    """Settings of the disassembler."""

    architecture: str
    """capstone's, ``X86`` of ``CS_ARCH_X86``."""
    modes: tuple[str, ...]
    """capstone's, ``64`` of ``CS_MODE_64``."""
    order: Literal["bytes", "little", "big"] = "bytes"
    """Byte order of the dump's numbers in memory; bytes are in memory order already."""
    shown: Literal["bytes", "digits", "number"] = "digits"
    """An instruction is shown byte by byte, as digits in the order of its bytes, or as a number."""
    pairs: bool = False
    """Whether capstone returns an operand ``8(a5)`` of a compressed instruction in one piece."""
    trapped: Callable[[Sequence[str], int, CrashReport], int] = _marked
    """Returns the index of the trapping word, from the words of the dump and the index of the marked one."""
    register: Callable[[str], str] = _same
    """Returns the dump's name of a register, in lower case, from capstone's; empty for other operands."""
    halves: Mapping[str, str] = field(default_factory=dict)
    """Registers that are the lower 32 bits of others."""
    compressed: Disassembler | None = None
    """Capstone's settings for an instruction that is marked as two bytes."""
    call: str = ""
    """Beginning of a call's mnemonic, on a machine whose relative branches capstone groups as jumps."""
    trap: bytes = b""
    """The instruction of BUG(): most of all that traps, and no reason to load a disassembler."""
    trap_name: str = ""
    """Its mnemonic."""
    operand: tuple[str, ...] = ()
    """Beginnings of instructions whose only operand decides the result: a divisor, a target."""
