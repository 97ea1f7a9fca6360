"""Fluentd's forward protocol on top of fluent-logger: chunks that are acknowledged, the handshake, TLS.

fluent-logger writes an event and does not wait for an answer. Here a chunk of events is sent and its
acknowledgement awaited.

:see: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1.5
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import hmac
import secrets
import socket
import ssl
import time
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgpack
import msgspec
from fluent.sender import EventTime, FluentSender

from kpanic.shipper.api import connection_error

__all__ = ["Flight", "ForwardSender", "Handshake", "event_time"]

ANSWER_BYTES: Final = 65_536
"""Maximum bytes of an answer: more than any HELO, PONG or acknowledgement."""
GIVEN_UP: Final = 5
"""Times as long as a chunk takes to be overdue, after which a silent connection is given up."""
LONGEST_SILENCE: Final = 1800.0
"""Maximum seconds until a silent connection is given up."""
LATEST: Final = (1 << 32) - 1
"""Seconds of the last moment that the protocol can express, in the year 2106."""
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""Seconds until a silent receiver's host is probed, seconds between probes, and their number."""


def event_time(stamp: str) -> EventTime:
    """Return an ISO 8601 stamp as the time of an event, or the nearest that the protocol can express.

    :raises ValueError: it is no stamp.
    """
    seconds = min(max(0.0, datetime.fromisoformat(stamp).timestamp()), LATEST)
    return EventTime.from_unix_nano(int(seconds * 1_000_000) * 1_000)


class Handshake(msgspec.Struct, frozen=True):
    """The secrets that client and receiver prove to know. The representation shows no secret.

    :param hostname: this client's name in the handshake; must differ from the receiver's.
    """

    shared_key: str
    username: str
    password: str
    hostname: str

    def __repr__(self) -> str:
        return "Handshake(…)"

    def perform(self, sender: ForwardSender) -> bool:
        """Exchange HELO, PING and PONG; return whether the receiver keeps connections open.

        :raises OSError: no answer in time, or one side does not know the key.
        """
        try:
            greeting = sender.receive()
        except TimeoutError:
            raise TimeoutError(
                "no HELO in time: no answer in time; if the receiver has no <security>, remove shared_key;"
                " if it speaks TLS, set ssl.enabled"
            ) from None
        kind, options, *_ = _fields(greeting, 2)
        if kind != b"HELO" or not isinstance(options, dict):
            raise ConnectionError("no HELO; if the receiver has no <security>, remove shared_key")
        nonce, auth = (_bytes(options.get(key, b"")) for key in (b"nonce", b"auth"))
        # Fluent Bit takes the salt only as a string, and the PING only in one write.
        salt = secrets.token_hex(16)
        user = ""
        if auth:
            user = hashlib.sha512(auth + self.username.encode() + self.password.encode()).hexdigest()
        ours = self._digest(salt, self.hostname.encode(), nonce)
        sender.transmit(
            msgpack.packb(["PING", self.hostname, salt, ours, self.username if auth else "", user])
        )
        try:
            kind, accepted, reason, name, digest, *_ = _fields(sender.receive(), 5)
        except ConnectionError as error:  # Fluent Bit refuses by closing
            raise ConnectionError("closed after our PING: shared key or user refused") from error
        if kind != b"PONG" or accepted is not True:
            raise ConnectionError(f"shared key or user refused: {_bytes(reason).decode('utf-8', 'replace')}")
        if _bytes(name) == self.hostname.encode():  # it repeats the digest of the PING
            raise ConnectionError("the receiver answers with our own name; set self_hostname to another")
        theirs = self._digest(salt, _bytes(name), nonce)
        if not hmac.compare_digest(theirs.encode(), _bytes(digest)):
            raise ConnectionError("the receiver does not know the shared key")
        return options.get(b"keepalive", True) is not False

    def _digest(self, salt: str, name: bytes, nonce: bytes) -> str:
        return hashlib.sha512(salt.encode() + name + nonce + self.shared_key.encode()).hexdigest()


