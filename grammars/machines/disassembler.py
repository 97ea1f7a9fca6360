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
    """The dump has bytes as they lie in memory, or numbers, which lie there in this order."""
    shown: Literal["bytes", "digits", "number"] = "digits"
    """An instruction is shown byte by byte, as digits in the order of its bytes, or as a number."""
    pairs: bool = False
    """capstone leaves an operand ``8(a5)`` of a compressed instruction in one piece."""
    trapped: Callable[[Sequence[str], int, CrashReport], int] = _marked
    """From the words of the dump and the index of the marked one: the index of the one that trapped."""
    register: Callable[[str], str] = _same
    """From capstone's name of a register: the dump's, in lower case; empty for what is no register."""
    halves: Mapping[str, str] = field(default_factory=dict)
    """Registers that are the lower 32 bits of others."""
    compressed: Disassembler | None = None
    """Settings for an instruction that is marked as two bytes."""
    call: str = ""
    """How a call's mnemonic begins, on a machine whose relative branches capstone groups as jumps."""
    trap: bytes = b""
    """The instruction of BUG(): most of all that traps, and no reason to load a disassembler."""
    trap_name: str = ""
    """Its mnemonic."""
    operand: tuple[str, ...] = ()
    """How instructions begin whose only operand decides what they do: a divisor, a place to go to."""
