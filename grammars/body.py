"""The body of a report: its blocks, found by their beginnings.

A plain ``MatchFirst`` would try every block on every line. :class:`BlockSwitch` looks up the block first,
with a single regular expression for the beginnings of all blocks, and skips all other lines at the cost of a
search.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from kpanic.grammars import machines
from kpanic.grammars.blocks import (
    backtrace,
    code,
    end,
    hardware,
    ksymoops,
    modules,
    oops,
    owner,
    pointer,
    remarks,
)
from kpanic.grammars.fact import Fact
from kpanic.grammars.lazy import regex
from kpanic.grammars.tree import tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.grammars.blocks import Block
    from kpanic.grammars.report_lines import ReportText

__all__ = ["Body", "blocks", "read", "switch"]

COMMON: Final[tuple[Block, ...]] = (
    *owner.BLOCKS,
    *hardware.BLOCKS,
    *pointer.BLOCKS,
    *modules.BLOCKS,
    *code.BLOCKS,
    *oops.BLOCKS,
    *end.BLOCKS,
    *remarks.BLOCKS,
    *ksymoops.BLOCKS,
    *backtrace.BLOCKS,
)
"""Blocks that all machines have in common."""


SHORTEST: Final = 2
"""Minimum characters of a beginning that is searched for as a literal."""


class BlockSwitch:
    """Finds blocks by the beginning of their lines.

    :param blocks: in the order in which they are tried on one line.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        blocks = tuple(blocks)
        self._others = others = [one for one in blocks if min(map(len, one.literals), default=0) < SHORTEST]
        self._literal = [one for one in blocks if one not in others]
        literals = {text for one in self._literal for text in one.literals}
        self._by_first = _by_first(sorted(literals, key=lambda one: (-len(one), one)))
        self._by_literal: dict[str, list[Block]] = {}
        # a block with repeated lines begins with one of them
        unnamed = [re.sub(r"\(\?P<\w+>", "(?:", (one.each or one).pattern) for one in others]
        # a newline is found much faster than ``^``
        self._begin = regex(f"\n(?:({tree(self._by_first)})" + "".join(f"|({one})" for one in unnamed) + ")")

    def read(self, text: str, at: int) -> tuple[int, int, str, Any] | None:
        """Search for the next line that begins a block, by the newline before it.

        :returns: the offset of that newline, the end, the kind and the value of the block; None without one.
        """
        search = self._begin.search
        while found := search(text, at):
            at = found.start()
            for one in self._tried(found, text):
                if element := one.read(text, at + 1):
                    end, value = element
                    return at, end, one.kind, value
            at += 1
        return None

    def _tried(self, found: re.Match[str], text: str) -> Sequence[Block]:
        """Return the blocks that can begin at an offset."""
        first = found[1]
        if not first:
            return (self._others[(found.lastindex or 0) - 2],)
        at = found.start(1)
        for literal in self._by_first[first]:
            if text.startswith(literal, at):
                break
        else:
            literal = ""
        tried = self._by_literal.get(literal)
        if tried is None:
            tried = [one for one in self._literal if literal.startswith(one.literals)]
            part = not literal or literal[-1].isalnum() or literal[-1] == "<"
            tried += self._others if part else []  # it may be a part of their beginning
            self._by_literal[literal] = tried
        return tried


def _by_first(literals: Iterable[str]) -> dict[str, list[str]]:
    """Group literals that begin with the same characters, by their common beginning.

    Compiling a pattern of all literals takes three times as long as one of the common beginnings.
    """
    by_first: dict[str, list[str]] = {}
    for literal in literals:
        blanks = len(literal) - len(literal.lstrip())
        by_first.setdefault(literal[: blanks + SHORTEST], []).append(literal)
    return {os.path.commonprefix(alike): alike for alike in by_first.values()}  # noqa: RUF071 - no paths


def blocks() -> tuple[Block, ...]:
    """Return the blocks of all installed machines, in the order in which they are tried."""
    own = [one for machine in machines.installed() for one in machine.blocks]
    return tuple(dict.fromkeys((*COMMON, *own, *backtrace.FRAMES)))


@lru_cache(maxsize=1)
def switch() -> BlockSwitch:
    """Return the switch of all installed blocks."""
    return BlockSwitch(blocks())


class Body:
    """The facts of a report, read lazily."""

    __slots__ = ("_at", "_ended", "_facts", "_report", "_switch", "_text")

    def __init__(self, report: ReportText) -> None:
        """Read nothing yet."""
        self._facts: list[Fact] = []
        self._report = report
        self._text = "\n" + report.text
        self._at = 0
        self._ended = False
        self._switch = switch()

    def __iter__(self) -> Iterator[Fact]:
        """Yield the facts in order."""
        return iter(self._facts) if self._ended else self.after(-1)

    def after(self, number: int) -> Iterator[Fact]:
        """Yield the facts after fact ``number``."""
        facts = self._facts
        while True:
            number += 1
            if number == len(facts):
                found = None if self._ended else self._switch.read(self._text, self._at)
                if found is None:
                    self._ended = True
                    return
                at, end, kind, value = found
                self._at = end = max(end - 1, at + 1)  # it may include the newline before the next line
                place, last = self._report.span(at, end)
                facts.append(Fact(kind, value, tuple(self._report.lines[place : last + 1]), place))
            yield facts[number]


def read(report: ReportText) -> Body:
    """Return the facts of a report, in the order of its lines."""
    return Body(report)
