"""A fact: something that the grammar read in a report, with the lines that say it.

Whatever works on a report further consumes facts and never searches its text: so every answer, and every
sentence of the reading, can name its lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

__all__ = ["Fact"]


class Fact(NamedTuple):
    """Something that a report says."""

    kind: str
    """``owner``, ``pointer``, ``frames``, … : :data:`kpanic.grammars.body.KINDS`."""
    value: Any
    """What it says: its type goes with the kind."""
    lines: tuple[Line, ...]
    """The lines that say it, in order."""
    place: int = 0
    """Index of the first of them among the report's lines."""
