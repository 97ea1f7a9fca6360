"""Datagrams of netconsole, plain and extended: ``type: netconsole``.

Each sender is a stream of its own. Nothing marks the end of a crash, so a sender's silence does.

:see: Documentation/networking/netconsole.rst, drivers/net/netconsole.c (send_ext_msg_udp)
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from kpanic.shipper.api import Crash, DropReason, Positive, Readers, Seconds, Settings, Waiter
from kpanic.shipper.inputs.inbox import DRAIN, FINISH, Inbox
from kpanic.shipper.inputs.netconsole_records import NetconsoleReader
from kpanic.shipper.inputs.sender_names import DnsConfig, SenderNames
from kpanic.shipper.inputs.senders import LOCALHOST, AllowedSenders
from kpanic.shipper.inputs.sockets import ListenAddress, parse_listen_address
from kpanic.shipper.obstacles import unbindable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["NetconsoleConfig", "NetconsoleInput"]

LONGEST: Final = 8192
"""Maximum bytes of a datagram; the kernel's have 1000 (MAX_PRINT_CHUNK)."""


class NetconsoleConfig(Settings, frozen=True, kw_only=True):
    """``type: netconsole``."""

    host: str = "127.0.0.1:6666"
    """Address and port to listen at."""
    allow: list[str] = msgspec.field(default_factory=lambda: list(LOCALHOST))
    """Networks whose datagrams are accepted; by default this machine."""
    close_quiet: Seconds = 10.0
    """Seconds of silence after which a crash is complete."""
    max_senders: Positive = 4096
    """Maximum senders at once; those without a known boot or crash make room first."""
    max_rate: Positive = 2_000_000
    """Maximum bytes a second of one sender; further datagrams are dropped and counted."""
    dns: DnsConfig = DnsConfig()

    def __post_init__(self) -> None:
        parse_listen_address("host", self.host)
        AllowedSenders(self.allow)


class NetconsoleInput:
    """One UDP socket."""

    Config = NetconsoleConfig
    name = "netconsole"

    def __init__(self, config: NetconsoleConfig) -> None:
        self.paths: list[str] = []
        self._config = config
        self._allowed = AllowedSenders(config.allow)
        self._address = parse_listen_address("host", config.host)

    def obstacles(self) -> Iterator[str]:
        """Yield the obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        yield from unbindable(socket.SOCK_DGRAM, self._config.host, self._address)

    def run(self, feed: Feed) -> None:
        """Listen until ``feed.stop`` is set; see :meth:`kpanic.shipper.api.Input.run`."""
        address = ListenAddress(socket.SOCK_DGRAM, self._config.host, self._address)
        while (listening := address.listen(feed.say)) is None:
            if feed.stop.wait(address.RETRY):
                return

        def make(sender: str) -> NetconsoleReader:
            return NetconsoleReader(
                lambda fault: feed.say(f"{sender}: {fault}"),
                self._config.close_quiet,
                lambda: inbox.clock(sender),
            )

        def take(complete: list[tuple[str, CrashReport]]) -> None:
            origin = replace(feed.origin, provider="netconsole", relayed=True)
            feed.keep(
                [
                    Crash(report, replace(origin, host_ip=sender, host_name=names.of(sender)))
                    for sender, report in complete
                ]
            )

        def parse(sender: str, datagram: bytes) -> bool:
            readers.feed(sender, datagram)
            if sender in readers and readers[sender].open:
                names.ask(sender)
            return True

        names = SenderNames(self._config.dns, self._config.max_senders, feed.origin.agent_host)
        inbox = Inbox(feed, self._allowed, self._config.max_rate, self._config.max_senders, LONGEST)
        readers = Readers(make, take, self._config.max_senders, rank=inbox.charge)
        with listening, Waiter(feed.stop) as waiter:
            inbox.listen(listening)
            waiter.add(inbox, None)
            try:
                while not feed.stop.is_set():
                    waiter.wait(0.0 if inbox else readers.wait)
                    inbox.work(parse)
                    readers.settle()
            finally:
                inbox.close()
        inbox.drain(parse, time.monotonic() + DRAIN)
        if late := readers.flush(time.monotonic() + FINISH):
            feed.drop(late, DropReason.SHUTDOWN)
