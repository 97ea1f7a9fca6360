"""A matcher that uses Hyperscan: 2 GB/s."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

import hyperscan

from kpanic.grammars.precompiled import PATTERNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["HyperscanMatcher"]

_SHORTEST: Final = b"\xff\xfe"
"""An additional short literal, which no text contains. The shortest literal limits the steps with which
Hyperscan reads the text; with shorter steps fewer places look like a literal, and it is twice as fast
here."""


class HyperscanMatcher:
    """A :class:`kpanic.grammars.scan.matcher.Matcher`."""

    def __init__(self, texts: Sequence[bytes], numbers: Sequence[int], *, once: bool) -> None:
        self._none = max(numbers, default=0) + 1
        flags = [hyperscan.HS_FLAG_SINGLEMATCH if once else 0] * len(texts)
        self._database = _database(
            (*texts, _SHORTEST), (*numbers, self._none), (*flags, hyperscan.HS_FLAG_SINGLEMATCH)
        )
        self._own = threading.local()

    def scan(self, data: bytes, note: Callable[[int, int], object]) -> None:
        """Call ``note`` with the number and the end of each literal in ``data``."""
        scratch = getattr(self._own, "scratch", None)
        if scratch is None:  # threads must not share scratch memory
            scratch = self._own.scratch = hyperscan.Scratch(self._database)
        none = self._none

        def hit(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            if number != none:
                note(number, end)

        self._database.scan(data, match_event_handler=hit, scratch=scratch)


def _database(
    texts: tuple[bytes, ...], numbers: tuple[int, ...], flags: tuple[int, ...]
) -> hyperscan.Database:
    """Return the compiled literals; they are cached in the installation."""
    mode = hyperscan.HS_MODE_BLOCK
    key = ("hyperscan", texts, numbers, flags)
    if kept := PATTERNS.kept(key):
        with contextlib.suppress(hyperscan.error):  # compiled for another CPU or version of Hyperscan
            return hyperscan.loadb(kept, mode)
    made = hyperscan.Database(mode=mode)
    made.compile(expressions=texts, ids=numbers, elements=len(texts), flags=flags, literal=True)
    PATTERNS.keep(key, partial(hyperscan.dumpb, made))
    return made
