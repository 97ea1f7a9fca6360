"""A fact: a value that the grammar read, with the lines that it comes from.

Later steps consume facts and never search the text again. So every answer, and every sentence of the reading,
can name its lines.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.model import Line

__all__ = ["Fact", "lines_of", "once"]

_NUMBER: Final = attrgetter("number")


class Fact(Struct, frozen=True):
    """A statement of a report or its boot."""

    kind: str
    """``owner``, ``pointer``, ``frames``, … of a report (:mod:`kpanic.grammars.blocks`,
    :mod:`kpanic.grammars.machines`); ``banner``, ``trigger``, … of a boot (:mod:`kpanic.grammars.boot`)."""
    value: Any
    """The fact's value, whose type depends on the kind."""
    lines: tuple[Line, ...]
    """The lines that state the fact, in order."""
    place: int = 0
    """Index of the first of them among the report's lines."""


def lines_of(facts: Iterable[Fact]) -> tuple[Line, ...]:
    """Return the lines of some facts."""
    return tuple([line for fact in facts for line in fact.lines])


def once(*groups: Iterable[Line]) -> tuple[Line, ...]:
    """Return the lines of several groups without duplicates, in the order of the file."""
    if len(groups) == 1 and isinstance(groups[0], tuple) and len(groups[0]) <= 1:
        return groups[0]
    lines = {id(line): line for group in groups for line in group}
    return tuple(sorted(lines.values(), key=_NUMBER) if len(lines) > 1 else lines.values())
