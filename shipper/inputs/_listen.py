"""Sockets that hear others: who may speak, how fast, and through which socket.

Without a list of their own only this machine is heard.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["HERE", "Allowed", "Rate", "address_of", "bound", "sender_of"]

HERE = ("127.0.0.0/8", "::1/128")
BUFFER = 4 << 20
"""Bytes that the kernel may hold for us: a whole crash of many hosts at once."""
TOLD = 1024
"""Addresses that were told of, at most."""


def address_of(key: str, text: str) -> tuple[str, int]:
    """Take ``address:port`` apart.

    :raises ValueError: it is none; ``key`` is what it was configured as.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:  # noqa: PLR2004 - 16 bits
        raise ValueError(f"{key}: expected address and port, such as 0.0.0.0:6666")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - only where somebody wrote so


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


class Allowed:
    """Who is heard.

    :param networks: in CIDR notation.
    :raises ValueError: one of them is none.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]
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
