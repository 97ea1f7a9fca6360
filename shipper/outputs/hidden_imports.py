"""Imports libraries without their optional imports, which are slow and not needed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hidden"]


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Make modules appear uninstalled to imports of this thread.

    Modules that are imported already stay visible.
    """
    finder = _Hidden(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Hidden(MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.thread = get_ident()

    def find_spec(self, fullname: str, _path: object, _target: object = None, /) -> None:
        """Refuse a hidden module; leave others to the next finder."""
        if fullname in self.names and get_ident() == self.thread:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
