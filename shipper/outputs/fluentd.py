"""Fluentd and Fluent Bit, in the forward protocol, on top of fluent-logger.

fluent-logger writes one event and hopes. Here a chunk of events is sent and its acknowledgement
awaited, behind TLS and the handshake where they are set.

An acknowledgement says that the receiver has buffered the chunk: with a memory buffer it is gone when
the receiver is killed, so its buffers belong on disk. What is sent again after we were killed comes in
chunks of the same names, but the receivers that there are do not recognise a repeated chunk;
``labels.document_id`` is in every record for what stands behind them (``id_key``).

:see: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1.5
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import hmac
import secrets
import socket
import ssl
import time
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import msgpack
import msgspec
from fluent.sender import EventTime, FluentSender

from kpanic.shipper.api import (
    TLS,
    DeliveryStatus,
    Outcome,
    Positive,
    ReadFile,
    Seconds,
    Settings,
    Unavailable,
    connection_error,
    read_secret,
    timestamp,
    tls_context,
    with_delivery_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpanic.shipper.api import Stored

__all__ = ["FluentdConfig", "FluentdOutput"]

CHUNK_BYTES = 2_000_000  # Fluent Bit closes on 6,144,000, without a word
PATIENCE = 3  # unacknowledged tries before a chunk is halved
ANSWER_BYTES = 65_536  # more than any HELO, PONG or ack


class ForwardTLS(TLS, frozen=True, kw_only=True):
    """The ``ssl`` keys, and whether there is TLS at all."""

    enabled: bool = False


class FluentdConfig(Settings, frozen=True, kw_only=True):
    """``output.fluentd``."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    """``collector:24224``; the next one is tried when one fails."""
    tag: Annotated[str, msgspec.Meta(min_length=1)] = "kernel.panic"
    require_ack: bool = True
    """Without, what the network or the receiver loses is lost."""
    compress: Literal["none", "gzip"] = "none"
    shared_key: str = ""
    shared_key_file: ReadFile = ""
    username: str = ""
    password: str = ""
    password_file: ReadFile = ""
    self_hostname: str = ""
    """Our name in the handshake; must differ from the receiver's."""
    ssl: ForwardTLS = ForwardTLS()
    timeout: Seconds = 10
    """To connect, and for each answer of the handshake."""
    ack_timeout: Seconds = 60
    bulk_max_size: Positive = 250

    def __post_init__(self) -> None:
        for index, host in enumerate(self.hosts):
            try:
                _address(host)
            except ValueError:
                raise ValueError(f"hosts[{index}]: expected an address like collector:24224") from None
        for key in ("shared_key", "password"):
            if getattr(self, key) and getattr(self, f"{key}_file"):
                raise ValueError(f"{key} and {key}_file exclude each other")
        if self.username and not (self.shared_key or self.shared_key_file):
            raise ValueError("username: the forward protocol asks for users only together with a shared_key")


