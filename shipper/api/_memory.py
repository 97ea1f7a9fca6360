"""Limits the memory that untrusted text takes in this process: queues, parsers, followed files.

Each holder has a :class:`Share` and counts its bytes. While all holders together exceed the limit, each
holder that has more than an equal part drops the oldest text of its largest sender.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final

__all__ = ["MEMORY", "Memory", "Share"]

LIMIT: Final = 64 << 20
"""Bytes by default: with the program itself below a ``MemoryMax`` of 256 MB."""


class Memory:
    """A limit in bytes, and the shares that keep to it together.

    :ivar limit: may be changed at any time.
    :ivar held: bytes that all shares hold.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.held = 0
        self._lock = threading.Lock()
        self._shares: weakref.WeakSet[Share] = weakref.WeakSet()

    def share(self) -> Share:
        """Return a new share; its bytes are given back when it is closed or garbage."""
        share = Share(self)
        with self._lock:
            self._shares.add(share)
        return share

    def part(self) -> int:
        """Return an equal part of the limit, in bytes."""
        return self.limit // max(1, len(self._shares))

    def change(self, size: int) -> None:
        """Count bytes: more of them, or fewer if negative."""
        with self._lock:
            self.held += size


class Share:
    """The bytes of one holder."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._held = [0]
        self._close = weakref.finalize(self, lambda held: memory.change(-held[0]), self._held)

    @property
    def held(self) -> int:
        """Bytes held."""
        return self._held[0]

    def change(self, size: int) -> None:
        """Count bytes: more of them, or fewer if negative."""
        self._held[0] += size
        self._memory.change(size)

    def fits(self, size: int) -> bool:
        """Tell whether the holder may take so many bytes more."""
        memory = self._memory
        return memory.held + size <= memory.limit or self._held[0] + size <= memory.part()

    @property
    def exceeded(self) -> bool:
        """Whether the holder has to drop something: it leaves a quarter of the memory to others."""
        memory = self._memory
        return memory.held > memory.limit * 3 // 4 and self._held[0] > memory.part() * 3 // 4

    def close(self) -> None:
        """Give everything back."""
        self._close()
        self._held[0] = 0


MEMORY = Memory()
"""The memory of this process; ``kpanic run`` sets its limit."""
