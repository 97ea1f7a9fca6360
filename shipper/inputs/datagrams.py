"""Datagrams of a socket, many in one system call, received by a thread that does nothing else.

The kernel drops what comes while a socket's buffer is full, honest or not. So the buffer is emptied by a
thread of its own, with recvmmsg(2) and without giving the interpreter away in between: Python's ``recvfrom``
does that for each datagram, and gets it back milliseconds later where another thread is busy.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Callable  # noqa: TC003 - a field's type
from typing import Final, NamedTuple

from kpanic.shipper.api import Stop, Waiter

__all__ = ["Batch", "Receiver", "written"]

MANY: Final = 64
"""Datagrams of one call."""
NAME: Final = 28
"""Bytes of a ``struct sockaddr_in6``."""
ROUNDS: Final = 256
"""Calls between two looks whether the thread has to end."""
LAST_ROUNDS: Final = 1024
"""Calls after that: more than the socket's buffer holds."""


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


_recvmmsg = ctypes.PyDLL(None).recvmmsg  # of a PyDLL the interpreter is not given away
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_WORD: Final = ctypes.sizeof(ctypes.c_uint)
_NAMES: Final = {
    socket.AF_INET: struct.Struct("4x4s20x"),  # struct sockaddr_in
    socket.AF_INET6: struct.Struct("8x16s4x"),  # struct sockaddr_in6
}
"""Where the address stands in the name of a sender."""
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""How IPv6 writes an address of IPv4."""


class Batch(NamedTuple):
    """Datagrams of one call.

    :ivar addresses: of their senders, as the kernel has them.
    :ivar data: the bytes of a datagram by its number; valid until the next batch.
    """

    addresses: list[bytes]
    lengths: list[int]
    data: Callable[[int], memoryview]


def written(address: bytes) -> str:
    r"""Return an address of 4 or 16 bytes as people write it; one of IPv4 so also where IPv6 carries it.

    >>> written(bytes([127, 0, 0, 1])), written(bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1]))
    ('127.0.0.1', '127.0.0.1')
    """
    if address.startswith(_MAPPED):
        address = address[-4:]
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)  # noqa: PLR2004


class _Room:
    """Room for the datagrams of one call."""

    def __init__(self, listening: socket.socket, longest: int) -> None:
        self._longest = longest
        self._descriptor = listening.fileno()
        self._address = _NAMES[listening.family]
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

    def receive(self) -> Batch:
        """Return the datagrams that are there, without waiting for any."""
        count = max(0, int(_recvmmsg(self._descriptor, self._messages, MANY, socket.MSG_DONTWAIT, None)))
        names = memoryview(self._names)[: count * NAME]
        addresses = [address for (address,) in self._address.iter_unpack(names)]
        return Batch(addresses, self._lengths[:count].tolist(), self._datagram)

    def _datagram(self, at: int) -> memoryview:
        start = at * self._longest
        return self._data[start : start + self._lengths[at]]


class Receiver(threading.Thread):
    """Takes datagrams from a socket until :meth:`end`.

    :param listening: does not block.
    :param longest: bytes of a datagram that are taken.
    :param take: is given up to :data:`MANY` datagrams at a time, in this thread.
    :param failed: is called, in this thread, with the error that ends it.
    """

    def __init__(
        self,
        listening: socket.socket,
        longest: int,
        take: Callable[[Batch], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(name=f"{threading.current_thread().name} receiver", daemon=True)
        self._listening = listening
        self._longest = longest
        self._take = take
        self._failed = failed
        self._ended = Stop()

    def run(self) -> None:
        """Receive."""
        room = _Room(self._listening, self._longest)
        try:
            with Waiter(self._ended) as waiter:
                waiter.add(self._listening, self._listening)
                while not self._ended.is_set():
                    waiter.wait(None)
                    self._empty(room, ROUNDS)
                self._empty(room, LAST_ROUNDS)  # nobody sends it again
        except Exception as error:  # noqa: BLE001 - the input raises it
            self._failed(error)

    def end(self) -> None:
        """Take what the socket has now, and end."""
        self._ended.set()
        self.join()

    def _empty(self, room: _Room, rounds: int) -> None:
        for _ in range(rounds):
            batch = room.receive()
            if batch.lengths:
                self._take(batch)
            if len(batch.lengths) < MANY:
                return
