"""The body of a report: a pyparsing grammar whose alternatives are chosen by the start of the line.

A plain ``MatchFirst`` would try every alternative on every line. :class:`LineSwitch` is one that looks up the
alternative first, with a single regular expression over the starts of all of them, and passes over the
lines that
none of them begins: their cost is that of a search, not that of a grammar.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pyparsing as pp

from grammars import header, trace
from grammars.machines import Rule
from grammars.machines.arm import ARM
from grammars.machines.others import POWERPC, RISCV, S390
from grammars.machines.x86 import X86

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Item(NamedTuple):
    """Something that the grammar read, and where."""

    location: int
    value: Any


class LineSwitch(pp.MatchFirst):
    """The alternatives of a line, chosen by what the line starts with."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Compile the starts of all alternatives into one regular expression."""
        rules = tuple(rules)
        super().__init__([rule.grammar for rule in rules])
        self._lead = re.compile(
            "^(?:" + "|".join(f"(?P<{rule.name}>{rule.lead})" for rule in rules) + ")", re.MULTILINE
        )
        self._by_name = {rule.name: rule.grammar for rule in rules}
        self.leave_whitespace()

    def parseImpl(self, instring: str, loc: int, do_actions: bool = True) -> tuple[int, Any]:  # noqa: FBT001,FBT002,N802 - pyparsing's own
        """Read the next line that an alternative understands."""
        while found := self._lead.search(instring, loc):
            loc = found.start()
            element = self._by_name[found.lastgroup or ""]
            try:
                end, tokens = element._parse(instring, loc, do_actions)  # noqa: SLF001 - how pyparsing's own expressions call each other
            except pp.ParseException:
                loc = instring.find("\n", loc) + 1
                if not loc:
                    break
                continue
            return end, pp.ParseResults([Item(loc, tokens[0])])
        return len(instring), pp.ParseResults([])


RULES: tuple[Rule, ...] = (
    Rule("opening", trace.OPENING_LEAD, trace.opening),
    *header.RULES,
    *(rule for machine in (X86, ARM, POWERPC, S390, RISCV) for rule in machine.rules),
    Rule("frames", trace.FRAMES_LEAD, trace.frames),
)
line = LineSwitch(RULES).parse_with_tabs().set_name("line")


class Body:
    """The items of a report, read as far as somebody asks."""

    __slots__ = ("_items", "_source")

    def __init__(self, text: str) -> None:
        """Read nothing yet."""
        self._items: list[Item] = []
        self._source = line.scan_string(text, always_skip_whitespace=False)

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order."""
        return self.after(-1)

    def after(self, number: int) -> Iterator[Item]:
        """Yield the items behind item ``number``."""
        items = self._items
        while True:
            number += 1
            if number == len(items):
                found = next(self._source, None)
                if found is None or not found[0]:
                    return
                items.append(found[0][0])
            yield items[number]


def read(text: str) -> Body:
    """Read the lines of a report that anything is known about, in order."""
    return Body(text)
