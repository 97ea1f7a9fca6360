"""The parts of a report below its header: owner, hardware, registers, code, backtrace, modules, end.

Each part is a :class:`Block`: the sentence that the kernel prints, and the meaning of its fields. Blocks of
several machines are in the modules of this package; blocks of one machine are in
:mod:`kpanic.grammars.machines`. A block with repeated items, such as a backtrace with its frames, matches the
text of all items; the item is a separate sentence, with which the value of the block is read on demand.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from kpanic.grammars.sentence import MOST_LINES, Sentence, Unsought

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyparsing import ParserElement

__all__ = ["Block", "Rows", "block", "rows", "sentence"]


class Block(Unsought):
    """Lines of a report that one sentence describes; it begins at the start of a line.

    :param key: ``module.block``.
    :param build: returns the pyparsing expression; its docstring holds examples.
    :param kind: kind of the block's fact: ``owner``, ``pointer``, ``frames``, …
    :param meaning: returns the value of the block; called with the fields of a match that are not empty.
    :param each: the sentence that repeats in the block.
    """

    def __init__(
        self,
        key: str,
        build: Callable[[], ParserElement],
        kind: str,
        meaning: Callable[[Mapping[str, str]], Any],
        each: Sentence | None = None,
    ) -> None:
        super().__init__(key, build)
        self.kind = kind
        self.meaning = meaning
        self.each = each

    @property
    def examples(self) -> tuple[str, ...]:
        """The examples in the docstring, with the indentation that the docstring cannot have."""
        blanks = min((len(text) - len(text.lstrip()) for text in self.literals), default=0)
        return tuple(textwrap.indent(example, " " * blanks) for example in super().examples)

    @property
    def sentences(self) -> Iterator[Sentence]:
        """The block's sentence and, if it has one, the sentence of its items."""
        yield self
        if self.each is not None:
            yield self.each

    def read(self, text: str, at: int) -> tuple[int, Any] | None:
        """Return the end of the match that begins ``at`` an offset, and its value; None without a match."""
        found = self.match(text, at)
        return None if found is None else (found[0], self.meaning(found[1]))


class Rows(Block):
    """Lines that each match one sentence, and nothing else.

    They are matched one by one, so that the fields of a line need no second match.

    :param each: the sentence.
    :param meaning: makes the value of the block from its text and the lines' matches.
    """

    each: Sentence

    def __init__(
        self,
        key: str,
        build: Callable[[], ParserElement],
        kind: str,
        meaning: Callable[[str, Sequence[re.Match[str]]], Any],
        each: Sentence,
    ) -> None:
        super().__init__(key, build, kind, lambda fields: meaning(fields["lines"], ()), each)
        self._of_matches = meaning

    def match(self, text: str, at: int = 0) -> tuple[int, dict[str, str]] | None:
        """Match the lines from ``at`` on, as the pattern of all of them does."""
        found = self._matched(text, at)
        return None if found is None else (found[0], {"lines": text[at : found[0]]})

    def read(self, text: str, at: int) -> tuple[int, Any] | None:
        """Return the end of the lines that begin ``at`` an offset, and their value; None without any."""
        found = self._matched(text, at)
        return None if found is None else (found[0], self._of_matches(text[at : found[0]], found[1]))

    def _matched(self, text: str, at: int) -> tuple[int, list[re.Match[str]]] | None:
        """Return the end of the lines that begin ``at`` an offset, and their matches."""
        match = self.each.regex.match
        matches: list[re.Match[str]] = []
        while (one := match(text, at)) and text.startswith("\n", one.end()) and len(matches) < MOST_LINES:
            matches.append(one)
            at = one.end() + 1
        return (at, matches) if matches else None


def block(
    kind: str, meaning: Callable[[Mapping[str, str]], Any], *, each: Sentence | None = None
) -> Callable[[Callable[[], ParserElement]], Block]:
    """Make a block of the decorated function, which returns the expression."""

    def make(build: Callable[[], ParserElement]) -> Block:
        return Block(_key(build), build, kind, meaning, each)

    return make


def rows(
    kind: str, meaning: Callable[[str, Sequence[re.Match[str]]], Any], *, each: Sentence
) -> Callable[[Callable[[], ParserElement]], Rows]:
    """Make a block of lines from the decorated function, which returns ``Lines`` of ``each``."""

    def make(build: Callable[[], ParserElement]) -> Rows:
        return Rows(_key(build), build, kind, meaning, each)

    return make


def sentence(build: Callable[[], ParserElement]) -> Sentence:
    """Make the repeated sentence of a block from the decorated function."""
    return Sentence(_key(build), build)


def _key(build: Callable[[], ParserElement]) -> str:
    return f"{build.__module__.rpartition('.')[2]}.{build.__name__}"
