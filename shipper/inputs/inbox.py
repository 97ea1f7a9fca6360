"""Messages that arrived and are not parsed yet: a queue for each sender, read in turns.

A socket is emptied at once, because the kernel drops what comes while its buffer is full. What was in it
waits here, so that a sender of many messages delays only its own.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final

from kpanic.shipper.api import MEMORY, DropReason
from kpanic.shipper.inputs.senders import Rates
from kpanic.shipper.inputs.sockets import kernel_drops, sender_address

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from kpanic.shipper.api import Feed
    from kpanic.shipper.inputs.senders import AllowedSenders

__all__ = ["DRAIN", "LAST", "Inbox"]

DATAGRAM: Final = 65_535
"""Bytes of the largest datagram."""
SLICE: Final = 0.01
"""Seconds of receiving before something is parsed, and of parsing before the sockets are looked at again."""
TURN: Final = 16
"""Messages of one sender that are parsed before the next sender's."""
SHARE: Final = 4 << 20
"""Maximum bytes of one sender that wait."""
OVERHEAD: Final = 100
"""Bytes that a message takes beside its own."""
REPORT: Final = 60.0
"""Seconds between two lines that say how much was dropped."""
LAST: Final = 0.5
"""Seconds at the end for what is in a socket."""
DRAIN: Final = 5.0
"""Seconds at the end for what waits to be parsed."""


class Inbox:
    """The queues.

    :param allowed: whose messages are taken.
    :param rate: bytes a second of one sender's datagrams.
    :param senders: maximum number of senders whose rates are kept.
    """

    def __init__(self, feed: Feed, allowed: AllowedSenders, rate: int, senders: int) -> None:
        self._feed = feed
        self._allowed = allowed
        self._most = senders
        self.rates = Rates(rate, senders)
        """Bytes a second, by sender."""
        self._queues: OrderedDict[str, deque[bytes]] = OrderedDict()
        self._sizes: Counter[str] = Counter()
        self._share = MEMORY.share()
        self._dropped: Counter[str] = Counter()
        self._lost: dict[socket.socket, int] = {}
        """Datagrams that the kernel dropped, by socket, as far as they were counted."""
        self._reported = time.monotonic()
        self._told: set[str] = set()

    def say_once(self, message: str) -> None:
        """Log a line for the operator unless it was logged before."""
        if message not in self._told and len(self._told) < self._most:
            self._told.add(message)
            self._feed.say(message)

    def allows(self, address: str) -> bool:
        """Tell whether messages of an address are taken."""
        return self._allowed.allows(address, self._feed.say)

    def receive(self, listening: socket.socket, seconds: float = SLICE) -> None:
        """Take the datagrams that a socket has, for at most so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                data, peer = listening.recvfrom(DATAGRAM)
            except BlockingIOError:
                break
            address = sender_address(peer)
            if not data or not self.allows(address):
                continue
            if not self.rates.of(address).allows(len(data)):
                self.drop(address, DropReason.RATE, "sends more than max_rate; what is above is dropped")
            elif not self._fits(address, len(data)):
                self.drop(address, DropReason.MEMORY, "sends more than can be read; what is above is dropped")
            else:
                self.put(address, data)
        self._count_lost(listening)

    def put(self, address: str, message: bytes) -> None:
        """Queue a message."""
        self._queues.setdefault(address, deque()).append(message)
        size = len(message) + OVERHEAD
        self._sizes[address] += size
        self._share.change(size)

    def full(self, address: str) -> bool:
        """Tell whether so much of a sender waits that its connections should rest."""
        return not self._fits(address, 0)

    def __bool__(self) -> bool:
        return bool(self._queues)

    def work(self, parse: Callable[[str, bytes], bool], seconds: float = SLICE) -> bool:
        """Parse messages, each sender's in turn, for at most so many seconds; return whether any was.

        :param parse: is given an address and a message; returns False where the message has to wait.
        """
        until = time.monotonic() + seconds
        any_parsed = False
        for address in list(self._queues):
            queue = self._queues[address]
            for _ in range(TURN):
                if not parse(address, queue[0]):
                    break
                any_parsed = True
                size = len(queue.popleft()) + OVERHEAD
                self._sizes[address] -= size
                self._share.change(-size)
                if not queue:
                    break
                if time.monotonic() > until:
                    break
            if queue:
                self._queues.move_to_end(address)
            else:
                del self._queues[address], self._sizes[address]
            if time.monotonic() > until:
                break
        if time.monotonic() - self._reported > REPORT:
            self._report()
        return any_parsed

    def drain(self, parse: Callable[[str, bytes], object], until: float) -> None:
        """Parse what waits up to a moment; the rest is dropped."""

        def parse_now(address: str, message: bytes) -> bool:
            parse(address, message)
            return True

        while self and time.monotonic() < until:
            self.work(parse_now)
        for address, queue in self._queues.items():
            for _ in queue:
                self.drop(address, DropReason.SHUTDOWN, "could not be read to its end before this ended")
        self._queues.clear()
        self._share.close()
        self._report()

    def drop(self, address: str, reason: DropReason, why: str) -> None:
        """Count a message that is not taken.

        :param why: the reason for the operator, who is told once.
        """
        self.say_once(f"{address}: {why}")
        known = address in self._dropped or len(self._dropped) < self._most
        self._dropped[address if known else "others"] += 1
        self._feed.drop(1, reason)

    def _fits(self, address: str, size: int) -> bool:
        """Tell whether there is room: a sender who has less than an equal part of it always has some."""
        size += self._sizes[address] + OVERHEAD
        if size > SHARE:
            return False
        return self._share.fits(size) or size <= MEMORY.part() // (len(self._queues) + 1)

    def _count_lost(self, listening: socket.socket) -> None:
        """Count what the kernel dropped since the last look."""
        drops, before = kernel_drops(listening), self._lost.get(listening, 0)
        if drops != before:
            lost = (drops - before) % (1 << 32)
            self._lost[listening] = drops
            self._dropped["the kernel"] += lost
            self._feed.drop(lost, DropReason.KERNEL)
            self.say_once("the kernel drops datagrams: its buffer is full; raise net.core.rmem_max")

    def _report(self) -> None:
        """Log how much was dropped since the last report."""
        self._reported = time.monotonic()
        if self._dropped:
            (worst, most), *others = self._dropped.most_common(8)
            also = "".join(f", {number} of {address}" for address, number in others)
            rest = len(self._dropped) - 1 - len(others)
            more = f" and {rest} others" if rest else ""
            self._feed.say(f"messages dropped: {most} of {worst}{also}{more}")
            self._dropped.clear()
