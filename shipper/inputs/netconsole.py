"""What dying kernels send: netconsole's datagrams, plain and extended.

One stream a sender. Nothing tells when a crash is over, so a sender's silence does. Only those are heard who
are named: without ``allow`` that is this machine. Senders, their datagrams and their rate are bounded.

:see: Documentation/networking/netconsole.rst
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import msgspec

from shipper.inputs import Crash
from shipper.inputs._reader import Reader

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from shipper.inputs import Feed

__all__ = ["NetconsoleConfig", "NetconsoleInput"]

DATAGRAM = 65_535
TICK = 0.5
"""Seconds between two looks for senders that have gone quiet."""
BUFFER = 4 << 20
"""Bytes that the kernel may hold for us: a whole crash of many hosts at once."""


class NetconsoleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``type: netconsole``."""

    host: str = "127.0.0.1:6666"
    """Address and port to listen at."""
    allow: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])
    """Networks whose datagrams are taken."""
    close_quiet: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """Seconds of silence after which a crash counts as complete."""
    max_senders: Annotated[int, msgspec.Meta(ge=1)] = 4096
    """Streams kept at once; the one silent longest makes room."""
    max_rate: Annotated[int, msgspec.Meta(ge=1)] = 2_000_000
    """Bytes a second of one sender; what is above is dropped and counted."""


class NetconsoleInput:
    """One UDP socket."""

    Config = NetconsoleConfig
    name = "netconsole"

    def __init__(self, config: NetconsoleConfig) -> None:
        """Check the addresses.

        :raises ValueError: one of them is none.
        """
        self.paths: list[str] = []
        self._config = config
        self._allowed = [ipaddress.ip_network(network, strict=False) for network in config.allow]
        host, _, port = config.host.rpartition(":")
        if not port.isdigit() or int(port) > 65_535:  # noqa: PLR2004 - 16 bits
            raise ValueError("host: expected address and port, such as 0.0.0.0:6666")
        self._address = (host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - only where somebody wrote so

    def run(self, feed: Feed) -> None:
        """Listen."""
        senders: OrderedDict[str, _Sender] = OrderedDict()
        try:
            listening = self._listen()
        except OSError as error:
            feed.say(f"{self._config.host}: cannot be listened at: {error.strerror}; nothing is heard there")
            return
        with listening:
            self._hear(listening, senders, feed)
        for sender in senders.values():  # it will not be said again
            sender.complete(feed)

    def _hear(self, listening: socket.socket, senders: OrderedDict[str, _Sender], feed: Feed) -> None:
        refused: set[str] = set()
        looked = time.monotonic()
        while not feed.stop.is_set():
            try:
                data, (address, *_) = listening.recvfrom(DATAGRAM)
            except TimeoutError:
                pass
            else:
                if self._heard(address):
                    self._sender(senders, address, feed).take(data, feed)
                elif len(refused) < self._config.max_senders and address not in refused:
                    refused.add(address)
                    feed.say(f"{address}: is not in allow; what it sends is not heard")
            if time.monotonic() - looked > TICK:
                looked = time.monotonic()
                for sender in senders.values():
                    if sender.open and looked - sender.last > self._config.close_quiet:
                        sender.complete(feed)

    def _sender(self, senders: OrderedDict[str, _Sender], address: str, feed: Feed) -> _Sender:
        """Return the stream of an address; the one silent longest makes room for a new one."""
        sender = senders.get(address)
        if sender is None:
            while len(senders) >= self._config.max_senders:
                senders.popitem(last=False)[1].complete(feed)
            sender = senders[address] = _Sender(address, self._config.max_rate, feed)
        senders.move_to_end(address)
        return sender

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            made.bind(self._address)
            made.settimeout(TICK)
        except OSError:
            made.close()
            raise
        return made

    def _heard(self, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        return any(found in network for network in self._allowed)


class _Sender:
    """One host."""

    def __init__(self, address: str, rate: int, feed: Feed) -> None:
        self.address = address
        self.last = time.monotonic()
        self.open = False
        self._parser = Reader(lambda fault: feed.say(f"{address}: {fault}"))
        self._rate = rate
        self._allowance = float(rate)
        self._dropped = 0

    def take(self, data: bytes, feed: Feed) -> None:
        now = time.monotonic()
        self._allowance = min(self._rate, self._allowance + (now - self.last) * self._rate)
        self.last = now
        if len(data) > self._allowance:
            if not self._dropped:
                feed.say(f"{self.address}: sends more than max_rate; what is above is dropped")
            self._dropped += 1
            return
        self._allowance -= len(data)
        self.open = True
        self._keep(self._parser.feed(data), feed)

    def complete(self, feed: Feed) -> None:
        self.open = False
        self._keep(self._parser.flush(), feed)

    def _keep(self, reports: list[CrashReport], feed: Feed) -> None:
        if reports:
            origin = replace(feed.origin, provider="netconsole", host_ip=self.address, relayed=True)
            feed.keep([Crash(report, origin) for report in reports])
