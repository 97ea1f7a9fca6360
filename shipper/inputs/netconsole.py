"""What dying kernels send: netconsole's datagrams, plain and extended.

One stream a sender. Nothing tells when a crash is over, so a sender's silence does. Only those are heard who
are named: without ``allow`` that is this machine. Senders, their datagrams and their rate are bounded.

Records of the extended form have a number, so they are put in order again and duplicates dropped; what is
missing is counted by the grammar. The plain form has none: its lines are taken as they come.

:see: Documentation/networking/netconsole.rst, drivers/net/netconsole.c (send_ext_msg_udp)
"""

from __future__ import annotations

import re
import socket
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import msgspec

from kpanic.shipper.api import Crash, Reader, Readers, Settings, Waiter
from kpanic.shipper.inputs.sockets import DRAIN, HERE, LAST, Allowed, Heard, Place, address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["NetconsoleConfig", "NetconsoleInput"]

LATE = 32
"""Records that are held back for one that is missing."""
BACK = 5_000_000
"""Microseconds that the kernel's clock must go back by to mean another boot."""
SEEN = 512
"""Records that a duplicate is looked for among."""

_EXTENDED = re.compile(
    rb"(?:[^\s,;]+,)?\d+,(?P<sequence>\d{1,18}),(?P<microseconds>\d{1,18}),[-c+]+"
    rb"(?:,[a-z_]+=[^\s,;]*)*?(?:,ncfrag=(?P<offset>\d{1,9})/(?P<total>\d{1,9}))?(?:,[a-z_]+=[^\s,;]*)*;"
)


class NetconsoleConfig(Settings, frozen=True, kw_only=True):
    """``type: netconsole``."""

    host: str = "127.0.0.1:6666"
    """Address and port to listen at."""
    allow: list[str] = msgspec.field(default_factory=lambda: list(HERE))
    """Networks whose datagrams are taken."""
    close_quiet: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """Seconds of silence after which a crash counts as complete."""
    max_senders: Annotated[int, msgspec.Meta(ge=1)] = 4096
    """Streams kept at once; the one silent longest makes room."""
    max_rate: Annotated[int, msgspec.Meta(ge=1)] = 2_000_000
    """Bytes a second of one sender; what is above is dropped, and said."""

    def __post_init__(self) -> None:
        address_of("host", self.host)
        Allowed(self.allow)


class NetconsoleInput:
    """One UDP socket."""

    Config = NetconsoleConfig
    name = "netconsole"

    def __init__(self, config: NetconsoleConfig) -> None:
        self.paths: list[str] = []
        self._config = config
        self._allowed = Allowed(config.allow)
        self._address = address_of("host", config.host)

    def run(self, feed: Feed) -> None:
        """Listen."""
        place = Place(socket.SOCK_DGRAM, self._config.host, self._address)
        while (listening := place.opened(feed.say)) is None:
            if feed.stop.wait(place.AGAIN):
                return

        def make(address: str) -> _Sender:
            return _Sender(address, feed.say, self._config)

        def take(complete: list[tuple[str, CrashReport]]) -> None:
            origin = replace(feed.origin, provider="netconsole", relayed=True)
            feed.keep([Crash(report, replace(origin, host_ip=address)) for address, report in complete])

        def read(address: str, datagram: bytes) -> bool:
            senders.feed(address, datagram)
            return True

        senders = Readers(make, take, self._config.max_senders)
        heard = Heard(feed, self._allowed, self._config.max_rate, self._config.max_senders)
        with listening, Waiter(feed.stop) as waiter:
            waiter.add(listening, listening)
            while not feed.stop.is_set():
                if waiter.wait(0.0 if heard else senders.wait):
                    heard.datagrams(listening)
                heard.work(read)
                senders.settle()
            heard.datagrams(listening, LAST)  # it will not be said again
        heard.drain(read, time.monotonic() + DRAIN)
        senders.flush()


class _Sender(Reader):
    """One host; its records in their order."""

    def __init__(self, address: str, say: Callable[[str], None], config: NetconsoleConfig) -> None:
        super().__init__(lambda fault: say(f"{address}: {fault}"), config.close_quiet)
        self._next: tuple[int, int] | None = None
        self._clock = 0
        self._early: dict[tuple[int, int], tuple[tuple[int, int], bytes]] = {}  # and what comes after each
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=SEEN)

    def feed(self, chunk: bytes) -> list[CrashReport]:
        """Take a datagram."""
        found = _EXTENDED.match(chunk)
        return super().feed(self._ordered(found, chunk) if found else chunk)

    def flush(self) -> list[CrashReport]:
        """Wait no longer for what is missing."""
        late = super().feed(self._release()) if self._early else []
        return [*late, *super().flush()]

    def _ordered(self, found: re.Match[bytes], chunk: bytes) -> bytes:
        """Return what can be read now; a record has no line's end of its own."""
        sequence, clock = int(found["sequence"]), int(found["microseconds"])
        offset, total = int(found["offset"] or 0), int(found["total"] or 0)
        key = (sequence, offset)
        if (*key, clock) in self._seen:
            return b""
        self._seen.append((*key, clock))
        end = offset + len(chunk) - found.end()
        after = (sequence, end) if end < total else (sequence + 1, 0)
        chunk = chunk if chunk.endswith(b"\n") else chunk + b"\n"
        released = b""
        if self._next and (abs(sequence - self._next[0]) > SEEN or clock < self._clock - BACK):
            released, self._next = self._release(), None  # another boot
        self._clock = clock
        if self._next and key > self._next:
            self._early[key] = (after, chunk)
            return released + (self._release() if len(self._early) > LATE else b"")
        if self._next is None or key == self._next:
            self._next = after
        return released + chunk + self._follow()

    def _follow(self) -> bytes:
        """Return the held records that come next."""
        ready = b""
        while self._next is not None and self._next in self._early:
            self._next, chunk = self._early.pop(self._next)
            ready += chunk
        return ready

    def _release(self) -> bytes:
        """Return all held records, whatever is missing between them."""
        ready = b""
        for key in sorted(self._early):
            self._next, chunk = self._early[key]
            ready += chunk
        self._early.clear()
        return ready
