"""The body of a report: a pyparsing grammar whose alternatives are chosen by the start of the line.

A plain ``MatchFirst`` would try every alternative on every line. :class:`LineSwitch` is one that looks up the
alternative first, with a single regular expression over the starts of all of them, and passes over the
lines that none of them begins: their cost is that of a search, not that of a grammar.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pyparsing as pp

from kpanic.grammars import header, remarks, trace
from kpanic.grammars.fact import Fact
from kpanic.grammars.machines import Jump, Pointer, Registers, Rule
from kpanic.grammars.machines.arm import ARM
from kpanic.grammars.machines.others import MIPS, POWERPC, RISCV, S390
from kpanic.grammars.machines.x86 import X86
from kpanic.grammars.model import Hardware, Oops

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.grammars.report_lines import ReportText

KINDS: Final[dict[type, str]] = {
    header.Owner: "owner",
    Hardware: "hardware",
    Pointer: "pointer",
    Jump: "jump",
    Registers: "registers",
    header.Code: "code",
    header.Modules: "modules",
    header.Task: "task",
    Oops: "oops",
    trace.Opening: "opening",
    trace.Trace: "frames",
}
"""Types of values, and the kinds of the facts that have them."""


def _kind(value: object) -> str:
    """Return the kind of the fact that has a value."""
    if isinstance(value, remarks.Remark):
        return value.kind
    return value.what if isinstance(value, header.Note) else KINDS[type(value)]


class LineSwitch(pp.MatchFirst):
    """The alternatives of a line, chosen by what the line starts with."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Compile the starts of all alternatives into one regular expression."""
        rules = tuple(rules)
        super().__init__([rule.grammar for rule in rules])
        # by the newline before it a line is found much faster than by ``^``
        self._lead = re.compile("\n(?:" + "|".join(f"(?P<{rule.name}>{rule.lead})" for rule in rules) + ")")
        self._by_name = {rule.name: rule.grammar for rule in rules}
        self.leave_whitespace().parse_with_tabs().set_name("line")

    def read(self, text: str, at: int) -> tuple[int, int, Any] | None:
        """Look for the next line, behind a newline, that an alternative understands.

        Return where that newline is, where what the alternative understands ends, and what it says.
        """
        while found := self._lead.search(text, at):
            at = found.start()
            if element := self._by_name[found.lastgroup or ""].read(text, at + 1):
                return at, *element
            at += 1
        return None

    def parseImpl(self, instring: str, loc: int, do_actions: bool = True) -> tuple[int, Any]:  # noqa: ARG002,FBT001,FBT002,N802 - pyparsing's own
        """Read for pyparsing."""
        found = self.read("\n" + instring, loc)
        if found is None:
            raise pp.ParseException(instring, loc, self.errmsg, self)
        _, end, value = found
        return end - 1, pp.ParseResults([value])


RULES: tuple[Rule, ...] = (
    Rule("opening", trace.OPENING_LEAD, trace.opening),
    *header.RULES,
    *(rule for machine in (X86, ARM, POWERPC, S390, RISCV, MIPS) for rule in machine.rules),
    *remarks.RULES,
    Rule("frames", trace.FRAMES_LEAD, trace.frames),
)
line = LineSwitch(RULES)


class Body:
    """The facts of a report, read as far as somebody asks."""

    __slots__ = ("_at", "_facts", "_report", "_text")

    def __init__(self, report: ReportText) -> None:
        """Read nothing yet."""
        self._facts: list[Fact] = []
        self._report = report
        self._text = "\n" + report.text
        self._at = 0

    def __iter__(self) -> Iterator[Fact]:
        """Yield the facts in order."""
        return self.after(-1)

    def after(self, number: int) -> Iterator[Fact]:
        """Yield the facts behind fact ``number``."""
        facts = self._facts
        while True:
            number += 1
            if number == len(facts):
                found = line.read(self._text, self._at)
                if found is None:
                    return
                at, end, value = found
                self._at = max(end - 1, at + 1)  # it may have ended with the newline before the next line
                place, last = self._report.index(at), self._report.index(max(end - 2, at))
                facts.append(Fact(_kind(value), value, tuple(self._report.lines[place : last + 1]), place))
            yield facts[number]


def read(report: ReportText) -> Body:
    """Read the lines of a report that anything is known about, in order."""
    return Body(report)
