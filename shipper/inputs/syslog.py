"""Messages of syslog daemons over UDP and TCP: ``type: syslog``.

Only the kernel's messages are read. Each sender and host name is a stream of its own, so that the hosts of a
relay are kept apart. What the messages look like: :mod:`.syslog_messages`.
"""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec.structs import replace

from kpanic.shipper.api import Crash, DropReason, Positive, Reader, Readers, Seconds, Settings, Waiter
from kpanic.shipper.inputs.inbox import DRAIN, FINISH, LAST, Inbox
from kpanic.shipper.inputs.sender_names import DnsConfig, SenderNames
from kpanic.shipper.inputs.senders import LOCALHOST, AllowedSenders, Rates
from kpanic.shipper.inputs.sockets import ListenAddress, parse_listen_address
from kpanic.shipper.inputs.syslog_connections import Connections
from kpanic.shipper.inputs.syslog_messages import read_header
from kpanic.shipper.inputs.syslog_tls import ListenTLS, unreadable
from kpanic.shipper.obstacles import unbindable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["SyslogConfig", "SyslogInput"]

PAUSE: Final = 0.1
"""Seconds until messages that have to wait are tried again."""
DATAGRAM: Final = 65_535
"""Bytes of the largest datagram."""


class UdpConfig(Settings, frozen=True, kw_only=True):
    """``protocol.udp``."""

    host: str = ""
    """Address and port to listen at; empty: not at all."""

    def __post_init__(self) -> None:
        if self.host:
            parse_listen_address("host", self.host)


class TcpConfig(UdpConfig, frozen=True, kw_only=True):
    """``protocol.tcp``."""

    max_connections: Positive = 512
    """Maximum connections. The sender with most connections loses its oldest to a sender with fewer; else the
    new connection is closed. A silent connection stays open: a crash that is written into a closed one is
    lost.
    """
    ssl: ListenTLS = ListenTLS()
    """RFC 5425; the port is 6514 by custom."""


class ProtocolConfig(Settings, frozen=True, kw_only=True):
    """``protocol``."""

    udp: UdpConfig = UdpConfig()
    tcp: TcpConfig = TcpConfig()


class SyslogConfig(Settings, frozen=True, kw_only=True):
    """``type: syslog``."""

    protocol: ProtocolConfig = ProtocolConfig()
    allow: list[str] = msgspec.field(default_factory=lambda: list(LOCALHOST))
    """Networks whose messages are accepted; by default this machine."""
    close_quiet: Seconds = 10.0
    """Seconds of silence after which a crash is complete."""
    max_senders: Positive = 4096
    """Maximum streams at once; those without a known boot or crash make room first."""
    max_rate: Positive = 2_000_000
    """Bytes a second of one sender: above it a datagram is dropped, and a connection has to wait."""
    max_new_hosts: Positive = 250
    """New hosts a second of one sender; its further messages wait."""
    max_message_size: Annotated[int, msgspec.Meta(ge=480)] = 65_536
    """Bytes of a message; a longer one is cut."""
    dns: DnsConfig = DnsConfig()
    """Names of senders whose messages name no host."""

    def __post_init__(self) -> None:
        if not (self.protocol.udp.host or self.protocol.tcp.host):
            raise ValueError(
                "protocol: nowhere to listen at: set protocol.udp.host, protocol.tcp.host or both"
            )
        AllowedSenders(self.allow)


