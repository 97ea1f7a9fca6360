"""One sender's netconsole datagrams in the order of its kernel's records.

Records of the extended form have a number: they are put in order again, duplicates are dropped, and the
grammar counts missing ones. Lines of the plain form have no number and are taken as they come.
"""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from kpanic.shipper.api import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import CrashReport

__all__ = ["NetconsoleReader"]

LATE: Final = 32
"""Maximum records that are held back for one that is missing."""
LATE_BYTES: Final = 64 << 10
"""Maximum bytes of held records; a datagram of netconsole has 1000 at most (MAX_PRINT_CHUNK)."""
BACK: Final = 5_000_000
"""Microseconds by which the kernel's clock goes back at another boot; CPUs differ by less."""
SEEN: Final = 512
"""Records among which a duplicate is looked for."""
SEEN_BYTES: Final = 160
"""Bytes of memory of each such record."""

_HEADER: Final = re.compile(
    rb"(?:[^\s,;]{1,64},)?\d{1,9},(?P<sequence>\d{1,18}),(?P<microseconds>\d{1,18}),[-c+]{1,8}"
    rb"(?P<fields>(?>(?:,[a-z_]{1,32}=[^\s,;]{0,255})*));"
)
"""``[release,]level,sequence,microseconds,flags[,key=value…];``"""
_FRAGMENT: Final = re.compile(rb",ncfrag=(\d{1,9})/(\d{1,9})(?=,|$)")
"""Offset of a datagram in a record that was too long for one, and the record's length."""


class NetconsoleReader(Reader):
    """A parser for the datagrams of one sender."""

    def __init__(
        self, say: Callable[[str], None], quiet: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(say, quiet, clock)
        self._next: tuple[int, int] | None = None
        """Sequence number and offset that are expected."""
        self._clock = 0
        self._early: dict[tuple[int, int], tuple[tuple[int, int], bytes]] = {}
        """Records held back, each with what follows it."""
        self._early_bytes = 0
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=SEEN)

    @property
    def size(self) -> int:
        """Bytes of memory, see :attr:`Reader.size`."""
        return super().size + self._early_bytes + SEEN_BYTES * len(self._seen)

    @property
    def blank(self) -> bool:
        """Whether nothing of the sender is known, see :attr:`Reader.blank`."""
        return not self._early and super().blank

    def feed(self, chunk: bytes) -> list[CrashReport]:
        """Parse a datagram; return the reports that are complete."""
        header = _HEADER.match(chunk)
        return super().feed(self._ordered(header, chunk) if header else chunk)

    def flush(self) -> list[CrashReport]:
        """Stop waiting for missing records; return the open reports."""
        late = super().feed(self._release()) if self._early else []
        return [*late, *super().flush()]

    def _ordered(self, header: re.Match[bytes], chunk: bytes) -> bytes:
        """Return the records that can be parsed now, each with a line end."""
        sequence, clock = int(header["sequence"]), int(header["microseconds"])
        fragment = _FRAGMENT.search(header["fields"])
        offset, total = (int(fragment[1]), int(fragment[2])) if fragment else (0, 0)
        key = (sequence, offset)
        released = b""
        if self._next and (abs(sequence - self._next[0]) > SEEN or clock < self._clock - BACK):
            released, self._next = self._release(), None  # another boot
            self._seen.clear()
        if (*key, clock) in self._seen:
            return b""
        self._seen.append((*key, clock))
        end = offset + len(chunk) - header.end()
        after = (sequence, end) if end < total else (sequence + 1, 0)
        chunk = chunk if chunk.endswith(b"\n") else chunk + b"\n"
        self._clock = clock
        if self._next and key > self._next:
            self._early[key] = (after, chunk)
            self._early_bytes += len(chunk)
            full = len(self._early) > LATE or self._early_bytes > LATE_BYTES
            return released + (self._release() if full else b"")
        if self._next is None or key == self._next:
            self._next = after
        return released + chunk + self._follow()

    def _follow(self) -> bytes:
        """Return the held records that come next."""
        ready: list[bytes] = []
        while self._next is not None and self._next in self._early:
            self._next, chunk = self._early.pop(self._next)
            self._early_bytes -= len(chunk)
            ready.append(chunk)
        return b"".join(ready)

    def _release(self) -> bytes:
        """Return all held records, without waiting for missing ones."""
        ready: list[bytes] = []
        for key in sorted(self._early):
            self._next, chunk = self._early[key]
            ready.append(chunk)
        self._early.clear()
        self._early_bytes = 0
        return b"".join(ready)
