"""Fluentd and Fluent Bit: ``output.fluentd``.

An acknowledgement means that the receiver has buffered a chunk. A memory buffer is lost when the receiver is
killed, so its buffers belong on disk. After a kill of kpanic the same documents come again in chunks of the
same names, but receivers do not recognise a repeated chunk. ``labels.document_id`` is in every record for the
receiver's own output (``id_key``).
"""

from __future__ import annotations

import base64
import hashlib
import socket
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgpack
import msgspec

from kpanic.shipper.api import (
    DeliveryStatus,
    OptionalTLS,
    Outcome,
    Positive,
    ReadFile,
    Seconds,
    Settings,
    Stored,
    Unavailable,
    check_addresses,
    connection_error,
    read_secret,
    split_address,
    timestamp,
    tls_context,
    with_delivery_fields,
)
from kpanic.shipper.batch import groups
from kpanic.shipper.outputs.forward import ForwardSender, Handshake, event_time
from kpanic.shipper.outputs.outcomes import outcomes_of
from kpanic.shipper.signature_document import outline, signature_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["FluentdConfig", "FluentdOutput"]

PORT: Final = 24224
CHUNK_BYTES: Final = 2_000_000
"""Maximum bytes of a chunk; Fluent Bit closes the connection at 6,144,000, without a message."""
PATIENCE: Final = 3
"""Tries without an acknowledgement before a chunk is halved, or a document alone is rejected."""
MOST_SILENCES: Final = 2
"""Consecutive chunks without an acknowledgement that end a try."""


