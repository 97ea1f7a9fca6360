"""One file per architecture: registers, instruction pointer, fault address, error code in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyparsing as pp

    from grammars.model import InstructionPointer


class Rule(NamedTuple):
    """A line that a report may hold: what it starts with, and its grammar."""

    name: str
    lead: str
    """A regular expression without groups for the start of the line."""
    grammar: pp.ParserElement


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
class Registers:
    """A line of registers."""

    values: tuple[tuple[str, str], ...] = field(default=())
