"""The literals that the scan looks for, all at once.

Nothing else looks at the noise between them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

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
"""Words that no prose has inside a word."""
WINDOW, SINGLE, TOLD = range(3)
"""Kinds of literals: those that ask for more lines than theirs, those that do not, and the transports' own
(:attr:`Transport.tells`)."""

Hit = tuple[int, int]
"""Where a literal ends, and its number."""


class Literal(NamedTuple):
    """Text whose appearance makes a line worth reading."""

    text: str
    """ASCII, as the kernel writes it."""
    after: int = 0
    """Lines worth reading after it; 0: only the line itself."""
    before: int = 0
    """Lines worth reading before it, of its host."""
    boot: bool = False
    """Whether a boot begins with it: earlier single lines of the same host are then void."""
    record: bool = False
    """A record begins with it that stands in the input in another order (:attr:`Transport.marks`)."""

    @property
    def starts_word(self) -> bool:
        """Whether the text counts only where a word begins: it is short.

        A sentence of three words counts even where a console glued it to the end of another CPU's line:
        ``user memory accessgeneral protection fault: 0000``.
        """
        return self.text[:1].isalnum() and len(self.text.split()) < SENTENCE

    @property
    def opens(self) -> bool:
        """Whether more than its line is worth reading."""
        return bool(self.after or self.before or self.record)


class Search:
    """Literals, ready to be looked for; all scanners and all threads share one.

    Those that begin a transport's records have the lowest numbers, up to ``records``; then come the others
    that ask for more than their line, up to ``windows``; then those that do not. ``boots`` are the numbers of
    those that begin a boot.
    """

    def __init__(
        self,
        literals: Iterable[Literal],
        transports: Transports | None = None,
        matcher: type[Matcher] | None = None,
    ) -> None:
        """Compile the literals; of the same text the ones that ask for more."""
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
        """The literals by their kinds: 20 ms to compile, five times as long as ``_all``."""
        tells = self.transports.tells
        singles = len(self.texts) - self.windows
        return self._matcher(
            (*self.texts, *tells),
            (*[WINDOW] * self.windows, *[SINGLE] * singles, *[TOLD] * len(tells)),
            once=True,
        )

    def kinds(self, data: bytes) -> set[int]:
        """Return the kinds of literals that are found; sooner done than :meth:`ends`."""
        found: set[int] = set()

        def note(kind: int, _end: int) -> None:
            found.add(kind)

        self._kinds.scan(data, note)
        return found

    def begins(self, data: bytes, hit: Hit) -> int:
        """Return where a literal begins; -1 if it does so inside a word."""
        start = hit[0] - self.lengths[hit[1]]
        inside = (
            start
            and self._words[hit[1]]
            and data[start - 1] in _WORD
            and not data[max(start - 4, 0) : start].endswith(self.transports.breaks)
        )
        return -1 if inside else start

    def ends(self, data: bytes) -> list[Hit]:
        """Return where a literal ends and its number, for each that is found, in the order of the ends."""
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
        found.sort()  # a matcher promises no order
        return found

    def _inside(self, data: bytes, at: int, form: Encoded) -> Iterator[Hit]:
        """Yield the literals in a message that is encoded, as if they stood where it begins."""
        try:
            message = form.decode(data, at)
        except Exception as error:  # noqa: BLE001 - of whichever transport: the others are still looked at
            faults.note(f"transport {form.mark}", error)
            return
        if message is None:
            return
        for _, number in self.ends(message):
            if number >= self.records:
                yield at - 1 + self.lengths[number], number
