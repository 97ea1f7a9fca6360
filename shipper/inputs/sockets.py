"""Sockets that listen, and the addresses that send to them."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ListenAddress", "kernel_drops", "parse_listen_address", "sender_address"]

RECEIVE_BUFFER: Final = 16 << 20
"""Bytes that the kernel may hold for a UDP socket: whole crashes of many hosts at once, or a tenth of a
second of a flood.
"""
SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55
MEMINFO_DROPS: Final = 8
"""``SK_MEMINFO_DROPS`` of include/uapi/linux/sock_diag.h."""


def parse_listen_address(key: str, text: str) -> tuple[str, int]:
    """Return host and port of ``address:port``.

    :param key: key of the configuration, for the error.
    :raises ValueError: the text is no address; the message begins with ``key``.
    """
    host, colon, port = text.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - only if it is configured so
    number = int(port) if colon and port.isascii() and port.isdigit() else 0
    try:
        known = 0 < number < 65_536 and socket.getaddrinfo(host, number)  # noqa: PLR2004 - 16 bits
    except (OSError, UnicodeError):
        known = False
    if not known:
        raise ValueError(f"{key}: expected address and port, such as 0.0.0.0:6666")
    return host, number


def sender_address(peer: tuple[str, ...]) -> str:
    """Return the IP address of a peer as sockets name it, without IPv6's scope and the prefix of IPv4."""
    address = peer[0].partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def kernel_drops(listening: socket.socket) -> int:
    """Return how many datagrams the kernel dropped at this socket's full buffer; 0 before Linux 4.12.

    :see: sock_setsockopt(7), ``SO_MEMINFO``; net/core/sock.c (sk_get_meminfo)
    """
    try:
        information = listening.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1))
    except OSError:
        return 0
    numbers = struct.unpack(f"={len(information) // 4}I", information)
    return numbers[MEMINFO_DROPS] if len(numbers) > MEMINFO_DROPS else 0


def _enlarge_buffer(made: socket.socket) -> None:
    """Ask for :data:`RECEIVE_BUFFER` bytes; without CAP_NET_ADMIN, net.core.rmem_max limits them."""
    try:
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


class ListenAddress:
    """An address to listen at, which may appear later than the service, as a network does at boot.

    :param text: the address as it was configured.
    """

    RETRY: ClassVar = 5.0
    """Seconds until the address is tried again."""

    def __init__(self, kind: socket.SocketKind, text: str, address: tuple[str, int]) -> None:
        self._kind = kind
        self._text = text
        self._address = address
        self._failed = False
        self._next = 0.0

    def listen(self, say: Callable[[str], None]) -> socket.socket | None:
        """Return a listening, non-blocking socket; None if the address is unusable, which is logged once."""
        if time.monotonic() < self._next:
            return None
        try:
            listening = self._bind()
        except OSError as error:
            self._next = time.monotonic() + self.RETRY
            if not self._failed:
                self._failed = True
                say(f"{self._text}: cannot listen: {error.strerror}; trying again until that works")
            return None
        if self._failed:
            say(f"{self._text}: listening now")
        return listening

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        made = socket.socket(family, self._kind)
        try:
            made.setblocking(False)  # noqa: FBT003 - the library's signature
            if self._kind == socket.SOCK_DGRAM:
                _enlarge_buffer(made)
            else:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(self._address)
            if self._kind == socket.SOCK_STREAM:
                made.listen()
        except OSError:
            made.close()
            raise
        return made