class FluentdOutput:
    """``output.fluentd``."""

    Config = FluentdConfig
    name = "fluentd"

    def __init__(self, config: FluentdConfig) -> None:
        key = read_secret(config.shared_key, config.shared_key_file, "shared_key")
        password = read_secret(config.password, config.password_file, "password")
        tls = tls_context(config.ssl) if config.ssl.enabled else None
        handshake = Handshake(
            key, config.username, password, config.self_hostname or f"{socket.gethostname()}-kpanic"
        )
        self._senders = deque(ForwardSender(*_address(host), config, tls, handshake) for host in config.hosts)
        self._gzip = config.compress == "gzip"
        self._documents = config.bulk_max_size
        self._tries: dict[str, int] = {}
        self._silent: dict[str, int] = {}
        """Documents that failed alone: 0; 1 once others were acknowledged; 1 more each time since."""

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send in chunks; one that nobody acknowledges is halved after a few tries.

        A document alone that is still not acknowledged is rejected, but only when the receiver acknowledged
        others after that, or nothing at all, and it stays so: a receiver that comes and goes leaves innocent
        ones unanswered.

        :raises Unavailable: no document of the batch was settled.
        """
        packed, outcomes = _pack(batch)
        failure = ""
        try:
            for chunk, error in self._attempts([stored for stored in batch if stored.id in packed], packed):
                failure = error or failure
                name = chunk[0].id
                if not error:
                    outcomes |= {stored.id: Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in chunk}
                    self._silent |= dict.fromkeys(
                        (one for one, times in self._silent.items() if not times), 1
                    )
                elif len(chunk) == 1 and self._tries[name] >= PATIENCE:
                    if self._silent.setdefault(name, 0) or self._answers():
                        self._silent[name] += 1
                    if self._silent[name] > PATIENCE:
                        reason = f"never acknowledged, though others are: {error}"
                        outcomes[name] = Outcome(name, DeliveryStatus.REJECTED, reason)
        except Unavailable as down:
            failure = str(down)
        for settled in outcomes:
            self._tries.pop(settled, None)
            self._silent.pop(settled, None)
        if batch and not outcomes:
            raise Unavailable(failure)
        return [
            outcomes.get(stored.id) or Outcome(stored.id, DeliveryStatus.RETRY, failure) for stored in batch
        ]

    def _attempts(
        self, batch: Sequence[Stored], packed: dict[str, bytes]
    ) -> Iterator[tuple[list[Stored], str]]:
        """Send each chunk, halved where it has been tried often enough; yield it and why it failed.

        :raises Unavailable: no host takes connections.
        """
        waiting = deque(_chunks(batch, packed, self._documents))
        unanswered = 0
        # One bad document costs as many silences as there are halvings; more of them are an outage.
        while waiting and unanswered <= len(batch).bit_length() + 1:
            chunk = waiting.popleft()
            try:
                self._forward(chunk, packed)
            except Unacknowledged as error:
                for stored in chunk:
                    self._tries[stored.id] = self._tries.get(stored.id, 0) + 1
                yield chunk, str(error)
                unanswered += 1
                if max(self._tries[stored.id] for stored in chunk) < PATIENCE:
                    return
                if half := len(chunk) // 2:
                    waiting.extendleft((chunk[half:], chunk[:half]))
            else:
                yield chunk, ""
                unanswered = 0

    def check(self) -> str:
        """Connect to every host, handshake included.

        :raises Unavailable: none of them answers.
        """
        said, reached = [], False
        for sender in list(self._senders):
            try:
                sender.connect()
            except OSError as error:
                said.append(f"{sender.address}: {connection_error(error)}")
            else:
                reached = True
                said.append(f"{sender.address}: connected")
        if not reached:
            raise Unavailable(f"fluentd: {'; '.join(said)}")
        return f"Fluentd at {'; '.join(said)}"

    def close(self) -> None:
        """Let go of the connections."""
        for sender in self._senders:
            sender.close()

    def _answers(self) -> bool:
        """Tell whether a chunk of nothing is acknowledged."""
        try:
            self._forward([], {})
        except (Unacknowledged, Unavailable):
            return False
        return True

    def _forward(self, chunk: Sequence[Stored], packed: dict[str, bytes]) -> None:
        """Send to the first host that takes connections; the one that failed comes last next time.

        :raises Unavailable: none of them does.
        :raises Unacknowledged: the chunk was sent, and no more is known.
        """
        # The same documents make the same chunk: a receiver that knows chunks can know this one again.
        identity = hashlib.sha256("\0".join(stored.id for stored in chunk).encode()).digest()[:16]
        entries = b"".join(packed[stored.id] for stored in chunk)
        failures = []
        for _ in range(len(self._senders)):
            sender = self._senders[0]
            try:
                sender.connect()
            except OSError as error:
                failures.append(f"{sender.address}: {connection_error(error)}")
                self._senders.rotate(-1)
                continue
            try:
                sender.forward(entries, len(chunk), base64.b64encode(identity).decode(), compress=self._gzip)
            except OSError as error:
                self._senders.rotate(-1)
                raise Unacknowledged(f"fluentd: {sender.address}: {connection_error(error)}") from error
            return
        raise Unavailable(f"fluentd: {'; '.join(failures)}")


class Unacknowledged(Exception):  # noqa: N818 - it says what the chunk is
    """A chunk was sent, but whether it arrived is not known."""


class Handshake(msgspec.Struct, frozen=True):
    """What the client proves, and what it asks to be proved. Secrets: shown nowhere."""

    shared_key: str
    username: str
    password: str
    hostname: str

    def __repr__(self) -> str:
        return "Handshake(…)"

    def perform(self, sender: ForwardSender) -> bool:
        """HELO, PING, PONG; tells whether the receiver keeps connections open.

        :raises OSError: no answer in time, or either side does not know the key.
        """
        kind, options, *_ = _fields(sender.receive(), 2)
        if kind != b"HELO" or not isinstance(options, dict):
            raise ConnectionError("no HELO; this receiver has no <security>")
        nonce, auth = (_bytes(options.get(key, b"")) for key in (b"nonce", b"auth"))
        # Fluent Bit takes the salt as a string only, and the whole PING in one write.
        salt = secrets.token_hex(16)
        key = self.shared_key.encode()
        ours = hashlib.sha512(salt.encode() + self.hostname.encode() + nonce + key).hexdigest()
        user = (
            hashlib.sha512(auth + self.username.encode() + self.password.encode()).hexdigest() if auth else ""
        )
        sender.transmit(
            msgpack.packb(["PING", self.hostname, salt, ours, self.username if auth else "", user])
        )
        try:
            kind, accepted, reason, name, digest, *_ = _fields(sender.receive(), 5)
        except ConnectionError as error:  # Fluent Bit says no by hanging up
            raise ConnectionError("closed after our PING: shared key or user refused") from error
        if kind != b"PONG" or accepted is not True:
            raise ConnectionError(f"shared key or user refused: {_bytes(reason).decode('utf-8', 'replace')}")
        theirs = hashlib.sha512(salt.encode() + _bytes(name) + nonce + key).hexdigest()
        if not hmac.compare_digest(theirs.encode(), _bytes(digest)):
            raise ConnectionError("the receiver does not know the shared key")
        return options.get(b"keepalive", True) is not False


class ForwardSender(FluentSender):  # type: ignore[misc] # it has no types
    """A connection to one receiver.

    Overrides what fluent-logger keeps private: it is pinned to the minor version.
    """

    socket: Any

    def __init__(
        self, host: str, port: int, config: FluentdConfig, tls: ssl.SSLContext | None, handshake: Handshake
    ) -> None:
        super().__init__(config.tag, host, port, timeout=config.timeout, nanosecond_precision=True)
        self.address = f"{host}:{port}"
        self._ack_timeout = config.ack_timeout if config.require_ack else None
        self._tls = tls
        self._handshake = handshake
        self._unpacker = msgpack.Unpacker(raw=True)
        self._keepalive = True

    def connect(self) -> None:
        """Connect and greet, unless that has been done and the receiver is still there.

        :raises OSError: refused, too slow, not trusted.
        """
        with self.lock:
            if self.socket and not self._alive():
                self._close()
            self._reconnect()

    def forward(self, entries: bytes, count: int, chunk: str, *, compress: bool) -> None:
        """Send ``count`` packed entries as one chunk and wait until they are acknowledged.

        :raises OSError: they were not.
        """
        option: dict[str, Any] = {"size": count}
        if self._ack_timeout is not None:
            option["chunk"] = chunk
        if compress:
            entries, option["compressed"] = gzip.compress(entries, 1), "gzip"
        with self.lock:
            self._reconnect()
            try:
                self.transmit(msgpack.packb([self.tag, entries, option]))
                if self._ack_timeout is not None:
                    self._acknowledge(chunk, self._ack_timeout)
            except BaseException:
                self._close()
                raise
            if not self._keepalive:
                self._close()

    def transmit(self, message: bytes) -> None:
        """Write one message.

        :raises OSError: it was not written.
        """
        self.socket.sendall(message)

    def receive(self, seconds: float | None = None) -> object:
        """Read one message, within ``seconds`` or the timeout.

        :raises OSError: none came, or what came is no msgpack.
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

    def _reconnect(self) -> None:
        if self.socket:
            return
        self._unpacker = msgpack.Unpacker(raw=True, max_buffer_size=ANSWER_BYTES)
        self._keepalive = True
        raw = socket.create_connection((self.host, self.port), self.timeout)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = self._tls.wrap_socket(raw, server_hostname=self.host) if self._tls else raw
            if self._handshake.shared_key:
                self._keepalive = self._handshake.perform(self)
        except BaseException:
            raw.close()
            self._close()
            raise

    def _acknowledge(self, chunk: str, seconds: float) -> None:
        answer = self.receive(seconds)
        if isinstance(answer, list) and answer[:1] == [b"HELO"]:
            raise ConnectionError("the receiver asks for a shared key; set shared_key")
        if not isinstance(answer, dict) or _bytes(answer.get(b"ack", b"")) != chunk.encode():
            raise ConnectionError("acknowledged something else")

    def _alive(self) -> bool:
        """Tell an idle connection from one that the receiver has left."""
        try:
            self.socket.settimeout(0)
            # Nothing is expected on an idle connection: neither an end nor a byte.
            self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                self.socket.settimeout(self.timeout)
        return False


