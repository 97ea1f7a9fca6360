"""Sockets that hear others: who may speak, how fast, and through which socket.

Without a list of their own only this machine is heard. A socket is emptied at once, as the kernel drops what
comes when it is full; what was in it waits in a queue of its sender's own. The queues are read in turns, so
that who sends much waits for himself and nobody else does.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpanic.shipper.api import Feed

__all__ = ["DRAIN", "HERE", "LAST", "Allowed", "Heard", "Place", "Rates", "address_of", "bound", "sender_of"]

HERE = ("127.0.0.0/8", "::1/128")
BUFFER = 4 << 20
"""Bytes that the kernel may hold for us: a whole crash of many hosts at once."""
TOLD = 1024
"""Addresses that were told of, at most."""
DATAGRAM = 65_535
SLICE = 0.01
"""Seconds of hearing before something is read, and of reading before the sockets are looked at again."""
TURN = 16
"""Messages of one sender that are read before the next one's."""
SHARE = 4 << 20
"""Bytes of one sender's that may wait."""
ALL = 32 << 20
"""Bytes of all senders' that may wait; beyond, only of who has less than his part of it."""
OVERHEAD = 100
"""Bytes that a message takes beside its own."""
COUNTED = 60.0
"""Seconds between two lines that say how much was dropped."""
LAST = 0.5
"""Seconds at the end for what is in a socket."""
DRAIN = 5.0
"""Seconds at the end for what was heard and is not read yet."""


def address_of(key: str, text: str) -> tuple[str, int]:
    """Take ``address:port`` apart.

    :raises ValueError: it is none; ``key`` is what it was configured as.
    """
    host, colon, port = text.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - only where somebody wrote so
    number = int(port) if colon and port.isascii() and port.isdigit() else 0
    try:
        known = 0 < number < 65_536 and socket.getaddrinfo(host, number)  # noqa: PLR2004 - 16 bits
    except (OSError, UnicodeError):
        known = False
    if not known:
        raise ValueError(f"{key}: expected address and port, such as 0.0.0.0:6666")
    return host, number


def sender_of(peer: tuple[str, ...]) -> str:
    """Return the address that a socket names, without IPv6's scope and wrapping."""
    address = peer[0].partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def bound(address: tuple[str, int], kind: socket.SocketKind) -> socket.socket:
    """Return a socket that listens and does not block.

    :raises OSError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)  # noqa: FBT003 - as the library has it
        if kind == socket.SOCK_DGRAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        if kind == socket.SOCK_STREAM:
            made.listen()
    except OSError:
        made.close()
        raise
    return made


class Place:
    """Where to listen: an address may come only after us, as a network does at boot.

    :param text: the address as it was configured.
    """

    AGAIN: ClassVar = 5.0
    """Seconds until it is tried again."""

    def __init__(self, kind: socket.SocketKind, text: str, address: tuple[str, int]) -> None:
        self._kind = kind
        self._text = text
        self._address = address
        self._told = False
        self._again = 0.0

    def opened(self, say: Callable[[str], None]) -> socket.socket | None:
        """Return a socket that listens there; None if none can be had, which is said once."""
        if time.monotonic() < self._again:
            return None
        try:
            made = bound(self._address, self._kind)
        except OSError as error:
            self._again = time.monotonic() + self.AGAIN
            if not self._told:
                self._told = True
                say(f"{self._text}: cannot be listened at: {error.strerror}; it is tried again until it can")
            return None
        if self._told:
            say(f"{self._text}: is listened at now")
        return made


class Allowed:
    """Who is heard.

    :param networks: in CIDR notation.
    :raises ValueError: one of them is none; the text begins with the key ``allow``.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = []
        for index, network in enumerate(networks):
            try:
                self._networks.append(ipaddress.ip_network(network, strict=False))
            except ValueError:
                raise ValueError(
                    f"allow[{index}]: expected an address or a network, such as 10.0.0.0/8"
                ) from None
        self._known: dict[str, bool] = {}

    def hears(self, address: str, say: Callable[[str], None]) -> bool:
        """Tell whether an address is heard; the first time that one is not, say so."""
        known = self._known.get(address)
        if known is not None:
            return known
        found = ipaddress.ip_address(address)
        heard = any(found in network for network in self._networks)
        if len(self._known) < TOLD:
            self._known[address] = heard
            if not heard:
                say(f"{address}: is not in allow; what it sends is not heard")
        return heard


