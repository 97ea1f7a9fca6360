"""Waits for input or for the end, whichever comes first."""

from __future__ import annotations

import os
import selectors
import threading
import weakref
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["Stop", "Waiter"]


class Stop(threading.Event):
    """An event that ``select`` can wait for along with sockets and pipes; readable once set (eventfd(2))."""

    def __init__(self) -> None:
        super().__init__()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._descriptor

    def set(self) -> None:
        """Set the event permanently."""
        super().set()
        os.eventfd_write(self._descriptor, 1)


class Waiter:
    """Waits for several sources and for a :class:`Stop`; a context manager."""

    def __init__(self, stop: Stop) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(stop, selectors.EVENT_READ)

    def add(self, source: FileDescriptorLike, tag: Any) -> None:  # noqa: ANN401 - the caller's own
        """Add a source.

        :param tag: returned by :meth:`wait` when the source is readable.
        :raises PermissionError: the source is a file, which is always readable.
        """
        self._selector.register(source, selectors.EVENT_READ, tag)

    def remove(self, source: FileDescriptorLike) -> None:
        """Remove a source."""
        self._selector.unregister(source)

    def wait(self, seconds: float | None) -> list[Any]:
        """Return the tags of the readable sources, after ``seconds`` at the latest; None: no limit.

        Returns immediately, with the readable sources, when the event is set.
        """
        return [key.data for key, _ in self._selector.select(seconds) if key.data is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
