"""Finds the families and the readers of a boot's facts for a line, by the literals in the line."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from kpanic.grammars.boot import BANNER, READERS
from kpanic.grammars.incident import HEADS, Head
from kpanic.grammars.scan import Literal, Search
from kpanic.grammars.scan.block import line_breaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kpanic.grammars.family import Family
    from kpanic.grammars.model import Line
    from kpanic.grammars.registry import Registry
    from kpanic.grammars.transport import Transports

__all__ = ["Finder", "finder"]


class Finder:
    """The literals of families and of boots, and their owners."""

    def __init__(self, registry: Registry, transports: Transports | None = None) -> None:
        self._registry = registry
        self.families = len(registry.literals)
        self.search = Search(
            (
                *(
                    Literal(text, family.after, family.before)
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
        """Return the numbers of the literals in each line, by the line's index.

        Numbers below :attr:`families` are those of ``registry.literals``, the others those of
        :data:`kpanic.grammars.boot.READERS` behind them.
        """
        found: dict[int, list[int]] = {}
        data = "\n".join([line.text for line in lines]).encode("utf-8", "replace")
        position = index = stop = 0
        seen: set[int] = set()
        numbers: list[int] = []
        for end, which in self.search.ends(data):
            if end > stop:  # in another line
                index += line_breaks(data[position:end])
                position, stop = end, data.find(b"\n", end)
                stop = stop if stop >= 0 else len(data)
                seen.clear()
                numbers = found[index] = []
            if which not in seen:
                seen.add(which)
                numbers += [number for number in self._numbers[which] if number not in numbers]
        return found

    def headers(
        self, text: str, numbers: Iterable[int], previous: str | None
    ) -> tuple[tuple[Family, int], ...]:
        """Return the families whose report a line may begin, best first, each with the beginning's offset.

        :param numbers: of the literals that the line holds, below :attr:`families`.
        :param previous: text of the line before.
        """
        registry = self._registry
        hits = []
        for number in numbers:
            literal, family = registry.literals[number]
            at = registry.place(number, text)
            if at >= 0 and not registry.ignores(family, text, previous):
                hits.append((family.last, at, -len(literal), number, family))
        hits.sort(key=lambda hit: hit[:4])
        return tuple((family, at) for _, at, _, _, family in hits)

    def heads(self, lines: Sequence[Line]) -> list[Head]:
        """Return the lines on which a report may start."""
        heads: list[Head] = []
        for index, numbers in sorted(self.find(lines).items()):
            families = [number for number in numbers if number < self.families]
            previous = lines[index - 1].text if index else None
            hits = self.headers(lines[index].text, families, previous)
            if hits and not (heads and all(family.inner for family, _ in hits)):
                heads.append(Head(index, hits))
        return heads[:HEADS]


@functools.lru_cache(maxsize=4)
def finder(registry: Registry, transports: Transports | None = None) -> Finder:
    """Return the finder of a registry."""
    return Finder(registry, transports)
