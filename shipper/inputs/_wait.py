"""Waiting for something to happen: input, or the end."""

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
    """An event that ``select`` can wait for beside sockets and pipes: it is readable once it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def set(self) -> None:
        """Set it, for good."""
        super().set()
        os.eventfd_write(self._descriptor, 1)


class Waiter:
    """Waits for several sources at once, and for ``stop``."""

    def __init__(self, stop: Stop) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(stop, selectors.EVENT_READ)

    def add(self, source: FileDescriptorLike, what: Any) -> None:  # noqa: ANN401 - the caller's own
        """Wait for a source too; ``what`` stands for it."""
        self._selector.register(source, selectors.EVENT_READ, what)

    def remove(self, source: FileDescriptorLike) -> None:
        """Wait for it no longer."""
        self._selector.unregister(source)

    def wait(self, seconds: float | None) -> list[Any]:
        """Return what stands for the sources that have something, at most ``seconds`` later."""
        return [key.data for key, _ in self._selector.select(seconds) if key.data is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
