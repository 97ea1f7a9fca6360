"""The installed families, found through an entry point group: built-in and of other distributions.

``[project.entry-points."kpanic.families"]`` names a :class:`kpanic.grammars.family.Family`, or a module that
contains some.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic import plugins
from kpanic.grammars.family import Family, Form
from kpanic.grammars.lazy import regex
from kpanic.grammars.scan.literals import Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP: Final = "kpanic.families"


class Reading(Struct, frozen=True):
    """A header that matches a form of a family."""

    form: Form
    fields: dict[str, str]
    end: int
    """Offset of the header's end."""


class Registry:
    """The families, with the literals of their headers.

    :param families: in the order in which they are tried.
    """

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = tuple(families)
        self._ignore = {family.name: regex(family.ignore) for family in self.families if family.ignore}
        self._ignore_after = {
            family.name: regex(family.ignore_after) for family in self.families if family.ignore_after
        }
        places = [
            (literal, beginnings, family)
            for family in self.families
            if family.scanned
            for literal, beginnings in _places(family).items()
        ]
        self.literals: tuple[tuple[str, Family], ...] = tuple(
            (literal, family) for literal, _, family in places
        )
        """The literals of the scan, each with its family; the index is the literal's number in the scan."""
        self._words = tuple(Literal(literal).starts_word for literal, _, _ in places)
        self._beginnings = tuple(beginnings for _, beginnings, _ in places)

    def place(self, number: int, line: str) -> int:
        """Return the offset of the header with literal ``number`` in the line; -1 if there is none."""
        places = [line.find(beginning) for beginning in self._beginnings[number]]
        place = min([place for place in places if place >= 0], default=-1)
        return -1 if place > 0 and self._words[number] and line[place - 1].isalnum() else place

    def ignores(self, family: Family, line: str, previous: str | None = None) -> bool:
        """Tell whether a line with a literal of the family is no crash."""
        pattern = self._ignore.get(family.name)
        if pattern is not None and pattern.search(line) is not None:
            return True
        after = self._ignore_after.get(family.name)
        return after is not None and previous is not None and after.search(previous) is not None

    def ignores_after(self, previous: str) -> bool:
        """Tell whether a family ignores the line after this one."""
        return any(after.search(previous) for after in self._ignore_after.values())

    def read(self, family: Family, text: str) -> Reading | None:
        """Read the header at the start of ``text``; None if no form of the family matches."""
        for form in family.forms:
            literals = form.sentence.literals
            if (not literals or text.startswith(literals)) and (found := form.sentence.match(text)):
                return Reading(form, found[1], found[0])
        return None


def _places(family: Family) -> dict[str, tuple[str, ...]]:
    """Return the literals of a family, without those that begin with another one."""
    places: dict[str, tuple[str, ...]] = {}
    for form in family.forms:
        places.update(form.places)
    kept: dict[str, tuple[str, ...]] = {}
    for literal in sorted(places, key=len):
        if not any(literal.startswith(one) for one in kept):
            kept[literal] = places[literal]
    return {literal: kept[literal] for literal in places if literal in kept}


@functools.lru_cache(maxsize=1)
def default() -> Registry:
    """Return the families that are installed."""
    return Registry(tuple({family.name: family for family in plugins.installed(GROUP, Family)}.values()))