class FluentdConfig(Settings, frozen=True, kw_only=True):
    """``output.fluentd``."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    """``collector:24224``; the next one is tried when one fails."""
    tag: Annotated[str, msgspec.Meta(min_length=1)] = "kernel.panic"
    signatures: bool = False
    """Send a document for each new signature too, with ``.signature`` behind the tag."""
    require_ack: bool = True
    """Ask for acknowledgements. Without them, documents that the network or the receiver loses are lost."""
    compress: Literal["none", "gzip"] = "none"
    shared_key: str = ""
    shared_key_file: ReadFile = ""
    username: str = ""
    password: str = ""
    password_file: ReadFile = ""
    self_hostname: str = ""
    """This client's name in the handshake; must differ from the receiver's."""
    ssl: OptionalTLS = OptionalTLS()
    timeout: Seconds = 10
    """Maximum seconds to connect, and for each answer of the handshake."""
    ack_timeout: Seconds = 60
    """Maximum seconds for an acknowledgement. A receiver that needs ten times as long may get documents
    twice.
    """
    bulk_max_size: Positive = 250

    def __post_init__(self) -> None:
        check_addresses(self.hosts, PORT, "collector:24224")
        for key in ("shared_key", "password"):
            if getattr(self, key) and getattr(self, f"{key}_file"):
                raise ValueError(f"{key} and {key}_file exclude each other")
        if self.username and not (self.shared_key or self.shared_key_file):
            raise ValueError("username: the forward protocol asks for users only together with a shared_key")


class Unacknowledged(Exception):  # noqa: N818 - a property of the chunk
    """A chunk was sent, but its arrival is unknown.

    :ivar in_flight: whether it may still be acknowledged.
    :ivar overdue: whether it is in flight for far longer than the receiver needed for other chunks.
    """

    def __init__(self, message: str, *, in_flight: bool, overdue: bool) -> None:
        super().__init__(message)
        self.in_flight = in_flight
        self.overdue = overdue


class FluentdOutput:
    """``output.fluentd``."""

    Config = FluentdConfig
    name = "fluentd"

    def __init__(self, config: FluentdConfig) -> None:
        key = read_secret(config.shared_key, config.shared_key_file, "shared_key")
        password = read_secret(config.password, config.password_file, "password")
        hostname = config.self_hostname or f"{socket.gethostname()}-kpanic"
        self._senders = deque(
            ForwardSender(
                config.tag,
                split_address(host, PORT),
                timeout=config.timeout,
                ack_timeout=config.ack_timeout if config.require_ack else None,
                tls=tls_context(config.ssl) if config.ssl.enabled else None,
                handshake=Handshake(key, config.username, password, hostname),
            )
            for host in config.hosts
        )
        self._gzip = config.compress == "gzip"
        self._documents = config.bulk_max_size
        self._tag = config.tag
        self._signed: set[str] | None = set() if config.signatures else None
        """Signatures whose documents were acknowledged; None if such documents are not sent."""
        self._tries: dict[str, int] = {}
        """Tries of each document without an acknowledgement."""
        self._largest = 0
        """Bytes of the largest chunk that was acknowledged."""
        self._alone: dict[str, int] = {}
        """How often a document failed alone although others were acknowledged since its previous failure."""
        self._lively: set[str] = set()
        """Documents that failed alone, and since whose last failure others were acknowledged."""

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send in chunks; a chunk that is not acknowledged in a few tries is halved.

        A document is rejected only for its size: if it is larger than any acknowledged chunk, and repeatedly
        fails alone while other documents are acknowledged. A full or unstable receiver leaves valid documents
        without an answer: they stay pending.

        :raises Unavailable: no document of the batch was settled.
        """
        packed, outcomes = _pack(batch)
        failure = ""
        try:
            for chunk, error in self._attempts([stored for stored in batch if stored.id in packed], packed):
                failure = error or failure
                size = sum(len(packed[stored.id]) for stored in chunk)
                if not error:
                    outcomes |= {stored.id: Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in chunk}
                    self._largest = max(self._largest, size)
                    self._lively |= self._alone.keys()
                elif len(chunk) == 1 and self._tries[name := chunk[0].id] >= PATIENCE:
                    self._alone[name] = self._alone.get(name, 0) + (name in self._lively)
                    self._lively.discard(name)
                    if self._alone[name] >= PATIENCE and size > self._largest:
                        reason = f"never acknowledged, though smaller ones are: {error}"
                        outcomes[name] = Outcome(name, DeliveryStatus.REJECTED, reason)
        except Unavailable as down:
            failure = str(down)
        for settled in outcomes:
            self._tries.pop(settled, None)
            self._alone.pop(settled, None)
            self._lively.discard(settled)
        return outcomes_of(batch, outcomes, failure)

    def check(self) -> str:
        """Connect to every host, with the handshake.

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
        """Close the connections."""
        for sender in self._senders:
            sender.close()

    def _attempts(
        self, batch: Sequence[Stored], packed: dict[str, bytes]
    ) -> Iterator[tuple[list[Stored], str]]:
        """Send each chunk, halved after enough tries; yield failed chunks and why they failed.

        A chunk in flight has not failed: the receiver may be slow, and would store a repeat again. The
        chunk's smallest document is sent after it: once that is acknowledged, the chunk has failed. Silence
        is yielded without a chunk.

        :raises Unavailable: no host takes connections.
        """
        waiting = deque(self._chunks(batch, packed))
        silent: list[list[Stored]] = []
        unanswered = silences = 0
        # One bad document costs as many silences as there are halvings; more of them are an outage.
        while waiting and unanswered <= len(batch).bit_length() + 1 and silences < MOST_SILENCES:
            chunk = waiting.popleft()
            failure = None
            try:
                self._forward(chunk, packed)
            except Unacknowledged as error:
                failure = error
                unanswered += 1
            for settled in self._settled(batch):
                yield settled, ""
                unanswered = silences = 0
                for one in self._overtaken(silent, chunk, settled):
                    yield one, "acknowledged a later chunk, and not this one"
                    waiting.extendleft(_halves(one))
            if failure is None:
                continue
            if failure.in_flight:
                yield [], str(failure)
                silences += 1
                silent.append(chunk)
                if not failure.overdue:
                    return
                if len(chunk) > 1:
                    waiting.appendleft([min(chunk, key=lambda stored: len(packed[stored.id]))])
                continue
            tries = self._count_try(chunk)
            yield chunk, str(failure)
            if tries < PATIENCE:
                return
            waiting.extendleft(_halves(chunk))

    def _forward(self, chunk: Sequence[Stored], packed: dict[str, bytes]) -> None:
        """Send to the first host that takes connections; a host that failed comes last next time.

        :raises Unavailable: none of them does.
        :raises Unacknowledged: the chunk was sent, and no more is known.
        """
        entries = b"".join(packed[stored.id] for stored in chunk)
        documents = tuple(stored.id for stored in chunk)
        name = _chunk_name(documents)
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
                if self._signed is not None:
                    self._forward_signatures(sender, chunk, self._signed)
                sender.forward(entries, documents, name, tag=self._tag, compress=self._gzip)
            except OSError as error:
                self._senders.rotate(-1)
                raise Unacknowledged(
                    f"fluentd: {sender.address}: {connection_error(error)}",
                    in_flight=bool(sender.flights),
                    overdue=any(sender.overdue(one) for one in sender.flights),
                ) from error
            return
        raise Unavailable(f"fluentd: {'; '.join(failures)}")

    def _forward_signatures(self, sender: ForwardSender, chunk: Sequence[Stored], known: set[str]) -> None:
        """Send the documents of the signatures that are new, and wait until they are acknowledged.

        :raises OSError: they were not.
        """
        moment = timestamp()
        found: dict[str, Stored] = {}
        for stored in chunk:
            name, document = signature_document(outline(stored.body), moment, seeded=False)
            if name and name not in known:
                found.setdefault(name, Stored(0, name, msgspec.json.encode(document)))
        if found:
            entries = b"".join(_entry(stored, moment) for stored in found.values())
            names = tuple(found)
            sender.forward(
                entries, names, _chunk_name(names), tag=f"{self._tag}.signature", compress=self._gzip
            )
            known.update(names)

    def _count_try(self, chunk: Sequence[Stored]) -> int:
        """Count a try without an acknowledgement; return the highest count of the chunk's documents."""
        self._tries |= {stored.id: self._tries.get(stored.id, 0) + 1 for stored in chunk}
        return max(self._tries[stored.id] for stored in chunk)

    def _overtaken(
        self, silent: list[list[Stored]], current: list[Stored], settled: list[Stored]
    ) -> list[list[Stored]]:
        """Remove silent chunks before an acknowledged one: they failed; return their unsettled documents.

        :param current: the chunk that was sent last; it is left out.
        :param settled: what was acknowledged.
        """
        delivered = {stored.id for stored in settled}
        overtaken = []
        for one in list(silent):
            if one is current or self._in_flight(one):
                continue
            silent.remove(one)
            if left := [stored for stored in one if stored.id not in delivered]:
                self._tries |= dict.fromkeys((stored.id for stored in left), PATIENCE)
                overtaken.append(left)
        return overtaken

    def _in_flight(self, chunk: Sequence[Stored]) -> bool:
        name = _chunk_name(tuple(stored.id for stored in chunk))
        return any(name in sender.flights for sender in self._senders)

    def _settled(self, batch: Sequence[Stored]) -> Iterator[list[Stored]]:
        """Yield the documents of the batch that were acknowledged since the last call, a chunk at a time."""
        pending = {stored.id: stored for stored in batch}
        for sender in self._senders:
            flights, sender.acknowledged = sender.acknowledged, []
            for flight in flights:
                yield [pending[name] for name in flight.documents if name in pending]

    def _chunks(self, batch: Sequence[Stored], packed: dict[str, bytes]) -> Iterator[list[Stored]]:
        """Yield the chunks of a batch, those that are in flight first."""
        rest = {stored.id: stored for stored in batch}
        for flight in list(self._senders[0].flights.values()):
            if all(name in rest for name in flight.documents):
                yield [rest.pop(name) for name in flight.documents]
        yield from groups(rest.values(), lambda stored: len(packed[stored.id]), self._documents, CHUNK_BYTES)


