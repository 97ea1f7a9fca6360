"""Which families and which readers of the boot a line may be for, by the literals that it holds."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from kpanic.grammars.boot import BANNER, READERS
from kpanic.grammars.scan import Literal, Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.model import Line
    from kpanic.grammars.registry import Registry
    from kpanic.grammars.transport import Transports

__all__ = ["Finder", "finder"]

AFTER: Final = 800
"""Lines worth reading after a header."""
BEFORE: Final = 8
"""Lines worth reading before a header."""


class Finder:
    """The literals of families and of boots, and whose they are."""

    def __init__(self, registry: Registry, transports: Transports | None = None) -> None:
        self.families = len(registry.literals)
        self.search = Search(
            (
                *(
                    Literal(text, AFTER, BEFORE)
                    if any(not form.traceless for form in family.forms)
                    else Literal(text, 0, 1)
                    for text, family in registry.literals
                ),
                *(Literal(text, boot=text == BANNER) for text, _, _ in READERS),
            ),
            transports,
        )
        numbers: dict[str, list[int]] = {}
        texts = [*(text for text, _ in registry.literals), *(text for text, _, _ in READERS)]
        for number, text in enumerate(texts):
            numbers.setdefault(text, []).append(number)
        self._numbers = [numbers.get(literal.text, []) for literal in self.search.literals]

    def find(self, lines: Sequence[Line]) -> dict[int, list[int]]:
        """Return the numbers of the literals that each line holds, by the line's index.

        Numbers below :attr:`families` are those of ``registry.literals``, the others those of
        :data:`kpanic.grammars.boot.READERS` behind them.
        """
        found: dict[int, list[int]] = {}
        data = "\n".join([line.text for line in lines]).encode("utf-8", "replace")
        position = index = stop = 0
        seen: set[int] = set()
        numbers: list[int] = []
        for end, which in self.search.ends(data):
            if end > stop:  # another line
                index += data.count(b"\n", position, end)
                position, stop = end, data.find(b"\n", end)
                stop = stop if stop >= 0 else len(data)
                seen.clear()
                numbers = found[index] = []
            if which not in seen:
                seen.add(which)
                numbers += [number for number in self._numbers[which] if number not in numbers]
        return found


@functools.lru_cache(maxsize=4)
def finder(registry: Registry, transports: Transports | None = None) -> Finder:
    """Return the finder of a registry."""
    return Finder(registry, transports)