def _address(host: str) -> tuple[str, int]:
    """Read ``collector:24224``, ``[::1]:24224`` or ``collector``.

    :raises ValueError: it is none of these.
    """
    parts = urlsplit(f"//{host}")
    if not parts.hostname or parts.path or parts.username:
        raise ValueError(host)
    return parts.hostname, parts.port or 24224


def _chunks(batch: Sequence[Stored], packed: dict[str, bytes], documents: int) -> Iterator[list[Stored]]:
    chunk: list[Stored] = []
    size = 0
    for stored in batch:
        length = len(packed[stored.id])
        if chunk and (size + length > CHUNK_BYTES or len(chunk) >= documents):
            yield chunk
            chunk, size = [], 0
        chunk.append(stored)
        size += length
    if chunk:
        yield chunk


def _pack(batch: Sequence[Stored]) -> tuple[dict[str, bytes], dict[str, Outcome]]:
    """Pack each document; those that msgpack has no form for (an integer over 64 bits) are rejected."""
    packed, outcomes, moment = {}, {}, timestamp()
    for stored in batch:
        try:
            packed[stored.id] = _entry(stored, moment)
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            outcomes[stored.id] = Outcome(
                stored.id, DeliveryStatus.REJECTED, f"cannot be sent as msgpack: {error}"
            )
    return packed, outcomes


def _entry(stored: Stored, moment: str) -> bytes:
    """Pack ``[time, record]``; a float as time would be dropped without a word."""
    record = msgspec.json.decode(
        with_delivery_fields(stored.body, moment, document_id=stored.id), type=dict[str, Any]
    )
    text = record.get("@timestamp") or moment
    nanoseconds = int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1_000
    packed: bytes = msgpack.packb([EventTime.from_unix_nano(max(0, nanoseconds)), record])
    return packed


def _fields(answer: object, count: int) -> list[Any]:
    if not isinstance(answer, list) or len(answer) < count:
        raise ConnectionError("the answer is not of the forward protocol")
    return answer


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
