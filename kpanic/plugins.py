"""Plugins, by entry point group: the built-in ones are registered in the same way as a site's own.

``kpanic.families``, ``kpanic.machines``, ``kpanic.transports`` and ``kpanic.steps`` extend the grammar,
``kpanic.inputs`` and ``kpanic.outputs`` the shipper.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Point", "installed", "load", "names", "points"]

_Plugin = TypeVar("_Plugin")


class Point(NamedTuple):
    """An entry point."""

    name: str
    value: str
    """``module`` or ``module:attribute``."""
    group: str

    def load(self) -> Any:  # noqa: ANN401 - whatever a distribution registers
        """Import what the entry point names."""
        module, _, attribute = self.value.partition(":")
        found: Any = import_module(module)
        return getattr(found, attribute) if attribute else found


@cache
def _registered() -> tuple[Point, ...]:
    """Read what the distributions on the path register for kpanic.

    importlib.metadata does the same, but importing it takes a tenth of the time of reading a crash.
    Source: packaging.python.org, Entry points specification.
    """
    found: list[Point] = []
    seen: set[str] = set()
    for folder in sys.path:
        for name, text in _entry_points(folder):
            distribution = name.partition("-")[0].lower()
            if distribution in seen:  # the first on the path is the one that is imported
                continue
            seen.add(distribution)
            group = ""
            for line in text.splitlines():
                words = line.partition("#")[0].strip()
                if words.startswith("["):
                    group = words.strip("[] ")
                elif words and group.startswith("kpanic."):
                    point, _, value = words.partition("=")
                    found.append(Point(point.strip(), value.partition("[")[0].strip(), group))
    return tuple(found)


def _entry_points(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each distribution's folder in a folder of the path, with its file of entry points."""
    try:
        inside = sorted(os.listdir(folder or "."))  # noqa: PTH208 - pathlib takes five times as long
    except OSError:  # there is no such folder, or it is a zip file
        return
    for name in inside:
        if name.endswith(".dist-info"):
            with suppress(OSError), open(f"{folder or '.'}/{name}/entry_points.txt", "rb") as file:  # noqa: PTH123
                yield name, file.read().decode("utf-8", "replace")


@cache
def points(group: str) -> tuple[Point, ...]:
    """Return the entry points of a group, sorted by name."""
    return tuple(sorted(point for point in _registered() if point.group == group))


def names(group: str) -> list[str]:
    """Return the names of the plugins of a group, sorted."""
    return [point.name for point in points(group)]


@cache
def load(group: str, name: str) -> Any:  # noqa: ANN401 - a class of Output or Input
    """Import the plugin that has a name.

    :raises KeyError: no plugin of this name is installed.
    """
    return {point.name: point for point in points(group)}[name].load()


def installed(group: str, kind: type[_Plugin]) -> Iterator[_Plugin]:
    """Yield the plugins of a group, in the order of the names.

    :param kind: the class of the plugins; an entry point names one of them, or a module that holds some.
    :raises TypeError: an entry point names something else.
    """
    for point in points(group):
        found = point.load()
        if isinstance(found, ModuleType):
            yield from (value for value in vars(found).values() if isinstance(value, kind))
        elif isinstance(found, kind):
            yield found
        else:
            raise TypeError(
                f"entry point {point.name!r} of {group} is neither a {kind.__name__} nor a module with some"
            )
