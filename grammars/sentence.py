"""Named pyparsing expressions, which are built and compiled on first use.

Matching needs no pyparsing: the patterns are kept in :mod:`kpanic.grammars.compiled`,
which ``python -m kpanic.grammars.regenerate`` writes. A sentence whose source is newer than that, or that
belongs to another distribution, is compiled where it is first used.
"""

from __future__ import annotations

import sys
import zlib
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kpanic.grammars import compiled, precompiled
from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from pyparsing import ParserElement

__all__ = ["MOST_LINES", "Sentence", "Unsought", "checksum"]

MOST_LINES: Final = 1000
"""Maximum lines of a block of repeated lines."""

LANGUAGE: Final = (
    "kpanic.grammars.vocabulary.elements",
    "kpanic.grammars.vocabulary.body",
    "kpanic.grammars.compile",
)
"""Modules that every pattern depends on."""
_NUMBERED: Final = regex(r"__\d+$")
_INDENT: Final = regex(r"(?<=\n) {4}")
"""Indentation of the lines of a function's docstring; further blanks are the kernel's."""


def checksum(module: str) -> int:
    """Return the checksum of a module's source file and of those that every pattern depends on.

    :raises OSError: a source cannot be read.
    """
    return zlib.crc32(_source(module).read_bytes(), _language())


@cache
def _language() -> int:
    found = 0
    for name in LANGUAGE:
        found = zlib.crc32(_source(name).read_bytes(), found)
    return found


def _source(module: str) -> Path:
    """Return the path of a grammar module's source, without importing the module."""
    loaded = sys.modules.get(module)
    if loaded is not None and loaded.__file__:
        return Path(loaded.__file__)
    return Path(__file__).parent.joinpath(*module.split(".")[2:]).with_suffix(".py")


@cache
def _current(module: str) -> bool:
    """Tell whether the kept patterns are those of the module's source; a package without sources is."""
    kept = compiled.CHECKSUMS.get(module)
    try:
        return kept is not None and kept == checksum(module)
    except OSError:
        return True


class Sentence:
    """The text that the kernel prints at one place of its sources.

    :param key: the sentence's name, unique in the whole grammar: ``family.form``.
    :param build: returns the pyparsing expression; its docstring holds examples, a blank line between two.
    """

    def __init__(self, key: str, build: Callable[[], ParserElement]) -> None:
        self.key = key
        self.build = build

    def __repr__(self) -> str:
        """Name the sentence."""
        return f"Sentence({self.key!r})"

    @property
    def module(self) -> str:
        """The module that the sentence is written in."""
        return self.build.__module__

    @property
    def examples(self) -> tuple[str, ...]:
        """The examples of the kernel's text in the docstring of ``build``."""
        quoted = _INDENT.sub("", self.build.__doc__ or "").rstrip()
        return tuple(quoted.split("\n\n")) if quoted else ()

    @cached_property
    def expression(self) -> ParserElement:
        """The pyparsing expression. White space counts, and tabs stay tabs."""
        return self.build().leave_whitespace().parse_with_tabs().set_name(self.key.rpartition(".")[2])

    @cached_property
    def _kept(self) -> tuple[str, tuple[str, ...]] | None:
        return compiled.SENTENCES.get(self.key) if _current(self.module) else None

    @cached_property
    def pattern(self) -> str:
        """The regular expression that the expression compiles to.

        :raises GrammarError: the expression cannot be compiled.
        """
        if self._kept:
            return self._kept[0]
        from kpanic.grammars.compile import pattern  # noqa: PLC0415 - imports pyparsing

        return pattern(self.expression)

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """Texts of which one begins each match.

        :raises GrammarError: the expression can begin with anything.
        """
        if self._kept:
            return self._kept[1]
        from kpanic.grammars.compile import literals  # noqa: PLC0415 - imports pyparsing

        return literals(self.expression)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The pattern, compiled by :mod:`re`."""
        return precompiled.compile(self.pattern)

    @cached_property
    def _numbered(self) -> bool:
        return any(map(_NUMBERED.search, self.regex.groupindex))

    def match(self, text: str, at: int = 0) -> tuple[int, dict[str, str]] | None:
        """Match the text from ``at`` on.

        :returns: the end of the match, and its fields without empty ones; None if it does not match.
        """
        found = self.regex.match(text, at)
        if found is None:
            return None
        fields = {name: value for name, value in found.groupdict().items() if value}
        if self._numbered:
            fields = {_NUMBERED.sub("", name): value for name, value in fields.items()}
        return found.end(), fields

    def parse(self, text: str, at: int = 0) -> tuple[int, dict[str, str]] | None:
        """Match with pyparsing: the reference of :meth:`match`, and some hundred times slower."""
        from pyparsing import ParseException  # noqa: PLC0415 - not needed at run time

        try:
            end, tokens = self.expression._parse(text, at)  # noqa: SLF001 - parse_string returns no end
        except ParseException:
            return None
        return end, tokens.as_dict()


class Unsought(Sentence):
    """A sentence that is not searched for by its beginning, which may be any text."""

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """Texts of which one begins each match; none if it can begin with anything."""
        if self._kept:
            return self._kept[1]
        from kpanic.grammars.compile import beginnings  # noqa: PLC0415 - imports pyparsing

        return beginnings(self.expression)
