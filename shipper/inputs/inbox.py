"""Messages that arrived and are not parsed yet: a queue for each sender; the calmest sender's is read first.

A socket is emptied at once (:mod:`.datagrams`), because the kernel drops what comes while its buffer is full.
Its messages wait here. Each sender is charged for the messages that arrive and for the time that parsing them
takes; the charge fades. The sender with the smallest charge is read first, so that a flood delays and drops
only the messages of its own senders. A new sender begins with a charge: addresses are cheap to invent.

A message is parsed some time after it arrived. So parsers use :meth:`Inbox.clock` instead of the time: a
sender is not silent while its messages wait.
"""

from __future__ import annotations

import heapq
import math
import os
import threading
import time
import weakref
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final

from kpanic.shipper.api import MEMORY, DropReason
from kpanic.shipper.inputs.datagrams import Receiver, written
from kpanic.shipper.inputs.senders import Rate

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from kpanic.shipper.api import Feed
    from kpanic.shipper.inputs.datagrams import Batch
    from kpanic.shipper.inputs.senders import AllowedSenders

__all__ = ["DRAIN", "FINISH", "LAST", "Inbox"]

SLICE: Final = 0.01
"""Seconds of parsing before the sockets are looked at again."""
TURN: Final = 0.002
"""Seconds that messages of one sender are parsed before the next sender's turn."""
SHARE: Final = 4 << 20
"""Maximum bytes that wait for one sender."""
OVERHEAD: Final = 150
"""Bytes of memory that a message takes in addition to its text."""
WAITING: Final = 1024
"""Bytes of memory that a sender with waiting messages takes."""
FADES: Final = 10.0
"""Seconds in which a charge falls to its 2.7th part."""
KNOWN: Final = 10.0
"""Seconds from a sender's first message until it counts as known; new senders come after known ones."""
BEHIND: Final = 100.0
"""How far new senders come after known ones, as a logarithm of the charge."""
MESSAGE: Final = 50e-6
"""Seconds charged for a message when it arrives, in addition to :data:`BYTE` for each of its bytes."""
BYTE: Final = 1e-6
CALM: Final = 1.0
"""Seconds of charge up to which a known sender's messages may take all of the memory."""
OTHERS: Final = 4
"""Share of the memory that messages of other senders may take, in one input."""
LOOK: Final = 0.25
"""Seconds between two reads of the kernel's count of dropped datagrams."""
REFUSED: Final = 0.05
"""Seconds for which all datagrams of an address are dropped unread after one was dropped."""
REPORT: Final = 60.0
"""Seconds between two lines that say how much was dropped."""
TOLD: Final = 64
"""Maximum senders whose dropped messages are logged by name."""
TOO_MUCH: Final = "sends more than can be read; the excess is dropped"
TOO_MANY: Final = "comes while so many others wait that it cannot be heard"
LAST: Final = 0.5
"""Seconds at the end to read the connections."""
DRAIN: Final = 5.0
"""Seconds at the end to parse waiting messages."""
FINISH: Final = 15.0
"""Seconds after that for open reports; both together are less than ``shutdown_timeout``."""


NOTHING: Final[deque[tuple[float, bytes]]] = deque(maxlen=0)
"""The queue that all senders without waiting messages share: a deque takes 600 bytes."""


class _Sender:
    """A sender, and its messages that wait.

    :ivar charge: seconds that it is charged with, as a logarithm that grows with the clock instead of fading,
        so that the charges of any two senders compare at any time.
    :ivar behind: :data:`BEHIND` if the sender was new when it began to wait.
    :ivar queue: its waiting messages, each with the moment when it arrived.
    :ivar port: the sender's port, if the sender has a socket of its own.
    :ivar waits: whether a message of the sender waits or is being parsed.
    """

    __slots__ = ("address", "behind", "charge", "port", "queue", "rate", "since", "size", "waits")

    def __init__(self, address: str, rate: int, now: float) -> None:
        self.address = address
        self.since = now
        self.port = 0
        self.rate = Rate(rate)
        self.queue = NOTHING
        self.size = 0
        self.waits = False
        self.behind = 0.0
        self.charge = now / FADES

    def known(self, now: float) -> bool:
        """Tell whether the first message came some time ago."""
        return now - self.since > KNOWN

    @property
    def turn(self) -> float:
        """The key that orders waiting senders."""
        return self.charge + self.behind

    def charged(self, now: float) -> float:
        """Return the seconds of charge that are left."""
        return math.exp(self.charge - now / FADES)

    def add(self, seconds: float, now: float) -> None:
        """Charge the sender for seconds of parsing."""
        self.charge = math.log(self.charged(now) + seconds) + now / FADES


