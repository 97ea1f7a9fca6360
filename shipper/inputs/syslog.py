"""What syslog daemons pass on: RFC 3164 and RFC 5424, over UDP and TCP.

Over TCP a message ends with a line feed, or its length stands before it (RFC 6587, 3.4.1 and 3.4.2); its
first character tells which. Only the kernel's messages are read: of facility 0, or of a program called
kernel. One stream for each sender and host name, so that a relay's hosts are kept apart. Only those are heard
who are named: without ``allow`` that is this machine.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from kpanic.shipper.api import Crash, Reader, Readers, Settings, Waiter
from kpanic.shipper.inputs.sockets import (
    DRAIN,
    HERE,
    LAST,
    Allowed,
    Heard,
    Place,
    Rates,
    address_of,
    sender_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["Framing", "SyslogConfig", "SyslogInput", "header"]

RECEIVED = 65_536
"""Bytes of a connection read before something else is looked at."""
MOST_DIGITS = 9
"""Of a message's length."""
DIGITS = b"123456789"
KEEPALIVE = ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 6))
"""Seconds until a connection is asked whether it still is one, between questions, and how many of them."""
REST = 1.0
"""Seconds until a connection is accepted again where there was no descriptor for it."""
PAUSE = 0.1
"""Seconds until a sender of whom too much waits is looked at again."""


class UdpConfig(Settings, frozen=True, kw_only=True):
    """``protocol.udp``."""

    host: str = ""
    """Address and port to listen at; empty: not at all."""

    def __post_init__(self) -> None:
        if self.host:
            address_of("host", self.host)


class TcpConfig(UdpConfig, frozen=True, kw_only=True):
    """``protocol.tcp``."""

    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 512
    """Connections at once; further ones are closed. A silent one stays: what a sender writes into a
    connection that was closed meanwhile is lost, and with it the crash."""


class ProtocolConfig(Settings, frozen=True, kw_only=True):
    """``protocol``."""

    udp: UdpConfig = UdpConfig()
    tcp: TcpConfig = TcpConfig()


class SyslogConfig(Settings, frozen=True, kw_only=True):
    """``type: syslog``."""

    protocol: ProtocolConfig = ProtocolConfig()
    allow: list[str] = msgspec.field(default_factory=lambda: list(HERE))
    """Networks that are heard."""
    close_quiet: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """Seconds of silence after which a crash counts as complete."""
    max_senders: Annotated[int, msgspec.Meta(ge=1)] = 4096
    """Streams kept at once; the one silent longest makes room."""
    max_rate: Annotated[int, msgspec.Meta(ge=1)] = 2_000_000
    """Bytes a second of one sender: above it a datagram is dropped, and a connection has to wait."""
    max_new_hosts: Annotated[int, msgspec.Meta(ge=1)] = 250
    """Hosts of one sender that may be new in a second; what comes after them from this sender waits."""
    max_message_size: Annotated[int, msgspec.Meta(ge=480)] = 65_536
    """Bytes of a message; a longer one is cut."""

    def __post_init__(self) -> None:
        if not (self.protocol.udp.host or self.protocol.tcp.host):
            raise ValueError(
                "protocol: nowhere to listen at: set protocol.udp.host, protocol.tcp.host or both"
            )
        Allowed(self.allow)


class Header(NamedTuple):
    """Where a message comes from."""

    kernel: bool
    host: str
    """Empty if it names none."""


_HEADER = re.compile(
    rb"(?:<(?P<priority>\d{1,3})>)?(?:"
    rb"1 \S+ (?P<host>\S{1,255}) (?P<program>\S{1,255}) "  # RFC 5424
    rb"|(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?"  # RFC 3164
    rb"|\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:\d\d)) "  # and what rsyslog makes of it
    rb"(?:(?!kernel(?:\[\d+\])?:)(?P<old>[^\s:\[]{1,255}) )?(?P<tag>[^\s:\[]{0,255})"
    rb")?"
)
_FACILITY = 8
"""Priorities of the first facility, the kernel's, are below it."""


def header(message: bytes) -> Header:
    """Read what a message says of itself; of one in no known form, that it is nobody's."""
    found = _HEADER.match(message)
    parts = found.group("priority", "host", "program", "old", "tag") if found else (None,) * 5
    priority, host, program, old, tag = parts
    program, host = program or tag, host or old or b""
    kernel = not program or program == b"kernel" or (priority is not None and int(priority) < _FACILITY)
    return Header(kernel, "" if host == b"-" else host.decode("utf-8", "replace"))