def _halves(chunk: list[Stored]) -> list[list[Stored]]:
    """Return the halves of a chunk, the second first; none of a document alone."""
    half = len(chunk) // 2
    return [chunk[half:], chunk[:half]] if half else []


def _chunk_name(documents: tuple[str, ...]) -> str:
    """Return the same name for the same documents: a receiver that knows chunks can recognise a repeat."""
    identity = hashlib.sha256("\0".join(documents).encode()).digest()[:16]
    return base64.b64encode(identity).decode()


def _pack(batch: Sequence[Stored]) -> tuple[dict[str, bytes], dict[str, Outcome]]:
    """Pack each document; those that msgpack cannot encode (an integer over 64 bits) are rejected."""
    packed, outcomes, moment = {}, {}, timestamp()
    for stored in batch:
        try:
            packed[stored.id] = _entry(stored, moment)
        except (msgspec.DecodeError, ValueError, OverflowError, TypeError) as error:
            outcomes[stored.id] = Outcome(
                stored.id, DeliveryStatus.REJECTED, f"cannot be sent as msgpack: {error}"
            )
    return packed, outcomes


def _entry(stored: Stored, moment: str) -> bytes:
    """Pack ``[time, record]``; receivers silently drop a float as time."""
    document = with_delivery_fields(stored.body, moment, document_id=stored.id)
    record = msgspec.json.decode(document, type=dict[str, Any])
    packed: bytes = msgpack.packb([event_time(record.get("@timestamp") or moment), record])
    return packed
