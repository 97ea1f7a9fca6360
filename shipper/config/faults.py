"""Faults of a configuration: each with its place and what was expected."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from kpanic.shipper.config.keys import Key, dotted, metas, sections_with

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ConfigError", "Faults", "Where", "did_you_mean", "expected"]

SIMILAR = 0.7
"""Minimum ratio of difflib at which one name may be a misspelling of another."""
MOST = 100
"""Maximum faults with a line each; further ones are counted."""


class ConfigError(Exception):
    """The configuration is wrong: a line for each fault."""


class Where(NamedTuple):
    """Where and how a value was written."""

    source: str
    """``/etc/kpanic/kpanic.yml:12``, ``-E`` or ``$KPANIC_…``."""
    text: str | None
    """The scalar's spelling there."""


class Faults:
    """Collects faults, and knows where each key was written.

    :ivar where: the place of each value.
    :ivar lines: the faults, a line each.
    """

    def __init__(self) -> None:
        self.where: dict[Key, Where] = {}
        self.lines: list[str] = []
        self._more = 0
        self._faulty: set[Key] = set()
        self._without_value: set[Key] = set()

    @property
    def count(self) -> int:
        """Faults so far, including those without a line."""
        return len(self.lines) + self._more

    def add(self, line: str) -> None:
        """Add a fault of a source."""
        if len(self.lines) < MOST:
            self.lines.append(line)
        else:
            self._more += 1

    def without_value(self, key: Key) -> None:
        """Note that a key has no value because of a reported fault, so that it gets no second line."""
        self._without_value.add(key)

    def concern(self, key: Key) -> bool:
        """Tell whether there is a fault of this key or of one below it."""
        return any(faulty[: len(key)] == key for faulty in self._faulty)

    def add_at(self, key: Key, problem: str) -> None:
        """Add a fault of a key."""
        if key in self._without_value:
            return
        self._faulty.add(key)
        places = (self.where.get(key[:depth]) for depth in range(len(key), 0, -1))
        where = next((place for place in places if place is not None), None)
        source = f"{where.source}: " if where else ""
        name = dotted(key)
        self.add(f"{source}{problem}" if source.endswith(f"-E {name}: ") else f"{source}{name}: {problem}")

    def add_unknown(self, key: Key, known: Sequence[str]) -> list[str]:
        """Add that there is no such key; return the key of ``known`` that was clearly meant."""
        if len(self.lines) >= MOST:  # searching for similar names takes long
            self._more += 1
            return []
        name = str(key[-1])
        near = difflib.get_close_matches(name, known, 1, SIMILAR)
        elsewhere = sections_with(name)
        if elsewhere and (not near or len(key) == 1):
            self.add_at(key, f"there is no such key here; it is one of {', '.join(elsewhere)}")
            return []
        self.add_at(key, f"there is no such key{did_you_mean(name, known)}")
        return near

    def raise_any(self) -> None:
        """Raise the collected faults.

        :raises ConfigError: there is a fault.
        """
        if self.lines:
            more = [f"and {self._more:,} more faults"] if self._more else []
            raise ConfigError("\n".join(self.lines + more))


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a hint to the nearest name, or to all of them."""
    near = difflib.get_close_matches(name, known, 1, SIMILAR)
    if near:
        return f"; the nearest is {near[0]}"
    return f"; there is {', '.join(known)}" if known else ""


_WORDS = {
    "`str` of length >= 1": "text that is not empty",
    "`array`": "a list",
    "`object`": "keys and values",
    "`str`": "text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
}


def expected(problem: str, kind: Any) -> str:  # noqa: ANN401 - any type
    """Say what was expected of a value, without the value.

    :param problem: msgspec's words.
    :param kind: the type that the value should have; None if that is unknown.
    """
    info = msgspec.inspect.type_info(kind) if kind is not None else None
    if isinstance(info, msgspec.inspect.LiteralType):
        return f"expected one of {', '.join(map(str, info.values))}"
    if problem.startswith("Expected `str` matching regex"):
        described = next((meta.description for meta in metas(kind) if meta.description), None)
        if described:
            return f"expected {described}"
    problem = re.sub(r"Invalid enum value .*", "expected another value", problem, flags=re.DOTALL)
    for name, word in _WORDS.items():
        problem = problem.replace(name, word)
    return problem[:1].lower() + problem[1:]