class SyslogInput:
    """A UDP socket, a TCP socket, or both."""

    Config = SyslogConfig
    name = "syslog"

    def __init__(self, config: SyslogConfig) -> None:
        self.paths: list[str] = []
        self._config = config
        self._allowed = Allowed(config.allow)
        self._addresses = [
            (kind, host, address_of(f"protocol.{name}.host", host))
            for kind, name, host in (
                (socket.SOCK_DGRAM, "udp", config.protocol.udp.host),
                (socket.SOCK_STREAM, "tcp", config.protocol.tcp.host),
            )
            if host
        ]

    def run(self, feed: Feed) -> None:
        """Listen."""
        _Listening(self._config, self._allowed, feed).run([Place(*address) for address in self._addresses])


class _Listening:
    """A run: sockets, connections and streams."""

    def __init__(self, config: SyslogConfig, allowed: Allowed, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._heard = Heard(feed, allowed, config.max_rate, config.max_senders)
        self._news = Rates(config.max_new_hosts, config.max_senders)
        self._connections: dict[socket.socket, Framing] = {}
        self._resting: dict[socket.socket, tuple[float, Callable[[socket.socket], object]]] = {}
        self._streams = Readers(self._make, self._take, config.max_senders, lambda key: key[0])
        self._waiter = Waiter(feed.stop)

    def run(self, places: list[Place]) -> None:
        """Listen until the end."""
        listening: list[socket.socket] = []
        with self._waiter as waiter:
            pause: float | None = None
            while not self._feed.stop.is_set():
                for place in list(places):
                    if made := place.opened(self._feed.say):
                        places.remove(place)
                        listening.append(made)
                        hear = self._heard.datagrams if made.type == socket.SOCK_DGRAM else self._accept
                        waiter.add(made, (hear, made))
                wait = self._wait() if pause is None else pause
                if places:
                    wait = min(Place.AGAIN, Place.AGAIN if wait is None else wait)
                for act, source in waiter.wait(wait):
                    act(source)
                read = self._heard.work(self._read)
                pause = (0.0 if read else PAUSE) if self._heard else None
                self._wake()
                self._streams.settle()
            self._last(listening)
        self._heard.drain(partial(self._read, last=True), time.monotonic() + DRAIN)
        self._streams.flush()

    def _last(self, listening: list[socket.socket]) -> None:
        """Take what was sent before the end: it will not be said again."""
        for made in listening:
            until = time.monotonic() + LAST
            if made.type == socket.SOCK_DGRAM:
                self._heard.datagrams(made, LAST)
            else:
                while made not in self._resting and time.monotonic() < until and self._accept(made):
                    pass
            made.close()
        until = time.monotonic() + LAST
        for one in list(self._connections):
            while time.monotonic() < until and self._take_from(one):
                pass
            if one in self._connections:
                self._end(one)

    def _make(self, key: tuple[str, str]) -> Reader:
        return Reader(lambda fault: self._feed.say(f"{key[0]}: {fault}"), self._config.close_quiet)

    def _take(self, complete: list[tuple[tuple[str, str], CrashReport]]) -> None:
        origin = replace(self._feed.origin, provider="syslog", relayed=True)
        self._feed.keep(
            [  # a relay's address is not the host's that crashed
                Crash(report, replace(origin, host_name=host, host_ip="" if host else address))
                for (address, host), report in complete
            ]
        )

    def _wait(self) -> float | None:
        now = time.monotonic()
        waits = [self._streams.wait, *(until - now for until, _ in self._resting.values())]
        return min((max(0.0, wait) for wait in waits if wait is not None), default=None)

    def _rest(self, one: socket.socket, seconds: float, act: Callable[[socket.socket], object]) -> None:
        """Look at a socket only after a time."""
        self._waiter.remove(one)
        self._resting[one] = time.monotonic() + seconds, act

    def _wake(self) -> None:
        """Look again at the sockets that had to wait."""
        now = time.monotonic()
        for one, (until, act) in list(self._resting.items()):
            if until <= now:
                del self._resting[one]
                self._waiter.add(one, (act, one))

    def _read(self, address: str, message: bytes, *, last: bool = False) -> bool:
        """Read a message; return False if it has to wait, being of one of too many new hosts."""
        message = message[: self._config.max_message_size].strip(b"\0\r\n")
        if b"\n" in message:  # as rsyslog writes it; the grammar makes lines of it again
            message = message.replace(b"\r\n", b"\n").replace(b"\n", b"#012")
        of = header(message)
        if message and of.kernel:
            key = (address, of.host)
            if not last and key not in self._streams and not self._news.of(address).allows(1):
                return False
            self._streams.feed(key, message + b"\n")
        return True

    def _accept(self, listening: socket.socket) -> bool:
        """Take a connection; return whether there was one."""
        try:
            made, peer = listening.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._heard.once(f"a connection cannot be taken: {error.strerror}; raise LimitNOFILE")
                self._rest(listening, REST, self._accept)
            return False  # else it was gone before we came
        address = sender_of(peer)
        if not self._heard.hears(address):
            made.close()
        elif len(self._connections) >= self._config.protocol.tcp.max_connections:
            made.close()
            self._heard.once(f"{address}: is closed, max_connections is reached")
        else:
            made.setblocking(False)  # noqa: FBT003 - as the library has it
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                made.setsockopt(socket.IPPROTO_TCP, option, value)
            self._connections[made] = Framing(address, self._config.max_message_size)
            self._waiter.add(made, (self._receive, made))
        return True

    def _receive(self, one: socket.socket) -> None:
        address = self._connections[one].address
        if self._heard.full(address):
            self._rest(one, PAUSE, self._receive)
        elif (size := self._take_from(one)) and (rest := self._heard.rates.of(address).owes(size)):
            self._rest(one, rest, self._receive)

    def _take_from(self, one: socket.socket) -> int:
        """Take what a connection has; return how many bytes that was."""
        connection = self._connections[one]
        try:
            data = one.recv(RECEIVED)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        for message in connection.take(data):
            self._heard.put(connection.address, message)
        if not data:
            self._end(one)
        return len(data)

    def _end(self, one: socket.socket) -> None:
        connection = self._connections.pop(one)
        if self._resting.pop(one, None) is None:
            self._waiter.remove(one)
        one.close()
        for message in connection.rest():
            self._heard.put(connection.address, message)


class Framing:
    """Messages out of a connection's stream of bytes."""

    def __init__(self, address: str, most: int) -> None:
        self.address = address
        self._most = most
        self.held = bytearray()
        self._skip = 0
        """Bytes still to come of a message that was cut; less than 0: up to the next line feed."""

    def take(self, data: bytes) -> list[bytes]:
        """Return the messages that these bytes complete."""
        self.held += data
        messages: list[bytes] = []
        while self.held:
            if self._skip:
                if not self._skipped():
                    break
                continue
            step = self._counted() if self.held[0] in DIGITS else self._line()
            if step is None:
                break
            messages.append(step)
        return messages

    def rest(self) -> list[bytes]:
        """Return what the end of the connection completes."""
        if self._skip or not self.held:
            return []
        count, _, message = bytes(self.held).partition(b" ")
        return [message if count.isdigit() else bytes(self.held)]

    def _skipped(self) -> bool:
        if self._skip > 0:
            gone = min(self._skip, len(self.held))
            self._skip -= gone
        else:
            end = self.held.find(b"\n")
            gone = len(self.held) if end < 0 else end + 1
            self._skip = -1 if end < 0 else 0
        del self.held[:gone]
        return not self._skip

    def _counted(self) -> bytes | None:
        """Take a message whose length stands before it."""
        end = self.held.find(b" ", 0, MOST_DIGITS + 1)
        if end < 0 and len(self.held) <= MOST_DIGITS:
            return None
        count = bytes(self.held[: max(end, 0)])
        if count.isdigit() and len(self.held) == end + 1:
            return None
        if not count.isdigit() or self.held[end + 1] != ord("<"):  # a date of a sender without priorities
            return self._line()
        size = int(count)
        whole = min(size, self._most)
        if len(self.held) < end + 1 + whole:
            return None
        message = bytes(self.held[end + 1 : end + 1 + whole])
        del self.held[: end + 1 + whole]
        self._skip = size - whole
        return message

    def _line(self) -> bytes | None:
        end = self.held.find(b"\n", 0, self._most)
        if end < 0:
            if len(self.held) < self._most:
                return None
            message = bytes(self.held[: self._most])
            del self.held[: self._most]
            self._skip = -1
            return message
        message = bytes(self.held[:end])
        del self.held[: end + 1]
        return message
