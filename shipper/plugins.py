"""Inputs and outputs by name: entry points of ``kpanic.inputs`` and ``kpanic.outputs``.

The built-in ones are registered in the same way as a site's own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["load", "names"]


@cache
def _found(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and most commands need none

    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """Return the names of the plugins of a group, sorted."""
    return sorted(_found(group))


@cache
def load(group: str, name: str) -> Any:  # noqa: ANN401 - a class of Output or Input
    """Import a plugin's class.

    :raises KeyError: no plugin of this name is installed.
    """
    return _found(group)[name].load()