class Rate:
    """Bytes a second that one sender may use, and as many at once.

    :param limit: of bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = float(limit)
        self._at = time.monotonic()

    def allows(self, size: int) -> bool:
        """Tell whether so many bytes may come now; they count if they may."""
        self._refill()
        if size > self._left:
            return False
        self._left -= size
        return True

    def owes(self, size: int) -> float:
        """Count bytes that have come; return for how many seconds none should."""
        self._refill()
        self._left -= size
        return max(0.0, -self._left / self._limit)

    def _refill(self) -> None:
        now = time.monotonic()
        self._left = min(self._limit, self._left + (now - self._at) * self._limit)
        self._at = now


class Rates:
    """The allowance of each sender.

    :param limit: of each.
    :param most: senders whose allowances are kept at once; the one known longest makes room.
    """

    def __init__(self, limit: int, most: int) -> None:
        self._limit = limit
        self._most = most
        self._rates: dict[str, Rate] = {}

    def of(self, address: str) -> Rate:
        """Return the allowance of an address."""
        rate = self._rates.get(address)
        if rate is None:
            if len(self._rates) >= self._most:
                del self._rates[next(iter(self._rates))]
            rate = self._rates[address] = Rate(self._limit)
        return rate


class Heard:
    """What was heard and is not read yet.

    :param rate: bytes a second of one sender, by datagrams.
    :param senders: whose rates are kept at once; the one known longest makes room.
    """

    def __init__(self, feed: Feed, allowed: Allowed, rate: int, senders: int) -> None:
        self._feed = feed
        self._allowed = allowed
        self._most = senders
        self.rates = Rates(rate, senders)
        """In bytes, of each sender."""
        self._queues: OrderedDict[str, deque[bytes]] = OrderedDict()
        self._sizes: Counter[str] = Counter()
        self._size = 0
        self._dropped: Counter[str] = Counter()
        self._counted = time.monotonic()
        self._told: set[str] = set()

    def once(self, message: str) -> None:
        """Tell the operator what he was not told yet."""
        if message not in self._told and len(self._told) < self._most:
            self._told.add(message)
            self._feed.say(message)

    def hears(self, address: str) -> bool:
        """Tell whether an address is heard."""
        return self._allowed.hears(address, self._feed.say)

    def datagrams(self, listening: socket.socket, seconds: float = SLICE) -> None:
        """Take what a socket has, for so long at most."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                data, peer = listening.recvfrom(DATAGRAM)
            except BlockingIOError:
                return
            address = sender_of(peer)
            if not data or not self.hears(address):
                continue
            if not self.rates.of(address).allows(len(data)):
                self._drop(address, "sends more than max_rate; what is above is dropped")
            elif not self._fits(address, len(data)):
                self._drop(address, "sends more than can be read; what is above is dropped")
            else:
                self.put(address, data)

    def put(self, address: str, message: bytes) -> None:
        """Let a message wait."""
        self._queues.setdefault(address, deque()).append(message)
        size = len(message) + OVERHEAD
        self._sizes[address] += size
        self._size += size

    def full(self, address: str) -> bool:
        """Tell whether so much of a sender's waits that it should send no more."""
        return not self._fits(address, 0)

    def __bool__(self) -> bool:
        return bool(self._queues)

    def work(self, read: Callable[[str, bytes], bool], seconds: float = SLICE) -> bool:
        """Read messages, each sender's in turn, and count what was dropped; return whether some could be.

        :param read: is given an address and a message; returns whether it was taken, else it is asked later.
        """
        until = time.monotonic() + seconds
        some = False
        for address in list(self._queues):
            queue = self._queues[address]
            for _ in range(TURN):
                if not read(address, queue[0]):
                    break
                some = True
                size = len(queue.popleft()) + OVERHEAD
                self._sizes[address] -= size
                self._size -= size
                if not queue:
                    break
            if queue:
                self._queues.move_to_end(address)
            else:
                del self._queues[address], self._sizes[address]
            if time.monotonic() > until:
                break
        if time.monotonic() - self._counted > COUNTED:
            self._count()
        return some

    def drain(self, read: Callable[[str, bytes], object], until: float) -> None:
        """Read what waits up to a time; the rest is dropped."""

        def anyhow(address: str, message: bytes) -> bool:
            read(address, message)
            return True

        while self and time.monotonic() < until:
            self.work(anyhow)
        for address, queue in self._queues.items():
            for _ in queue:
                self._drop(address, "could not be read to its end before this ended")
        self._queues.clear()
        self._count()

    def _fits(self, address: str, size: int) -> bool:
        size += self._sizes[address] + OVERHEAD
        return size <= SHARE and (self._size < ALL or size <= ALL // (len(self._queues) + 1))

    def _drop(self, address: str, why: str) -> None:
        self.once(f"{address}: {why}")
        if address in self._dropped or len(self._dropped) < self._most:
            self._dropped[address] += 1
        else:
            self._dropped["others"] += 1
        self._feed.drop(1)

    def _count(self) -> None:
        """Say how much was dropped since it was said last."""
        self._counted = time.monotonic()
        if self._dropped:
            (worst, most), *others = self._dropped.most_common(8)
            also = "".join(f", {number} of {address}" for address, number in others)
            rest = len(self._dropped) - 1 - len(others)
            more = f" and {rest} others" if rest else ""
            self._feed.say(f"messages dropped: {most} of {worst}{also}{more}")
            self._dropped.clear()
