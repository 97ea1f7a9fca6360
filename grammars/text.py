"""The text of one report: its lines joined, and the way from a place in it back to the line."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grammars.model import Line


class ReportText:
    """Lines of one report as one string, which is what the grammar reads."""

    __slots__ = ("_starts", "lines", "text")

    def __init__(self, lines: Sequence[Line]) -> None:
        """Join the lines' texts."""
        self.lines = lines
        texts = [f"{line.text}\n" for line in lines]
        self.text = "".join(texts)
        self._starts = list(accumulate(map(len, texts), initial=0))

    def start(self, index: int) -> int:
        """Return where line ``index`` starts."""
        return self._starts[index]

    def line(self, location: int) -> Line:
        """Return the line that holds a location."""
        return self.lines[self.index(location)]

    def index(self, location: int) -> int:
        """Return the index of the line that holds a location."""
        return min(bisect_right(self._starts, location) - 1, len(self.lines) - 1)