class Flight(NamedTuple):
    """A chunk that was sent and is not acknowledged."""

    documents: tuple[str, ...]
    """The ids of its documents."""
    since: float
    """When the chunk was sent, on the monotonic clock."""


class ForwardSender(FluentSender):  # type: ignore[misc] # it has no types
    """A connection to one receiver.

    Overrides private methods of fluent-logger, which is pinned to its minor version.

    :param timeout: seconds to connect, and for each answer of the handshake.
    :param ack_timeout: seconds for an acknowledgement; None to ask for none.
    :param tls: None to speak plain TCP.
    """

    socket: Any

    def __init__(  # noqa: PLR0913 - all that a connection may differ in
        self,
        tag: str,
        address: tuple[str, int],
        *,
        timeout: float,
        ack_timeout: float | None,
        tls: ssl.SSLContext | None,
        handshake: Handshake,
    ) -> None:
        host, port = address
        super().__init__(tag, host, port, timeout=timeout, nanosecond_precision=True)
        self.address = f"{host}:{port}"
        self._ack_timeout = ack_timeout
        self._tls = tls
        self._handshake = handshake
        self._unpacker = msgpack.Unpacker(raw=True)
        self._keepalive = True
        self.flights: dict[str, Flight] = {}
        """Chunks sent over this connection that may still be acknowledged, oldest first, by their names."""
        self.acknowledged: list[Flight] = []
        """Chunks that were acknowledged; the reader of the list empties it."""
        self._shortest = 2 * (ack_timeout or 0.0)
        self._patience = self._shortest
        """Seconds without an acknowledgement after which a chunk is overdue."""

    def connect(self) -> None:
        """Connect and shake hands, unless a connection exists and the receiver still holds it.

        :raises OSError: the receiver refuses, is too slow, or is not trusted.
        """
        with self.lock:
            if self.socket and not self._alive():
                self._close()
            self._reconnect()

    def forward(
        self, entries: bytes, documents: tuple[str, ...], chunk: str, *, tag: str, compress: bool
    ) -> None:
        """Send packed entries as one chunk unless it is in flight, and wait until it is acknowledged.

        A slow receiver has the chunk in its socket and would store a repeat again. So a silent connection is
        kept until its silence is far longer than any answer took; the next connection gets twice that time.

        :param documents: the ids of the entries' documents.
        :param chunk: the chunk's name.
        :raises TimeoutError: the chunk is in flight, or the connection was given up.
        :raises OSError: the chunk was not acknowledged.
        """
        with self.lock:
            self._reconnect()
            try:
                if self._ack_timeout is None:
                    self._send_chunk(tag, entries, {"size": len(documents)}, compress=compress)
                    self.acknowledged.append(Flight(documents, time.monotonic()))
                else:
                    if chunk not in self.flights:
                        option = {"size": len(documents), "chunk": chunk}
                        self._send_chunk(tag, entries, option, compress=compress)
                        self.flights[chunk] = Flight(documents, time.monotonic())
                    self._acknowledge(chunk, self._ack_timeout)
            except BaseException as error:
                sent = self.flights.get(chunk)
                if isinstance(error, TimeoutError) and sent and not self._give_up(sent):
                    raise
                self._close()
                if isinstance(error, ConnectionError) and self._tls is None:
                    hint = f"{error.strerror or error}; if it speaks TLS, set ssl.enabled"
                    raise ConnectionError(hint) from error
                raise
            if not self._keepalive:
                self._close()

    def _send_chunk(self, tag: str, entries: bytes, option: dict[str, Any], *, compress: bool) -> None:
        if compress:
            entries, option["compressed"] = gzip.compress(entries, 1), "gzip"
        self.transmit(msgpack.packb([tag, entries, option]))

    def _give_up(self, sent: Flight) -> bool:
        """Tell whether a silent connection is given up; the next connection gets more time."""
        if time.monotonic() - sent.since < GIVEN_UP * self._patience:
            return False
        self._patience = max(self._patience, min(2 * self._patience, LONGEST_SILENCE / GIVEN_UP))
        return True

    def overdue(self, chunk: str) -> bool:
        """Tell whether a chunk is in flight for far longer than others were."""
        sent = self.flights.get(chunk)
        return sent is not None and time.monotonic() - sent.since >= self._patience

    def transmit(self, message: bytes) -> None:
        """Write one message.

        :raises OSError: it was not written.
        """
        self.socket.sendall(message)

    def receive(self, seconds: float | None = None) -> object:
        """Read one message within so many seconds, by default the timeout.

        :raises OSError: none came, or it is not msgpack.
        """
        deadline = time.monotonic() + (seconds or self.timeout)
        while True:
            try:
                for answer in self._unpacker:
                    return answer
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
                if not (data := self.socket.recv(ANSWER_BYTES)):
                    raise ConnectionError("closed by the receiver")
                self._unpacker.feed(data)
            except TimeoutError as error:
                raise TimeoutError("no answer in time") from error
            except (ValueError, msgpack.UnpackException, msgpack.BufferFull) as error:
                raise ConnectionError("the answer is not of the forward protocol") from error
            finally:
                self.socket.settimeout(self.timeout)

    def _close(self) -> None:
        self.flights.clear()
        super()._close()

    def _reconnect(self) -> None:
        if self.socket:
            return
        self._unpacker = msgpack.Unpacker(raw=True, max_buffer_size=ANSWER_BYTES)
        self._keepalive = True
        raw = socket.create_connection((self.host, self.port), self.timeout)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                raw.setsockopt(socket.IPPROTO_TCP, option, value)
            self.socket = self._wrapped(raw)
            if self._handshake.shared_key:
                self._keepalive = self._handshake.perform(self)
        except BaseException:
            raw.close()
            self._close()
            raise

    def _wrapped(self, raw: socket.socket) -> Any:  # noqa: ANN401 - plain or of TLS
        if self._tls is None:
            return raw
        try:
            return self._tls.wrap_socket(raw, server_hostname=self.host)
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            raise ConnectionError(
                f"{connection_error(error)}; if the receiver speaks no TLS, set ssl.enabled to false"
            ) from None

    def _acknowledge(self, chunk: str, seconds: float) -> None:
        """Wait for the acknowledgement of a chunk; those of chunks before it may come first."""
        until = time.monotonic() + seconds
        while True:
            answer = self.receive(max(0.001, until - time.monotonic()))
            if isinstance(answer, list) and answer[:1] == [b"HELO"]:
                raise ConnectionError("the receiver asks for a shared key; set shared_key")
            name = (
                _bytes(answer.get(b"ack", b"")).decode("utf-8", "replace") if isinstance(answer, dict) else ""
            )
            if name not in self.flights:
                raise ConnectionError("acknowledged something else")
            # Acknowledgements come in order: an earlier chunk that is still unacknowledged has failed.
            for passed in list(self.flights):
                sent = self.flights.pop(passed)
                if passed == name:
                    break
            self.acknowledged.append(sent)
            self._patience = max(self._shortest, 2 * (time.monotonic() - sent.since))
            if name == chunk:
                return
            if chunk not in self.flights:
                raise ConnectionError("acknowledged a later chunk")

    def _alive(self) -> bool:
        """Tell whether the receiver of an idle connection is still there."""
        try:
            self.socket.settimeout(0)
            data = self.socket.recv(ANSWER_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                self.socket.settimeout(self.timeout)
        # Only late acknowledgements are expected: no end and no other bytes.
        if not data or not self.flights:
            return False
        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull:
            return False
        return True


def _fields(answer: object, count: int) -> list[Any]:
    if not isinstance(answer, list) or len(answer) < count:
        raise ConnectionError("the answer is not of the forward protocol")
    return answer


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
