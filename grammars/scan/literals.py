"""The literals that the scan searches for in one pass.

Lines without a literal, and outside all windows, are not read.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import faults
from kpanic.grammars import transport as transport_
from kpanic.grammars.scan import matcher as matcher_

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.grammars.scan.matcher import Matcher
    from kpanic.grammars.transport import Encoded, Transports

__all__ = ["SINGLE", "TOLD", "WINDOW", "Hit", "Literal", "Search"]

_WORD: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
SENTENCE: Final = 3
"""Minimum words of a literal that is found inside a word too."""
WINDOW, SINGLE, TOLD = range(3)
"""Kinds of literals: those that request further lines, those that request only their own line, and those of
transports (:attr:`Transport.tells`)."""

Hit = tuple[int, int]
"""The offset of a literal's end, and the literal's number."""


class Literal(Struct, frozen=True):
    """A text whose line is read, with the lines around it."""

    text: str
    """The text, in ASCII, as the kernel prints it."""
    after: int = 0
    """Number of lines of the same host to read after it."""
    before: int = 0
    """Number of lines of the same host to read before it."""
    boot: bool = False
    """Whether it begins a boot, which makes earlier single lines of the same host obsolete."""
    record: bool = False
    """Whether it begins a record of a transport with another order of lines (:attr:`Transport.marks`)."""

    @property
    def starts_word(self) -> bool:
        """Whether the text is found only at the beginning of a word, because it is short.

        A longer text is found inside a word too, where a console joined the lines of two CPUs:
        ``user memory accessgeneral protection fault: 0000``.
        """
        return self.text[:1].isalnum() and len(self.text.split()) < SENTENCE

    @property
    def opens(self) -> bool:
        """Whether it requests more than its own line."""
        return bool(self.after or self.before or self.record)


class Search:
    """The compiled literals; all scanners and threads share them.

    Literals that begin a transport's records have the numbers below ``records``, the others that request more
    than their own line those below ``windows``, and the rest follow. ``boots`` are the numbers of the
    literals that begin a boot.
    """

    def __init__(
        self,
        literals: Iterable[Literal],
        transports: Transports | None = None,
        matcher: type[Matcher] | None = None,
    ) -> None:
        """Compile the literals; literals with the same text are merged."""
        self._matcher = matcher or matcher_.default()
        self.transports = transports or transport_.default()
        encoded = self.transports.encoded
        kept: dict[str, Literal] = {}
        for literal in (
            *literals,
            *(Literal(mark, record=True) for mark in self.transports.marks),
            *(Literal(form.mark, after=1) for form in encoded),
        ):
            other = kept.get(literal.text, literal)
            kept[literal.text] = Literal(
                literal.text,
                max(literal.after, other.after),
                max(literal.before, other.before),
                boot=literal.boot or other.boot,
                record=literal.record or other.record,
            )
        self.literals = tuple(
            sorted(kept.values(), key=lambda literal: (not literal.record, not literal.opens))
        )
        self.records = sum(literal.record for literal in self.literals)
        self.windows = sum(literal.opens for literal in self.literals)
        self.texts = texts = [literal.text.encode("ascii") for literal in self.literals]
        self.lengths = [len(text) for text in texts]
        self._words = [literal.starts_word for literal in self.literals]
        self.boots = frozenset(number for number, literal in enumerate(self.literals) if literal.boot)
        numbers = {literal.text: number for number, literal in enumerate(self.literals)}
        self._encoded = {numbers[form.mark]: form for form in encoded}
        self._all = self._matcher(texts, range(len(texts)), once=False)

    @functools.cached_property
    def _kinds(self) -> Matcher:
        """A matcher of the literals' kinds; compiling it takes 20 ms, five times as long as ``_all``."""
        tells = self.transports.tells
        singles = len(self.texts) - self.windows
        return self._matcher(
            (*self.texts, *tells),
            (*[WINDOW] * self.windows, *[SINGLE] * singles, *[TOLD] * len(tells)),
            once=True,
        )

    def kinds(self, data: bytes) -> set[int]:
        """Return the kinds of the literals that are found; faster than :meth:`ends`."""
        found: set[int] = set()

        def note(kind: int, _end: int) -> None:
            found.add(kind)

        self._kinds.scan(data, note)
        return found

    def begins(self, data: bytes, hit: Hit) -> int:
        """Return the offset at which a literal begins; -1 if that is inside a word and must not be."""
        start = hit[0] - self.lengths[hit[1]]
        inside = (
            start
            and self._words[hit[1]]
            and data[start - 1] in _WORD
            and not data[max(start - 4, 0) : start].endswith(self.transports.breaks)
        )
        return -1 if inside else start

    def ends(self, data: bytes) -> list[Hit]:
        """Return the hits in the order of their ends."""
        found: list[Hit] = []
        encoded: list[tuple[int, Encoded]] = []
        forms = self._encoded

        def note(number: int, end: int) -> None:
            if number in forms:
                encoded.append((end, forms[number]))
            else:
                found.append((end, number))

        self._all.scan(data, note)
        for end, form in encoded:
            found += self._inside(data, end, form)
        found.sort()  # the order of a matcher is not defined
        return found

    def _inside(self, data: bytes, at: int, form: Encoded) -> Iterator[Hit]:
        """Yield the hits in an encoded message, as if they were at the message's beginning."""
        try:
            message = form.decode(data, at)
        except Exception as error:  # noqa: BLE001 - a fault of one transport must not affect the others
            faults.note(f"transport {form.mark}", error)
            return
        if message is None:
            return
        for _, number in self.ends(message):
            if number >= self.records:
                yield at - 1 + self.lengths[number], number
