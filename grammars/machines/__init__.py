"""One file per architecture: registers, instruction pointer, fault address, error code in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kpanic.grammars.element import Element
    from kpanic.grammars.model import InstructionPointer


UNTITLED: Final = frozenset({"riscv64"})
"""Machines whose trace may follow the registers without a line of its own."""


class Rule(NamedTuple):
    """A line that a report may hold: what it starts with, and its grammar."""

    name: str
    lead: str
    """A regular expression without groups for the start of the line."""
    grammar: Element


@dataclass(frozen=True, slots=True)
class Machine:
    """What is particular to an architecture."""

    name: str
    """``uname -m``."""
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Pointer:
    """An instruction pointer line."""

    ip: InstructionPointer
    user: bool = False
    """The CPU was in user mode: not the crash site."""
    caller: str = ""
    """The function in the link register, where the line has one."""
    machine: str = ""
    """``uname -m`` of the machines that write it so."""


@dataclass(frozen=True, slots=True)
class Jump:
    """Where the CPU last jumped from, on machines that remember it apart from the link register."""

    caller: str


class Registers:
    """Lines of registers; taken apart when somebody asks."""

    __slots__ = ("_read", "_text")

    def __init__(self, text: str, read: Callable[[str], Iterable[tuple[str, str]]]) -> None:
        """Keep the lines and how to read them."""
        self._text = text
        self._read = read

    def __eq__(self, other: object) -> bool:
        """Compare the lines, and who reads them."""
        return isinstance(other, Registers) and (self._text, self._read) == (other._text, other._read)

    def __hash__(self) -> int:
        """Hash the lines."""
        return hash(self._text)

    @property
    def values(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each register, in order."""
        return tuple(self._read(self._text))
