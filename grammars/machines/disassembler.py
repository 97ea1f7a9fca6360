"""Settings for decoding a machine's instructions: capstone's names, and the format of the ``Code:`` line."""

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
    """Settings of capstone, and the format of the ``Code:`` line, for a machine."""

    architecture: str
    """capstone's architecture: ``X86`` for ``CS_ARCH_X86``."""
    modes: tuple[str, ...]
    """capstone's modes: ``64`` for ``CS_MODE_64``."""
    order: Literal["bytes", "little", "big"] = "bytes"
    """Byte order in memory of the numbers in the dump; ``bytes`` if the dump shows bytes in memory order."""
    shown: Literal["bytes", "digits", "number"] = "digits"
    """Format of an instruction in the explanation: byte by byte, digits in memory order, or a number."""
    pairs: bool = False
    """Whether capstone returns ``8(a5)`` in a compressed instruction as one operand."""
    trapped: Callable[[Sequence[str], int, CrashReport], int] = _marked
    """Returns the index of the trapping word; called with the words of the dump, the index of the marked
    word, and the report."""
    register: Callable[[str], str] = _same
    """Returns the dump's name of a register, in lower case, for capstone's; empty for other operands."""
    halves: Mapping[str, str] = field(default_factory=dict)
    """Registers that are the lower 32 bits of others."""
    compressed: Disassembler | None = None
    """Settings for a marked instruction of two bytes."""
    call: str = ""
    """Beginning of the mnemonics of calls, where capstone groups relative branches as jumps."""
    trap: bytes = b""
    """The instruction of BUG(), the most frequent trap; it is recognised without loading capstone."""
    trap_name: str = ""
    """The mnemonic of ``trap``."""
    operand: tuple[str, ...] = ()
    """Beginnings of instructions with one significant operand: a divisor, a target."""
