"""Receives the datagrams of a port, many in one system call, in a thread of its own.

The kernel drops all datagrams that arrive while a socket's buffer is full. So a thread of its own empties the
buffer with recvmmsg(2), without releasing the interpreter lock in between. Python's ``recvfrom`` releases it
for each datagram, and gets it back milliseconds later where another thread is busy. A known sender gets a
socket of its own: the socket has the same port and is connected to the sender (udp(7)), so that datagrams of
others fill another buffer.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import threading
import time
from collections.abc import Callable  # noqa: TC003 - a field's type
from typing import Final, NamedTuple

from kpanic.shipper.api import Stop, Waiter
from kpanic.shipper.inputs.sockets import kernel_drops

__all__ = ["Batch", "Receiver", "written"]

MANY: Final = 64
"""Datagrams of one call."""
NAME: Final = 28
"""Bytes of a ``struct sockaddr_in6``."""
ROUNDS: Final = 256
"""Calls between two checks whether the thread has to end."""
OWN_ROUNDS: Final = 4
"""Calls for a sender that has its own socket."""
OWN_BUFFER: Final = 256 << 10
"""Bytes that the kernel may hold for such a sender: a few crashes of a machine."""
APART: Final = 128
"""Maximum senders with their own socket: each takes a descriptor."""
SILENT: Final = 600.0
"""Seconds of silence after which such a sender makes room for another."""
YOUNG: Final = 0.5
"""Seconds until a sender's socket is read, unless the common socket is found empty earlier."""
LAST_ROUNDS: Final = 1024
"""Calls after those seconds: more than the socket's buffer holds."""


class _Vector(ctypes.Structure):  # struct iovec
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):  # struct msghdr
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


