"""Which families there are: the built-in ones and a site's own, all found through one entry point group.

``[project.entry-points."kpanic.families"]`` names a
:class:`kpanic.grammars.family.Family`, or a module that holds some.
"""

from __future__ import annotations

import functools
import re
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

import pyparsing as pp

from kpanic.grammars.family import Family, Form

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GROUP: Final = "kpanic.families"


class Reading(NamedTuple):
    """What a family's grammar made of a header."""

    form: Form
    fields: dict[str, str]


def _remember(form: Form) -> pp.ParserElement:
    """Return the form's grammar, which yields the form and its fields.

    The action takes all three arguments: how many it takes pyparsing would else find out by calling it, which
    goes wrong when two threads do.
    """

    def read(_text: str, _at: int, tokens: pp.ParseResults) -> Reading:
        fields: dict[str, str] = {}
        for match in tokens:
            if isinstance(match, re.Match):
                fields.update({name: value for name, value in match.groupdict().items() if value is not None})
        return Reading(form, fields)

    return form.grammar.copy().add_parse_action(read)


class Registry:
    """Families, ready to be looked for and read."""

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = tuple(families)
        self._grammars: dict[str, pp.ParserElement] = {}
        self._ignore = {family.name: re.compile(family.ignore) for family in self.families if family.ignore}
        self.literals: tuple[tuple[str, Family], ...] = tuple(
            (literal, family) for family in self.families for literal in family.literals
        )
        """Every literal with its family; its place here is its number in the scan."""

    def ignores(self, family: Family, line: str, previous: str | None = None) -> bool:
        """Tell whether a line that holds a literal of the family is no crash all the same."""
        pattern = self._ignore.get(family.name)
        if pattern is not None and pattern.search(line) is not None:
            return True
        return bool(family.ignore_after and previous is not None and re.search(family.ignore_after, previous))

    def grammar(self, family: Family) -> pp.ParserElement:
        """Return the family's grammar: its forms in their order."""
        found = self._grammars.get(family.name)
        if found is None:
            found = (
                pp.MatchFirst([_remember(form) for form in family.forms]).leave_whitespace().parse_with_tabs()
            )
            self._grammars[family.name] = found
        return found

    def read(self, family: Family, text: str) -> Reading | None:
        """Read a header; ``text`` starts at the literal. None where no form of the family matches."""
        try:
            reading: Reading = self.grammar(family).parse_string(text)[0]
        except pp.ParseException:
            return None
        return reading


def _families() -> Iterator[Family]:
    """Load what is registered, in the order of the names."""
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        found = entry.load()
        if isinstance(found, ModuleType):
            yield from (value for value in vars(found).values() if isinstance(value, Family))
        elif isinstance(found, Family):
            yield found
        else:
            raise TypeError(
                f"entry point {entry.name!r} of {GROUP} is neither a Family nor a module with some"
            )


@functools.lru_cache(maxsize=1)
def default() -> Registry:
    """Return the families that are installed."""
    return Registry(tuple({family.name: family for family in _families()}.values()))
