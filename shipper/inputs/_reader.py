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

    from kpanic.grammars.model import CrashReport

__all__ = ["Reader", "Readers", "fault_of"]

PATIENCE = 3
"""Quiet times from the last header to the end of its report, however slow the console."""
LOOK = 0.25
"""Seconds between two looks for readers that have gone quiet, at least."""
SLICE = 0.05
"""Seconds that one such look may take before there is time for something else."""
BATCH = 100
"""Crashes given at a time."""


def fault_of(error: Exception) -> str:
    """Say that the scan failed, for the operator: a fault in a report costs that one alone."""
    return f"a fault of the scan ends the reading ({type(error).__name__}: {error}); please report it"


class Reader:
    """A parser for an input that does not end.

    :param say: is told when the scan failed; reading goes on after it.
    :param quiet: seconds of silence after which a crash counts as complete.
    """

    def __init__(self, say: Callable[[str], None], quiet: float) -> None:
        from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

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
    :param take: is given crashes, each with its key, many at a time: what keeps them syncs a disk each time.
    :param most: readers kept at once; of whom most are, the one silent longest makes room.
    :param owner: whose a key is; by itself its own.
    """

    def __init__(
        self,
        make: Callable[[Key], One],
        take: Callable[[list[tuple[Key, CrashReport]]], None],
        most: int,
        owner: Callable[[Key], Hashable] = lambda key: key,
    ) -> None:
        self._make = make
        self._take = take
        self._most = most
        self._owner = owner
        self._readers: OrderedDict[Hashable, OrderedDict[Key, One]] = OrderedDict()
        self._count = 0
        self._unsettled: OrderedDict[Key, One] = OrderedDict()
        self._looked = 0.0
        self._more = False
        """The last look was not at all of them."""
        self._complete: list[tuple[Key, CrashReport]] = []

    def __contains__(self, key: Key) -> bool:
        return key in self._readers.get(self._owner(key), ())

    def __getitem__(self, key: Key) -> One:
        owner = self._owner(key)
        reader = self._readers[owner].get(key) if owner in self._readers else None
        if reader is None:
            if self._count >= self._most:
                self._make_room()
            reader = self._readers.setdefault(owner, OrderedDict())[key] = self._make(key)
            self._count += 1
        self._readers.move_to_end(owner)
        self._readers[owner].move_to_end(key)
        return reader

    def feed(self, key: Key, chunk: bytes) -> None:
        """Read on in what comes from one; what is complete is given by :meth:`settle`."""
        reader = self._unsettled[key] = self[key]
        self._gather(key, reader.feed(chunk))

    def settle(self) -> None:
        """Give the crashes that are complete by now, for :data:`SLICE` at most."""
        now = time.monotonic()
        if self._more or now - self._looked >= LOOK:
            self._looked, self._more = now, False
            for _ in range(len(self._unsettled)):
                key, reader = self._unsettled.popitem(last=False)
                self._gather(key, reader.settle())
                if reader.wait is not None:
                    self._unsettled[key] = reader
                if time.monotonic() - now > SLICE:
                    self._more = True
                    break
        self._give()

    def flush(self) -> None:
        """Give the crashes that are open."""
        self._unsettled.clear()
        for of in self._readers.values():
            for key, reader in of.items():
                self._gather(key, reader.flush())
        self._give()

    @property
    def open(self) -> bool:
        """Whether a crash is being read."""
        return any(reader.open for reader in self._unsettled.values())

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` is worth a call; None: not before there is more input."""
        if not self._unsettled:
            return None
        if self._more:
            return 0.0
        waits = (reader.wait for reader in self._unsettled.values())
        return max(LOOK, min((wait for wait in waits if wait is not None), default=0.0))

    def _make_room(self) -> None:
        owner = max(self._readers, key=lambda owner: len(self._readers[owner]))  # the first: silent longest
        key, reader = self._readers[owner].popitem(last=False)
        if not self._readers[owner]:
            del self._readers[owner]
        self._count -= 1
        self._unsettled.pop(key, None)
        self._gather(key, reader.flush())

    def _gather(self, key: Key, reports: list[CrashReport]) -> None:
        self._complete += [(key, report) for report in reports]
        if len(self._complete) >= BATCH:
            self._give()

    def _give(self) -> None:
        if self._complete:
            complete, self._complete = self._complete, []
            self._take(complete)
