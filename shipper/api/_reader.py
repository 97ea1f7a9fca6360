"""Parsers for endless text, of one host or of many.

Nothing in a log marks the end of a crash. A report is complete when its host has been quiet for a time, or
when the kernel keeps printing for :data:`PATIENCE` times as long without another report.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from kpanic.shipper.api._memory import MEMORY
from kpanic.shipper.api._watchdog import WATCHDOG, TooCostly, cost, parse_fault, too_costly

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kpanic.grammars.model import CrashReport

__all__ = ["Reader", "Readers"]

PATIENCE = 3
"""Number of quiet times from the last header until its report is complete, however slow the console."""
LOOK = 0.25
"""Minimum seconds between two checks for readers that have gone quiet."""
SLICE = 0.05
"""Maximum seconds of one such check."""
STALE: Final = 64
"""Maximum outdated moments in the heap, in addition to as many as are valid, before they are dropped."""
AT_ONCE: Final = 16
"""Share of the readers that are dropped at once."""
BATCH = 100
"""Crashes handed over at a time."""
SPARED: Final = 1 << 19
"""Maximum bytes of an owner whose open crash is spared: a crash with its boot takes less."""
AHEAD: Final = 50.0
"""How far a spared owner comes before equals, as a logarithm; a new address comes further behind
(``inbox.BEHIND``).
"""
READER_BYTES: Final = 8192
"""Memory of a reader that holds no text."""
LINE_BYTES: Final = 200
"""Memory of a line in addition to its text."""
MOST_LINES: Final = 48_000
"""Maximum lines that a parser holds, with at most :data:`MOST_TEXT` characters."""
MOST_TEXT: Final = 8 << 20
RECENT: Final = 1 << 20
"""Maximum bytes of text before a crash that a parser holds."""


class Reader:
    """A parser for text of one host.

    An error of the grammar loses the text that causes it; open reports are handed over.

    :param say: logs a line for the operator, see :meth:`Feed.say`.
    :param quiet: seconds of silence after which a report is complete.
    :param clock: returns seconds that only grow.
    """

    def __init__(
        self, say: Callable[[str], None], quiet: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

        self._new = grammars.Parser
        self._parser = self._new()
        self._say = say
        self._quiet = quiet
        self._now = clock
        self._last: float | None = None
        self._bytes = 0
        self._lines = 0
        self._wide = False
        """Whether the text has characters beyond ASCII: one such character may widen its whole line."""

    def feed(self, chunk: bytes) -> list[CrashReport]:
        """Parse the next bytes of the text; return the reports that are complete."""
        now = self._last = self._now()
        self._bytes += len(chunk)
        self._lines += chunk.count(b"\n")
        self._wide = self._wide or not chunk.isascii()
        size = self._bytes if self._parser.open else len(chunk)
        return self._guarded(lambda: self._parser.feed(chunk, now), size)

    def settle(self) -> list[CrashReport]:
        """Return the reports that are complete by now."""
        if self._last is None:
            return []
        now = self._now()
        if now - self._last >= self._quiet:
            return self.flush()
        if not self._parser.open:
            return []
        return self._guarded(
            lambda: self._parser.settle(now - self._quiet, now - PATIENCE * self._quiet), self._bytes
        )

    def flush(self) -> list[CrashReport]:
        """Return the open reports; keep what is known about the boot."""
        size = self._bytes
        self._last = None
        self._bytes, self._lines, self._wide = 0, 0, False
        return self._guarded(self._parser.flush, size)

    @property
    def size(self) -> int:
        """Maximum bytes of memory that the parser takes for the text since the last flush."""
        if not self._parser.open:
            return READER_BYTES + min(self._bytes, RECENT)
        text = min(self._bytes, MOST_TEXT) * (4 if self._wide else 1)
        return READER_BYTES + 2 * text + LINE_BYTES * min(self._lines, MOST_LINES)  # as read and as it stands

    @property
    def open(self) -> bool:
        """Whether a report is incomplete."""
        return self._parser.open

    @property
    def blank(self) -> bool:
        """Whether neither a boot nor a crash of the host is known."""
        return self._parser.blank

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` has something to do; None: not before there is more text."""
        if self._last is None:
            return None
        left = self._last + self._quiet - self._now()
        return max(0.0, min(left, max(LOOK, self._quiet / 4)) if self._parser.open else left)

    def _guarded(self, step: Callable[[], list[CrashReport]], size: int) -> list[CrashReport]:
        """Return a step's result, or the open reports if it fails or exceeds the cost of so many bytes."""
        try:
            return WATCHDOG.watched(step, lambda: cost(size))
        except TooCostly:
            self._say(too_costly(size))
        except Exception as error:  # noqa: BLE001 - for hostile text
            self._say(parse_fault(error))
        parser, self._parser = self._parser, self._new()
        try:
            return WATCHDOG.watched(lambda: parser.settle(math.inf, math.inf), lambda: cost(size))
        except (Exception, TooCostly):  # noqa: BLE001 - as above
            self._say("a report that was open is lost with it")
            return []


