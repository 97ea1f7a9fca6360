"""TCP connections of syslog senders: accepted, read as fast as their sender's rate allows, shared fairly.

Messages may wait in a connection's socket for long. So each sender has a moment before which everything was
received; its silence is judged as of that moment.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import ssl
import termios
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from kpanic.shipper.api import MEMORY, DropReason
from kpanic.shipper.inputs.sockets import sender_address
from kpanic.shipper.inputs.syslog_messages import Framing
from kpanic.shipper.inputs.syslog_tls import handshake_fault, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.shipper.api import Waiter
    from kpanic.shipper.inputs.inbox import Inbox

__all__ = ["Connections"]

RECEIVED: Final = 65_536
"""Bytes received from a connection before others have their turn."""
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 6))
"""Seconds until a silent connection is probed, seconds between probes, and their number."""
NO_DESCRIPTOR: Final = 1.0
"""Seconds until a connection is accepted again after the process ran out of descriptors."""
REST: Final = 0.1
"""Seconds until a connection is read again after its sender had too many waiting messages."""
GRACE: Final = 1.0
"""Seconds for which a sender counts as busy after its full connection is read."""
ACCEPTED: Final = 256
"""Maximum connections that are accepted at once: no more wait (listen(2), with Python's backlog of 128)."""


class _Connection:
    """A connection.

    :ivar unread: bytes that waited in the socket at :attr:`seen`, minus those received since.
    """

    def __init__(self, address: str, most: int) -> None:
        self.address = address
        self.framing = Framing(most)
        self.held = 0
        self.began = False
        self.unread = 0
        self.seen = 0.0


class Connections:
    """The connections of one listening socket.

    :param inbox: receives their messages.
    :param waiter: waits for them, each with ``(method, socket)``.
    :param most: maximum number of connections.
    :param message_size: maximum bytes of a message.
    :param tls: None to speak plain TCP.
    """

    def __init__(
        self, inbox: Inbox, waiter: Waiter, most: int, message_size: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self._inbox = inbox
        self._waiter = waiter
        self._most = most
        self._message_size = message_size
        self._connections: dict[socket.socket, _Connection] = {}
        self._counts: Counter[str] = Counter()
        self._resting: dict[socket.socket, tuple[float, Callable[[socket.socket], object]]] = {}
        self._share = MEMORY.share()
        self._looked = self._looked_before = time.monotonic()
        self._waiting: defaultdict[str, dict[socket.socket, float]] = defaultdict(dict)
        """By address, the connections that hold more, or did within :data:`GRACE`, each with the moment
        before which everything was received.
        """
        self._emptied: dict[socket.socket, float] = {}
        """The connections that held more, with the moment when it was received."""

    def looked(self) -> None:
        """Note that the sockets were polled now: all readable ones are read before the next poll."""
        self._looked_before, self._looked = self._looked, time.monotonic()
        for one, since in list(self._emptied.items()):
            if self._looked - since >= GRACE:
                self._forget(one)

    def taken(self, address: str) -> float:
        """Return the moment before which everything from a sender's connections was received."""
        waiting = self._waiting.get(address)
        return min(self._looked, *waiting.values()) if waiting else self._looked

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`wake` has something to do; None: nothing rests."""
        now = time.monotonic()
        return min((max(0.0, until - now) for until, _ in self._resting.values()), default=None)

    def wake(self) -> None:
        """Wait again for the sockets that have rested."""
        now = time.monotonic()
        for one, (until, act) in list(self._resting.items()):
            if until <= now and one in self._resting:  # else it was closed for another one
                del self._resting[one]
                self._waiter.add(one, (act, one))
                act(one)

    def accept(self, listening: socket.socket) -> None:
        """Accept the connections that wait."""
        for _ in range(ACCEPTED):
            if not self._accept_one(listening):
                return

    def _accept_one(self, listening: socket.socket) -> bool:
        """Accept a connection and receive its data; return whether there was one."""
        try:
            made, peer = listening.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._inbox.say_once(f"a connection cannot be accepted: {error.strerror}; raise LimitNOFILE")
                self._rest(listening, NO_DESCRIPTOR, self.accept)
            return False  # otherwise it was closed already
        address = sender_address(peer)
        if not self._inbox.allows(address):
            made.close()
        elif len(self._connections) >= self._most and not self._make_room(address):
            made.close()
            self._inbox.drop(address, DropReason.CONNECTIONS, "is closed, max_connections is reached")
        else:
            made.setblocking(False)  # noqa: FBT003 - the library's signature
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                made.setsockopt(socket.IPPROTO_TCP, option, value)
            if self._tls:
                # the first reads do the handshake, so that no one waits for a client that does not
                made = self._tls.wrap_socket(made, server_side=True, do_handshake_on_connect=False)
            self._connections[made] = _Connection(address, self._message_size)
            self._counts[address] += 1
            self._waiter.add(made, (self._receive, made))
            self._receive(made)
        return True

    def accept_last(self, listening: socket.socket, seconds: float) -> None:
        """Accept waiting connections, for a limited number of seconds."""
        until = time.monotonic() + seconds
        while listening not in self._resting and time.monotonic() < until and self._accept_one(listening):
            pass

    def close(self, seconds: float) -> None:
        """Receive data already sent, for a limited number of seconds, and close all connections."""
        until = time.monotonic() + seconds
        for one in list(self._connections):
            while time.monotonic() < until and self._receive_once(one):
                pass
            if one in self._connections:
                self._end(one)

    def _make_room(self, address: str) -> bool:
        """Close the oldest connection of the sender with most, unless the new sender has about as many."""
        worst, most = self._counts.most_common(1)[0]
        if most <= self._counts[address] + 1:
            return False
        oldest = next(one for one, connection in self._connections.items() if connection.address == worst)
        self._end(oldest)
        self._inbox.drop(
            worst, DropReason.CONNECTIONS, "has most connections and loses the oldest to other senders"
        )
        return True

    def _rest(self, one: socket.socket, seconds: float, act: Callable[[socket.socket], object]) -> None:
        """Wait for a socket only after a time."""
        self._waiter.remove(one)
        self._resting[one] = time.monotonic() + seconds, act

    def _pause(self, one: socket.socket, seconds: float) -> None:
        """Read a connection only after a time."""
        self._emptied.pop(one, None)
        self._waiting[self._connections[one].address].setdefault(one, time.monotonic())
        self._rest(one, seconds, self._receive)

    def _receive(self, one: socket.socket) -> None:
        connection = self._connections.get(one)
        if connection is None:  # closed since it was readable
            return
        if self._inbox.full(connection.address):
            self._count_unread(one, 0)
            self._pause(one, REST)
        elif (size := self._receive_once(one)) and (owed := self._inbox.owes(connection.address, size)):
            self._pause(one, owed)

    def _receive_once(self, one: socket.socket) -> int:
        """Receive the data of a connection; return the number of bytes."""
        connection = self._connections[one]
        try:
            data = one.recv(RECEIVED)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._all_received(one)
            return 0
        except OSError as error:
            data = b""
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                self._inbox.drop(connection.address, DropReason.ENCODING, handshake_fault(error))
        if not connection.began and (what := unreadable(data)):
            self._inbox.drop(connection.address, DropReason.ENCODING, what)
            data = b""
        connection.began = True
        for message in connection.framing.take(data):
            self._inbox.put(connection.address, message)
        self._count(connection)
        if data:
            self._count_unread(one, len(data))
        else:
            self._end(one)
        return len(data)

    def _count_unread(self, one: socket.socket, size: int) -> None:
        """Note how much more a readable connection holds, and up to when everything was received.

        :param size: bytes that were received from it.
        """
        connection = self._connections[one]
        now = time.monotonic()
        unread = _unread(one)
        self._emptied.pop(one, None)
        if not unread:
            self._all_received(one)
        elif size >= connection.unread:
            waiting = self._waiting[connection.address]
            waiting[one] = connection.seen if connection.unread else waiting.get(one, self._looked_before)
            connection.unread, connection.seen = unread, now
        else:  # TLS received more than the text that it returned
            connection.unread -= size

    def _all_received(self, one: socket.socket) -> None:
        """Note that a connection holds no more now."""
        connection = self._connections[one]
        connection.unread = 0
        waiting = self._waiting.get(connection.address, {})
        if one in waiting:
            now = self._emptied[one] = time.monotonic()
            waiting[one] = max(waiting[one], now - GRACE)

    def _forget(self, one: socket.socket) -> None:
        """Note that a connection has held no more for some time."""
        self._emptied.pop(one, None)
        address = self._connections[one].address
        if waiting := self._waiting.get(address):
            waiting.pop(one, None)
            if not waiting:
                del self._waiting[address]

    def _end(self, one: socket.socket) -> None:
        self._forget(one)
        connection = self._connections.pop(one)
        self._counts[connection.address] -= 1
        if not self._counts[connection.address]:
            del self._counts[connection.address]
        if self._resting.pop(one, None) is None:
            self._waiter.remove(one)
        one.close()
        for message in connection.framing.rest():
            self._inbox.put(connection.address, message)
        connection.framing.held.clear()
        self._count(connection)

    def _count(self, connection: _Connection) -> None:
        """Count the bytes of the incomplete message."""
        held = len(connection.framing.held)
        self._share.change(held - connection.held)
        connection.held = held


def _unread(one: socket.socket) -> int:
    """Return the bytes that wait in a socket (ioctl(2), ``FIONREAD`` of tcp(7))."""
    waiting = array.array("i", [0])
    fcntl.ioctl(one, termios.FIONREAD, waiting)
    return waiting[0]