_recvmmsg = ctypes.PyDLL(None).recvmmsg  # calls of a PyDLL keep the interpreter lock
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_WORD: Final = ctypes.sizeof(ctypes.c_uint)
_NAMES: Final = {
    socket.AF_INET: struct.Struct("4x4s20x"),  # struct sockaddr_in
    socket.AF_INET6: struct.Struct("8x16s4x"),  # struct sockaddr_in6
}
"""Place of the address in a sender's socket address."""
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""What precedes an IPv4 address in IPv6."""


class Batch(NamedTuple):
    """Datagrams of one call.

    :ivar addresses: those of their senders, as the kernel stores them.
    :ivar data: returns the bytes of a datagram by its number; they are valid until the next batch.
    :ivar port: returns the port of its sender.
    :ivar receiver: the receiver that received them.
    """

    addresses: list[bytes]
    lengths: list[int]
    data: Callable[[int], memoryview]
    port: Callable[[int], int]
    receiver: Receiver


def written(address: bytes) -> str:
    r"""Return an address of 4 or 16 bytes as text; an IPv4 address within IPv6 is written as IPv4.

    >>> written(bytes([127, 0, 0, 1])), written(bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1]))
    ('127.0.0.1', '127.0.0.1')
    """
    if address.startswith(_MAPPED):
        address = address[-4:]
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)  # noqa: PLR2004


class _Room:
    """Room for the datagrams of one call."""

    def __init__(self, family: socket.AddressFamily, longest: int) -> None:
        self._longest = longest
        self._address = _NAMES[family]
        self._data = memoryview(bytearray(MANY * longest))
        self._names = bytearray(MANY * NAME)
        data, names = (ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (self._data, self._names))
        self._vectors = (_Vector * MANY)()
        self._messages = (_Message * MANY)()
        for at in range(MANY):
            self._vectors[at] = _Vector(data + at * longest, longest)
            header = self._messages[at].header
            header.name, header.name_length = names + at * NAME, NAME
            header.vectors, header.vector_count = ctypes.addressof(self._vectors[at]), 1
        words = memoryview(self._messages).cast("B").cast("I")
        self._lengths = words[_Message.length.offset // _WORD :: ctypes.sizeof(_Message) // _WORD]

    def receive(self, source: socket.socket, receiver: Receiver) -> Batch:
        """Return the datagrams that a socket holds, without waiting."""
        count = max(0, int(_recvmmsg(source.fileno(), self._messages, MANY, socket.MSG_DONTWAIT, None)))
        names = memoryview(self._names)[: count * NAME]
        addresses = [address for (address,) in self._address.iter_unpack(names)]
        return Batch(addresses, self._lengths[:count].tolist(), self._datagram, self._port, receiver)

    def _datagram(self, at: int) -> memoryview:
        start = at * self._longest
        return self._data[start : start + self._lengths[at]]

    def _port(self, at: int) -> int:
        return int.from_bytes(self._names[at * NAME + 2 : at * NAME + 4])


class _Source:
    """A socket of the port.

    :ivar heard: when it last held a datagram.
    :ivar since: since when it waits for earlier datagrams to be read; 0.0 once they are.
    :ivar taken: moment before which all datagrams were taken.
    :ivar rounds: calls since :attr:`began` that found it full.
    :ivar drops: datagrams that the kernel has dropped, as far as they were counted.
    """

    __slots__ = ("began", "drops", "heard", "rounds", "since", "socket", "taken")

    def __init__(self, made: socket.socket, since: float = 0.0) -> None:
        self.socket = made
        self.since = self.heard = self.taken = self.began = since
        self.rounds = 0
        self.drops = 0

    def lost(self) -> int:
        """Return how many datagrams the kernel has dropped since the last call."""
        drops, before = kernel_drops(self.socket), self.drops
        self.drops = drops
        return (drops - before) % (1 << 32)


class Receiver(threading.Thread):
    """Takes datagrams of a port until :meth:`end`.

    :param listening: the port's socket, which does not block.
    :param longest: bytes of a datagram that are taken.
    :param take: is given up to :data:`MANY` datagrams at a time, in this thread.
    :param failed: is called, in this thread, with the error that ends the thread.
    """

    def __init__(
        self,
        listening: socket.socket,
        longest: int,
        take: Callable[[Batch], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(name=f"{threading.current_thread().name} receiver", daemon=True)
        self._common = _Source(listening)
        self._longest = longest
        self._take = take
        self._failed = failed
        self._ended = Stop()
        self._waiter = Waiter(self._ended)
        self._apart: dict[tuple[str, int], _Source] = {}
        self._receiving: list[_Source] = []
        """Sockets whose datagrams may not be taken yet."""
        self._young = 0
        """Number of sockets that are not read yet: earlier datagrams may still be in the common socket."""
        self._closed = 0
        """Datagrams that the kernel dropped at sockets that are closed now."""

    def run(self) -> None:
        """Receive."""
        room = _Room(socket.AddressFamily(self._common.socket.family), self._longest)
        try:
            with self._waiter:
                self._waiter.add(self._common.socket, self._common)
                while not self._ended.is_set():
                    self._receive(room, self._waiter.wait(YOUNG if self._young else None))
                self._common.since = 0.0
                for source in (self._common, *self._apart.values()):  # datagrams are not sent again
                    self._empty(room, source, LAST_ROUNDS)
        except Exception as error:  # noqa: BLE001 - the input raises it
            self._failed(error)

    def end(self) -> None:
        """Take what the sockets hold now, and end."""
        self._ended.set()
        self.join()

    def taken(self, now: float) -> float:
        """Return a moment before which all datagrams were taken; to be called while ``take`` cannot run.

        :param now: the moment if nothing waits.
        """
        sources = {source.socket.fileno(): source for source in (self._common, *self._apart.values())}
        sockets = select.poll()
        for descriptor in sources:
            sockets.register(descriptor, select.POLLIN)
        waiting = [sources[descriptor] for descriptor, _ in sockets.poll(0)]
        # only now: earlier datagrams have left the sockets
        return min((source.taken for source in (*waiting, *self._receiving)), default=now)

    def close(self) -> None:
        """Close the sockets of senders that were set apart."""
        for source in self._apart.values():
            source.socket.close()

    def lost(self) -> int:
        """Return how many datagrams the kernel has dropped since the last call."""
        closed, self._closed = self._closed, 0
        return closed + sum(source.lost() for source in (self._common, *self._apart.values()))

    def set_apart(self, address: str, port: int) -> None:
        """Give a sender a socket of its own; to be called by ``take``.

        The sender shares the common socket where that is impossible or :data:`APART` others have one.
        """
        peer = address, port
        if peer in self._apart or not self._has_room():
            return
        common = self._common.socket
        try:
            common.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # bound already: only this user's
            made = socket.socket(common.family, socket.SOCK_DGRAM)
        except OSError:
            return
        source = _Source(made, time.monotonic())
        mapped = common.family == socket.AF_INET6 and "." in address
        try:
            made.setblocking(False)  # noqa: FBT003 - the library's signature
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, OWN_BUFFER)
            made.bind(common.getsockname())
            made.connect((f"::ffff:{address}" if mapped else address, port))
        except OSError:
            made.close()
            return
        self._apart[peer] = source
        self._young += 1
        self._waiter.add(made, source)

    def _has_room(self) -> bool:
        """Tell whether a sender may have its own socket; one that was silent for long makes room."""
        if len(self._apart) < APART:
            return True
        peer, source = min(self._apart.items(), key=lambda item: item[1].heard)
        if source.since or time.monotonic() - source.heard < SILENT:
            return False
        self._waiter.remove(source.socket)
        self._closed += source.lost()
        source.socket.close()
        del self._apart[peer]
        return True

    def _receive(self, room: _Room, sources: list[_Source]) -> None:
        """Take the datagrams of readable sockets."""
        self._receiving = sources
        for source in sources:
            if not source.since:
                self._empty(room, source, ROUNDS if source is self._common else OWN_ROUNDS)
        if self._young:
            now = time.monotonic()
            empty = self._common not in sources
            for source in self._apart.values():
                if source.since and (empty or now - source.since >= YOUNG):
                    source.since = 0.0
                    self._young -= 1
        self._receiving = []

    def _empty(self, room: _Room, source: _Source, rounds: int) -> None:
        now = source.heard = time.monotonic()
        if not source.rounds:
            source.began = now
        for _ in range(rounds):
            batch = room.receive(source.socket, self)
            if batch.lengths:
                self._take(batch)
            if len(batch.lengths) < MANY:
                source.taken, source.rounds = now, 0
                return
        source.rounds += rounds
        if source.rounds >= LAST_ROUNDS:
            source.taken, source.rounds = source.began, 0