Key = TypeVar("Key", bound="Hashable")
One = TypeVar("One", bound=Reader)


class Readers(Generic[Key, One]):
    """A :class:`Reader` for each of many hosts or senders, within a number and within a share of the memory.

    If there are too many readers, the owner with most loses the one that was silent longest. If they take too
    much memory, the owner whose readers take most loses one. With ``rank``, several are dropped at once:
    first those that know nothing about their host, then those of the largest rank; among equals, readers with
    an open crash come last. Open reports of a dropped reader are handed over.

    :param make: returns a new reader for a key.
    :param take: receives complete reports with their keys, many at a time, because each call syncs the store.
    :param most: maximum number of readers.
    :param owner: returns the owner of a key, such as the address of a sender of many hosts' messages; by
        default each key is its own owner.
    :param clock: the readers' clock.
    :param rank: returns the logarithm of an owner's cost; the owner with the smallest keeps its readers
        longest.
    """

    def __init__(  # noqa: PLR0913 - they are independent
        self,
        make: Callable[[Key], One],
        take: Callable[[list[tuple[Key, CrashReport]]], None],
        most: int,
        owner: Callable[[Key], Hashable] = lambda key: key,
        *,
        clock: Callable[[], float] = time.monotonic,
        rank: Callable[[Any], float] | None = None,
    ) -> None:
        self._now = clock
        self._rank = rank
        self._make = make
        self._take = take
        self._most = most
        self._owner = owner
        self._readers: OrderedDict[Hashable, OrderedDict[Key, One]] = OrderedDict()
        self._count = 0
        self._share = MEMORY.share()
        self._sizes: dict[Key, int] = {}
        self._owned: Counter[Hashable] = Counter()
        """Bytes of each owner's readers."""
        self._unsettled: dict[Key, float] = {}
        """When each reader with something to complete is asked next."""
        self._due: list[tuple[float, int, Key]] = []
        """The same moments as a heap, including outdated ones."""
        self._pushed = itertools.count()
        self._looked = 0.0
        self._more = False
        """Whether the last check did not reach all readers."""
        self._complete: list[tuple[Key, CrashReport]] = []

    def __contains__(self, key: Key) -> bool:
        return key in self._readers.get(self._owner(key), ())

    def __getitem__(self, key: Key) -> One:
        owner = self._owner(key)
        reader = self._readers[owner].get(key) if owner in self._readers else None
        if reader is None:
            if self._count >= self._most:
                self._make_room(lambda owner: len(self._readers[owner]))
            reader = self._readers.setdefault(owner, OrderedDict())[key] = self._make(key)
            self._count += 1
        self._readers.move_to_end(owner)
        self._readers[owner].move_to_end(key)
        return reader

    def feed(self, key: Key, chunk: bytes) -> None:
        """Parse the next bytes of one host; :meth:`settle` hands over complete reports."""
        reader = self[key]
        self._gather(key, reader.feed(chunk))
        self._weigh(key, reader.size)
        self._expect(key, reader)
        while self._share.exceeded and self._count > 1:
            self._make_room(self._owned.__getitem__)

    def settle(self) -> None:
        """Hand over the reports that are complete by now, within :data:`SLICE` seconds."""
        now = self._now()
        if self._more or now - self._looked >= LOOK:
            self._looked, self._more = now, False
            until = time.monotonic() + SLICE
            while not self._more and self._due and self._due[0][0] <= now:
                due, _, key = heapq.heappop(self._due)
                if self._unsettled.get(key) != due:
                    continue
                del self._unsettled[key]
                reader = self._reader(key)
                self._gather(key, reader.settle())
                self._weigh(key, reader.size)
                self._expect(key, reader)
                self._more = time.monotonic() > until
        self._give()

    def flush(self, until: float = math.inf) -> int:
        """Hand over all reports, including incomplete ones; return how many could not be read in time.

        :param until: moment of the monotonic clock after which no more readers are asked.
        """
        self._unsettled.clear()
        self._due.clear()
        waiting = [(key, reader) for readers in self._readers.values() for key, reader in readers.items()]
        if (rank := self._rank) is not None:
            waiting.sort(key=lambda one: rank(self._owner(one[0])))
        late = 0
        for key, reader in waiting:
            if time.monotonic() > until:
                late += reader.open
                continue
            self._gather(key, reader.flush())
            self._weigh(key, reader.size)
        self._give()
        return late

    @property
    def open(self) -> bool:
        """Whether a report is incomplete."""
        return any(self._reader(key).open for key in self._unsettled)

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` has something to do; None: not before there is more text."""
        if not self._unsettled:
            return None
        if self._more:
            return 0.0
        return max(LOOK, self._due[0][0] - self._now())

    def _reader(self, key: Key) -> One:
        """Return a reader without counting as activity."""
        return self._readers[self._owner(key)][key]

    def _expect(self, key: Key, reader: One) -> None:
        """Record when a reader is to be asked next, if that is earlier than recorded."""
        if (wait := reader.wait) is None:
            self._unsettled.pop(key, None)
            return
        due = self._now() + max(LOOK, wait)
        if due < self._unsettled.get(key, math.inf):
            self._unsettled[key] = due
            heapq.heappush(self._due, (due, next(self._pushed), key))
            if len(self._due) > 2 * len(self._unsettled) + STALE:
                self._due = [one for one in self._due if self._unsettled.get(one[2]) == one[0]]
                heapq.heapify(self._due)

    def _weigh(self, key: Key, size: int) -> None:
        """Count the memory that a reader takes now."""
        change = size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self._owned[self._owner(key)] += change
        self._share.change(change)

    def _make_room(self, taken: Callable[[Hashable], float]) -> None:
        """Drop a reader of the owner that takes most; with ranks drop several, as ordering takes long.

        The amount that an owner takes is added to its rank, as a logarithm: many hosts of one sender do not
        displace another sender's.

        :param taken: returns the amount that an owner takes.
        """
        if (rank := self._rank) is None:
            most = max(self._readers, key=taken)  # the first one was silent longest
            self._lose(most, next(iter(self._readers[most])))
            return
        costs = {
            owner: rank(owner) + math.log(max(1.0, taken(owner))) - AHEAD * self._spared(owner)
            for owner in self._readers
        }
        each = (
            (reader.blank, costs[owner], not reader.open, owner, key)
            for owner, readers in self._readers.items()
            for key, reader in readers.items()
        )
        lost = heapq.nlargest(max(1, self._count // AT_ONCE), each, key=lambda one: one[:3])
        for *_, owner, key in lost:
            self._lose(owner, key)

    def _spared(self, owner: Hashable) -> bool:
        """Tell whether an owner has only readers with an open crash, and few bytes in them."""
        return self._owned[owner] <= SPARED and all(reader.open for reader in self._readers[owner].values())

    def _lose(self, owner: Hashable, key: Key) -> None:
        """Drop a reader of an owner."""
        reader = self._readers[owner].pop(key)
        self._count -= 1
        self._unsettled.pop(key, None)
        self._gather(key, reader.flush())
        self._weigh(key, 0)
        del self._sizes[key]
        if not self._readers[owner]:
            del self._readers[owner], self._owned[owner]

    def _gather(self, key: Key, reports: list[CrashReport]) -> None:
        self._complete += [(key, report) for report in reports]
        if len(self._complete) >= BATCH:
            self._give()

    def _give(self) -> None:
        if self._complete:
            complete, self._complete = self._complete, []
            self._take(complete)
