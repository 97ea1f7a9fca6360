"""Plugins, by entry point group: the built-in ones are registered in the same way as a site's own.

``kpanic.families``, ``kpanic.machines``, ``kpanic.transports`` and ``kpanic.steps`` extend the grammar,
``kpanic.inputs`` and ``kpanic.outputs`` the shipper.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

__all__ = ["installed", "load", "names", "points"]

_Plugin = TypeVar("_Plugin")


@cache
def _everything() -> Any:  # noqa: ANN401 - EntryPoints; before Python 3.12 something else with a select
    """Read what all distributions register, once: it takes as long as reading some crashes."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and some commands need none

    return entry_points()


@cache
def points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, sorted by name."""
    return tuple(sorted(_everything().select(group=group), key=lambda point: point.name))


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