class _Refused:
    """An address whose datagrams are dropped unread for a moment: reading them costs too much.

    :ivar why: the reason that they are counted under; None if they are not counted.
    """

    __slots__ = ("address", "datagrams", "until", "why")

    def __init__(self, address: str, why: DropReason | None, until: float) -> None:
        self.address = address
        self.why = why
        self.until = until
        self.datagrams = 0


class _Senders:
    """All remembered senders: those with waiting messages, new ones and known ones.

    New senders displace only new ones, so that invented addresses never displace a known sender.

    :param most: maximum number of new and of known senders; memory limits how many wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.waiting: dict[str, _Sender] = {}
        self._new: OrderedDict[str, _Sender] = OrderedDict()
        self._known: OrderedDict[str, _Sender] = OrderedDict()

    def get(self, address: str) -> _Sender | None:
        """Return a remembered sender."""
        return self.waiting.get(address) or self._known.get(address) or self._new.get(address)

    def add(self, sender: _Sender) -> None:
        """Remember a new sender."""
        self._rest(self._new, sender)

    def wait(self, sender: _Sender, now: float) -> None:
        """Note that a message of a sender waits now."""
        sender.waits = True
        sender.queue = deque()
        sender.behind = 0.0 if sender.known(now) else BEHIND
        self._new.pop(sender.address, None)
        self._known.pop(sender.address, None)
        self.waiting[sender.address] = sender

    def rest(self, sender: _Sender, now: float) -> None:
        """Note that no message of a sender waits any more."""
        sender.waits = False
        sender.queue = NOTHING
        del self.waiting[sender.address]
        self._rest(self._known if sender.known(now) else self._new, sender)

    def _rest(self, where: OrderedDict[str, _Sender], sender: _Sender) -> None:
        where[sender.address] = sender
        if len(where) > self._most:
            where.popitem(last=False)


class Inbox:
    """The queues. Datagrams are queued by threads of their own, all else is called from one thread.

    :param allowed: whose messages are taken.
    :param rate: bytes a second of one sender's datagrams.
    :param senders: maximum number of new senders, and of known ones, without waiting messages.
    :param longest: bytes of a datagram that are taken.
    """

    def __init__(self, feed: Feed, allowed: AllowedSenders, rate: int, senders: int, longest: int) -> None:
        self._longest = longest
        self._feed = feed
        self._allowed = allowed
        self._rate = rate
        self._most = senders
        self._lock = threading.RLock()
        self._senders = _Senders(senders)
        self._heap: list[tuple[float, str]] = []
        """The senders that wait, the one with the smallest charge first."""
        self._share = MEMORY.share()
        self._taken = 0.0
        """Moment before which all messages are parsed or in a queue."""
        self._parsing: float | None = None
        """Arrival of the message that is being parsed."""
        self._dropped: Counter[str] = Counter()
        self._reported = self._looked = time.monotonic()
        self._told: set[str | tuple[str, DropReason]] = set()
        self._receivers: list[Receiver] = []
        self._refused: dict[bytes, _Refused] = {}
        self._fault: Exception | None = None
        self._arrived = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._signalled = False
        weakref.finalize(self, os.close, self._arrived)

    def fileno(self) -> int:
        """Return a descriptor that is readable from the arrival of datagrams until :meth:`work`."""
        return self._arrived

    def listen(self, listening: socket.socket) -> None:
        """Take the datagrams of a socket from now on."""
        receiver = Receiver(listening, self._longest, self._take, self._fail)
        self._receivers.append(receiver)
        receiver.start()

    def close(self) -> None:
        """Take the messages that are in the sockets now, and none after them."""
        for receiver in self._receivers:
            receiver.end()
        self._count(time.monotonic() + REFUSED)
        for receiver in self._receivers:
            receiver.close()
        self._receivers.clear()

    def say_once(self, message: str) -> None:
        """Log a line for the operator unless it was logged before, or many others were."""
        if message not in self._told and len(self._told) < TOLD:
            self._told.add(message)
            self._feed.say(message)

    def allows(self, address: str) -> bool:
        """Tell whether messages of an address are accepted."""
        return self._allowed.allows(address, self._feed.say)

    def put(self, address: str, message: bytes) -> None:
        """Queue a message of a connection, which rests while it is :meth:`full`."""
        with self._lock:
            now = time.monotonic()
            self._put(self._sender(address, now), message, now)

    def owes(self, address: str, size: int) -> float:
        """Subtract received bytes from a sender's allowance; return the seconds until it may send again."""
        with self._lock:
            now = time.monotonic()
            sender = self._sender(address, now)
            sender.add(BYTE * size, now)
            return sender.rate.owes(size)

    def full(self, address: str) -> bool:
        """Tell whether the queue of a sender is so long that its connections should pause."""
        with self._lock:
            now = time.monotonic()
            return not self._fits(self._sender(address, now), 0, now)

    def charge(self, address: str) -> float:
        """Return the key that orders senders: the one with the smallest charge is read first."""
        now = time.monotonic()
        sender = self._senders.get(address)
        if sender is None:  # a forgotten sender counts as a new one
            return now / FADES + BEHIND
        return sender.charge + (0.0 if sender.known(now) else BEHIND)

    def clock(self, address: str, taken: float = math.inf) -> float:
        """Return the clock of a sender's parsers, in seconds of the monotonic clock.

        While a message is parsed, this is its arrival; else the moment before which all of the sender's
        messages are parsed.

        :param taken: moment before which everything from its connections is queued.
        """
        if self._parsing is not None:
            return self._parsing
        sender = self._senders.get(address)
        return min(taken, sender.queue[0][0] if sender is not None and sender.queue else self._taken)

    def __bool__(self) -> bool:
        return bool(self._heap)

    def work(self, parse: Callable[[str, bytes], bool], seconds: float = SLICE) -> bool:
        """Parse messages for a limited number of seconds; return whether there were any.

        :param parse: is given an address and a message; returns False where the message has to wait.
        :raises Exception: a socket can no longer be received from.
        """
        if self._fault is not None:
            raise self._fault
        now = time.monotonic()
        with self._lock:
            if self._signalled:
                self._signalled = False
                os.eventfd_read(self._arrived)
            self._taken = min((receiver.taken(now) for receiver in self._receivers), default=now)
        until = time.monotonic() + seconds
        any_parsed = False
        resting: list[_Sender] = []
        while time.monotonic() < until and (sender := self._next()) is not None:
            parsed, rests = self._turn(sender, parse)
            any_parsed = any_parsed or parsed
            if rests:
                resting.append(sender)
            else:
                self._return(sender)
        for sender in resting:
            self._return(sender)
        if time.monotonic() - self._reported > REPORT:
            self._report()
        return any_parsed

    def drain(self, parse: Callable[[str, bytes], object], until: float) -> None:
        """Parse waiting messages up to a moment; drop the rest."""

        def parse_now(address: str, message: bytes) -> bool:
            parse(address, message)
            return True

        while self and time.monotonic() < until:
            self.work(parse_now)
        for sender in self._senders.waiting.values():
            self.drop(
                sender.address,
                DropReason.SHUTDOWN,
                "could not be read to its end before this ended",
                len(sender.queue),
            )
        self._heap.clear()
        self._share.close()
        self._report()

    def drop(self, address: str, reason: DropReason, why: str, messages: int = 1) -> None:
        """Count messages that are not accepted.

        :param why: the reason for the operator, who is told once.
        """
        with self._lock:
            if (address, reason) not in self._told and len(self._told) < TOLD:
                self._told.add((address, reason))
                self._feed.say(f"{address}: {why}")
            self._drop(address, reason, messages)

    def _drop(self, address: str, reason: DropReason, messages: int) -> None:
        known = address in self._dropped or len(self._dropped) < self._most
        self._dropped[address if known else "others"] += messages
        self._feed.drop(messages, reason)

    def _take(self, batch: Batch) -> None:
        """Queue datagrams of a socket while there is room; count the others as dropped."""
        refused = self._refused
        with self._lock:
            now = time.monotonic()
            for at, address in enumerate(batch.addresses):
                known = refused.get(address)
                if known is not None and now < known.until:
                    known.datagrams += 1
                elif size := batch.lengths[at]:
                    self._offer(batch, at, size, now)
            if now - self._looked > LOOK:
                self._looked = now
                self._count(now)
            if self._heap:
                self._signal()

    def _offer(self, batch: Batch, at: int, size: int, now: float) -> None:
        """Queue a datagram, or refuse all datagrams of its address for a moment."""
        raw = batch.addresses[at]
        address = written(raw)
        if not self.allows(address):
            self._refuse(raw, address, None, "", now)
            return
        sender = self._sender(address, now)
        sender.add(MESSAGE + BYTE * size, now)
        if not sender.rate.allows(size):
            self._refuse(
                raw, address, DropReason.RATE, "sends more than max_rate; the excess is dropped", now
            )
        elif not self._fits(sender, size, now):
            self._refuse(raw, address, DropReason.MEMORY, TOO_MUCH if sender.waits else TOO_MANY, now)
        else:
            self._put(sender, bytes(batch.data(at)), now)
            if sender.port != (port := batch.port(at)) and sender.known(now):
                sender.port = port
                batch.receiver.set_apart(address, port)

    def _refuse(self, raw: bytes, address: str, reason: DropReason | None, why: str, now: float) -> None:
        if reason is not None:
            self.drop(address, reason, why)
        refused = self._refused.get(raw)
        if refused is not None:
            self._count_refused(refused, now)
        if refused is not None or len(self._refused) < self._most:
            self._refused[raw] = _Refused(address, reason, now + REFUSED)

    def _count(self, now: float) -> None:
        """Count datagrams dropped unread since the last count, by the kernel or for their address."""
        for raw, one in list(self._refused.items()):
            self._count_refused(one, now)
            if one.until < now:
                del self._refused[raw]
        if lost := sum(receiver.lost() for receiver in self._receivers):
            self._dropped["the kernel"] += lost
            self._feed.drop(lost, DropReason.KERNEL)
            self.say_once("the kernel drops datagrams: its buffer is full; raise net.core.rmem_max")

    def _count_refused(self, one: _Refused, now: float) -> None:
        if one.why is not None and one.datagrams:
            self._drop(one.address, one.why, one.datagrams)
            if sender := self._senders.get(one.address):
                sender.add(MESSAGE * one.datagrams, now)
        one.datagrams = 0

    def _signal(self) -> None:
        if not self._signalled:
            self._signalled = True
            os.eventfd_write(self._arrived, 1)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._fault = error
            self._signal()

    def _sender(self, address: str, now: float) -> _Sender:
        """Return a sender, which is remembered from now on."""
        sender = self._senders.get(address)
        if sender is None:
            sender = _Sender(address, self._rate, now)
            self._senders.add(sender)
        return sender

    def _put(self, sender: _Sender, message: bytes, now: float) -> None:
        if not sender.waits:
            self._senders.wait(sender, now)
            self._share.change(WAITING)
            heapq.heappush(self._heap, (sender.turn, sender.address))
        sender.queue.append((now, message))
        size = len(message) + OVERHEAD
        sender.size += size
        self._share.change(size)

    def _fits(self, sender: _Sender, size: int, now: float) -> bool:
        """Tell whether there is room: all of the memory for known and calm senders, a part for others."""
        size += OVERHEAD + (0 if sender.waits else WAITING)
        if sender.size + size > SHARE:
            return False
        if sender.charged(now) > CALM or not sender.known(now):
            return self._share.held + size <= MEMORY.limit // OTHERS
        equal = MEMORY.part() // (len(self._senders.waiting) + 1)
        return self._share.fits(size) or sender.size + size <= equal

    def _next(self) -> _Sender | None:
        """Take the sender whose turn it is out of the heap."""
        with self._lock:
            while self._heap:
                turn, address = heapq.heappop(self._heap)
                sender = self._senders.waiting[address]
                if sender.turn <= turn:
                    return sender
                heapq.heappush(self._heap, (sender.turn, address))  # more messages arrived meanwhile
        return None

    def _turn(self, sender: _Sender, parse: Callable[[str, bytes], bool]) -> tuple[bool, bool]:
        """Parse messages of a sender; return whether there were any, and whether the next one has to wait."""
        began = time.thread_time()
        parsed = rests = False
        while sender.queue:
            self._parsing, message = sender.queue[0]
            fits = parse(sender.address, message)
            self._parsing = None
            if not fits:
                rests = True
                break
            parsed = True
            with self._lock:
                sender.queue.popleft()
                size = len(message) + OVERHEAD
                sender.size -= size
            self._share.change(-size)
            if time.thread_time() - began > TURN:
                break
        with self._lock:
            sender.add(time.thread_time() - began, time.monotonic())
        return parsed, rests

    def _return(self, sender: _Sender) -> None:
        """Put a sender back after its turn."""
        with self._lock:
            if sender.queue:
                heapq.heappush(self._heap, (sender.turn, sender.address))
            else:
                self._senders.rest(sender, time.monotonic())
                self._share.change(-WAITING)

    def _report(self) -> None:
        """Log how much was dropped since the last report."""
        self._reported = time.monotonic()
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
        if dropped:
            (worst, most), *others = dropped.most_common(8)
            also = "".join(f", {number} of {address}" for address, number in others)
            rest = len(dropped) - 1 - len(others)
            more = f" and {rest} others" if rest else ""
            self._feed.say(f"messages dropped: {most} of {worst}{also}{more}")
