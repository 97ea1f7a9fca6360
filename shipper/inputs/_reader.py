"""The grammar behind a guard: a fault of the scan costs one stretch of one log, not the service.

Nothing in a log tells when a crash is over. It counts as complete when its host has been quiet for a time, or
when no further report came for :data:`PATIENCE` times as long while the kernel goes on printing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from grammars.model import CrashReport

__all__ = ["Reader", "Readers", "fault_of"]

PATIENCE = 3
"""Quiet times from the last header to the end of its report, however slow the console."""
LOOK = 0.25
"""Seconds between two looks for readers that have gone quiet, at least."""


def fault_of(error: Exception) -> str:
    """Say that the scan failed, for the operator: a fault in a report costs that one alone."""
    return f"a fault of the scan ends the reading ({type(error).__name__}: {error}); please report it"


class Reader:
    """A parser for an input that does not end.

    :param say: is told when the scan failed; reading goes on after it.
    :param quiet: seconds of silence after which a crash counts as complete.
    """

    def __init__(self, say: Callable[[str], None], quiet: float) -> None:
        import grammars  # noqa: PLC0415 - the grammar is built on import

        self._new = grammars.Parser
        self._parser = self._new()
        self._say = say
        self._quiet = quiet
        self._last: float | None = None

    def feed(self, chunk: bytes) -> list[CrashReport]:
        """Read on; return the crashes that are complete."""
        now = self._last = time.monotonic()
        return self._guarded(lambda: self._parser.feed(chunk, now))

    def settle(self) -> list[CrashReport]:
        """Return the crashes that are complete by now."""
        if self._last is None:
            return []
        now = time.monotonic()
        if now - self._last >= self._quiet:
            return self.flush()
        if not self._parser.open:
            return []
        return self._guarded(lambda: self._parser.settle(now - self._quiet, now - PATIENCE * self._quiet))

    def flush(self) -> list[CrashReport]:
        """Return the crashes that are open; what is known of the boot stays."""
        self._last = None
        return self._guarded(self._parser.flush)

    @property
    def open(self) -> bool:
        """Whether a crash is being read."""
        return self._parser.open

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` is worth a call; None: not before there is more input."""
        if self._last is None:
            return None
        left = self._last + self._quiet - time.monotonic()
        return max(0.0, min(left, max(LOOK, self._quiet / 4)) if self._parser.open else left)

    def _guarded(self, step: Callable[[], list[CrashReport]]) -> list[CrashReport]:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - whatever hostile text provokes
            self._say(fault_of(error))
            self._parser = self._new()
            return []


Key = TypeVar("Key", bound="Hashable")
One = TypeVar("One", bound=Reader)


class Readers(Generic[Key, One]):
    """A reader for each of many hosts or senders.

    :param make: makes the one of a key.
    :param take: is given the crashes of a key, never none.
    :param most: readers kept at once; the one silent longest makes room.
    """

    def __init__(
        self, make: Callable[[Key], One], take: Callable[[Key, list[CrashReport]], None], most: int
    ) -> None:
        self._make = make
        self._take = take
        self._most = most
        self._readers: OrderedDict[Key, One] = OrderedDict()
        self._unsettled: dict[Key, One] = {}
        self._looked = 0.0

    def __getitem__(self, key: Key) -> One:
        reader = self._readers.get(key)
        if reader is None:
            while len(self._readers) >= self._most:
                silent, gone = self._readers.popitem(last=False)
                self._unsettled.pop(silent, None)
                self._give(silent, gone.flush())
            reader = self._readers[key] = self._make(key)
        self._readers.move_to_end(key)
        return reader

    def feed(self, key: Key, chunk: bytes) -> None:
        """Read on in what comes from one."""
        reader = self._unsettled[key] = self[key]
        self._give(key, reader.feed(chunk))

    def settle(self) -> None:
        """Give the crashes that are complete by now."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        for key, reader in list(self._unsettled.items()):
            self._give(key, reader.settle())
            if reader.wait is None:
                self._unsettled.pop(key, None)

    def flush(self) -> None:
        """Give the crashes that are open."""
        self._unsettled.clear()
        for key, reader in self._readers.items():
            self._give(key, reader.flush())

    @property
    def open(self) -> bool:
        """Whether a crash is being read."""
        return any(reader.open for reader in self._unsettled.values())

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` is worth a call; None: not before there is more input."""
        if not self._unsettled:
            return None
        waits = (reader.wait for reader in self._unsettled.values())
        return max(LOOK, min((wait for wait in waits if wait is not None), default=0.0))

    def _give(self, key: Key, reports: list[CrashReport]) -> None:
        if reports:
            self._take(key, reports)