class SyslogInput:
    """A UDP socket, a TCP socket, or both."""

    Config = SyslogConfig
    name = "syslog"

    def __init__(self, config: SyslogConfig) -> None:
        self.paths: list[str] = []
        self._config = config
        self._allowed = AllowedSenders(config.allow)
        self._addresses = [
            (kind, host, parse_listen_address(f"protocol.{name}.host", host))
            for kind, name, host in (
                (socket.SOCK_DGRAM, "udp", config.protocol.udp.host),
                (socket.SOCK_STREAM, "tcp", config.protocol.tcp.host),
            )
            if host
        ]

    def obstacles(self) -> Iterator[str]:
        """Yield the obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        for kind, text, address in self._addresses:
            yield from unbindable(kind, text, address)

    def run(self, feed: Feed) -> None:
        """Listen until ``feed.stop`` is set; see :meth:`kpanic.shipper.api.Input.run`."""
        _Listening(self._config, self._allowed, feed).run([ListenAddress(*one) for one in self._addresses])


class _Listening:
    """The sockets and the streams of one run."""

    def __init__(self, config: SyslogConfig, allowed: AllowedSenders, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._inbox = Inbox(
            feed, allowed, config.max_rate, config.max_senders, min(config.max_message_size, DATAGRAM)
        )
        self._new_hosts = Rates(config.max_new_hosts, config.max_senders)
        self._streams = Readers(
            self._make, self._take, config.max_senders, lambda key: key[0], rank=self._inbox.charge
        )
        self._names = SenderNames(config.dns, config.max_senders, feed.origin.agent_host)
        self._waiter = Waiter(feed.stop)
        tcp = config.protocol.tcp
        self._connections = Connections(
            self._inbox,
            self._waiter,
            tcp.max_connections,
            config.max_message_size,
            tcp.ssl.context() if tcp.ssl.enabled else None,
        )

    def run(self, addresses: list[ListenAddress]) -> None:
        """Listen until the end."""
        listening: list[socket.socket] = []
        with self._waiter:
            self._waiter.add(self._inbox, None)
            try:
                self._listen(addresses, listening)
            finally:
                self._receive_last(listening)
        self._inbox.drain(partial(self._parse, last=True), time.monotonic() + DRAIN)
        until = time.monotonic() + FINISH
        if late := self._streams.flush(until):
            self._feed.drop(late, DropReason.SHUTDOWN)

    def _listen(self, addresses: list[ListenAddress], listening: list[socket.socket]) -> None:
        """Receive and parse until the service ends.

        :param addresses: those that cannot be used to listen yet.
        :param listening: gets the sockets.
        """
        pause: float | None = None
        while not self._feed.stop.is_set():
            for address in list(addresses):
                if made := address.listen(self._feed.say):
                    addresses.remove(address)
                    listening.append(made)
                    if made.type == socket.SOCK_DGRAM:
                        self._inbox.listen(made)
                    else:
                        self._waiter.add(made, (self._connections.accept, made))
            waits = [pause if pause is not None else self._streams.wait, self._connections.wait]
            if addresses:
                waits.append(ListenAddress.RETRY)
            ready = self._waiter.wait(min((wait for wait in waits if wait is not None), default=None))
            self._connections.looked()
            for act, source in ready:
                act(source)
            parsed = self._inbox.work(self._parse)
            pause = (0.0 if parsed else PAUSE) if self._inbox else None
            self._connections.wake()
            self._streams.settle()

    def _receive_last(self, listening: list[socket.socket]) -> None:
        """Take messages that were sent before the end, because senders do not repeat them."""
        for made in listening:
            if made.type == socket.SOCK_STREAM:
                self._connections.accept_last(made, LAST)
        self._connections.close(LAST)
        self._inbox.close()
        for made in listening:  # not earlier: the waiter still knows their descriptors
            made.close()

    def _make(self, key: tuple[str, str]) -> Reader:
        address = key[0]
        return Reader(
            lambda fault: self._feed.say(f"{address}: {fault}"),
            self._config.close_quiet,
            lambda: self._inbox.clock(address, self._connections.taken(address)),
        )

    def _take(self, complete: list[tuple[tuple[str, str], CrashReport]]) -> None:
        origin = replace(self._feed.origin, provider="syslog", relayed=True)
        self._feed.keep(
            [  # a relay's address is not that of the host that crashed
                Crash(
                    report,
                    replace(
                        origin,
                        host_name=host or self._names.of(address),
                        host_ip="" if host else address,
                    ),
                )
                for (address, host), report in complete
            ]
        )

    def _parse(self, address: str, message: bytes, *, last: bool = False) -> bool:
        """Parse a message; return False if it has to wait because its sender names too many new hosts."""
        message = message[: self._config.max_message_size].strip(b"\0\r\n")
        if what := unreadable(message):
            self._inbox.drop(address, DropReason.ENCODING, what)
            return True
        if b"\n" in message:  # escaped as rsyslog does; the grammar makes lines of it again
            message = message.replace(b"\r\n", b"\n").replace(b"\n", b"#012")
        header = read_header(message)
        if message and header.kernel:
            key = (address, header.host)
            if not last and key not in self._streams and not self._new_hosts.of(address).allows(1):
                return False
            self._streams.feed(key, message + b"\n")
            if not header.host and key in self._streams and self._streams[key].open:
                self._names.ask(address)
        return True
