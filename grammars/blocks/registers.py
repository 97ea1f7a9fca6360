"""Rows of registers: machines differ in the names and the format, not in how the rows are read."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kpanic.grammars.sentence import Sentence

__all__ = ["Registers", "named", "registers"]


class Registers:
    """Lines with registers, which are parsed on demand.

    :param text: the lines.
    :param read: yields the name and the value of each register of the lines.
    :param machine: ``uname -m`` of the only machine that prints such lines; empty if several do.
    """

    def __init__(self, text: str, read: Callable[[str], Iterable[tuple[str, str]]], machine: str) -> None:
        self._text = text
        self._read = read
        self.machine = machine

    def __eq__(self, other: object) -> bool:
        """Compare the lines and their readers."""
        return isinstance(other, Registers) and (self._text, self._read) == (other._text, other._read)

    def __hash__(self) -> int:
        """Hash the lines."""
        return hash(self._text)

    @cached_property
    def values(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each register, in order."""
        return tuple(self._read(self._text))

    def place(self, number: int) -> int:
        """Return the index of the line with register ``number``, an index into :attr:`values`."""
        lines = self._text.splitlines(keepends=True)
        for place in range(len(lines)):
            if len(tuple(self._read("".join(lines[: place + 1])))) > number:
                return place
        return len(lines) - 1


def named(register: Sentence) -> Callable[[str], Iterator[tuple[str, str]]]:
    """Return a function that yields the registers of a text; ``register`` has the fields name and value."""

    def read(text: str) -> Iterator[tuple[str, str]]:
        for found in register.regex.finditer(text):
            yield found["name"], found["value"]

    return read


def registers(
    read: Callable[[str], Iterable[tuple[str, str]]], machine: str | Mapping[int, str] = ""
) -> Callable[[Mapping[str, str]], Registers]:
    """Return the meaning of a block whose field ``lines`` contains registers.

    :param read: yields the name and the value of each register of the lines.
    :param machine: ``uname -m`` of the machine that prints them; or a mapping from the length of the field
        ``digits`` to it.
    """

    def meaning(fields: Mapping[str, str]) -> Registers:
        if isinstance(machine, str):
            return Registers(fields["lines"], read, machine)
        return Registers(fields["lines"], read, machine.get(len(fields.get("digits", "")), ""))

    return meaning
