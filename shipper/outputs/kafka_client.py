"""The use of librdkafka by ``output.kafka``: each record is acknowledged, refused or left unsettled.

:see: https://github.com/confluentinc/librdkafka/blob/v2.16.0/CONFIGURATION.md
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from kpanic.shipper.api import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpanic.shipper.outputs.kafka import KafkaConfig, Record

__all__ = ["Answers", "Client"]

GRACE: Final = 2.0
"""Seconds until a try is given up after all brokers went away."""
POLL: Final = 0.1
"""Seconds between two looks at the clock."""
_REFUSALS: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
}
"""Errors of a broker that concern the record itself, however often it is sent."""
_PURGED: Final = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001 - names of the library
_NOT_THERE: Final = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE}


class Answers(msgspec.Struct):
    """The outcomes of some records.

    :ivar taken: ids of those that were acknowledged.
    :ivar refused: why a broker refused others, by id.
    :ivar failure: why other records were not settled; empty if all were.
    """

    taken: set[str] = msgspec.field(default_factory=set)
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    failure: str = ""


class Client:
    """A producer, which is recreated after each failure: the store has the documents that the old one holds.

    :param password: of ``config.username``.
    """

    def __init__(self, config: KafkaConfig, password: str) -> None:
        self._hosts = ", ".join(config.hosts)
        self._timeout = config.timeout
        self._tls = config.ssl.enabled
        self._settings = {**_settings(config, password), "error_cb": self._note}
        self._producer: Producer | None = None
        self._said = ""
        """The last error of a connection."""
        self._down: float | None = None
        """Since when no broker can be reached, by the monotonic clock."""

    def send(self, records: Sequence[Record]) -> Answers:
        """Send records, and wait until each is acknowledged or refused, or the time is over."""
        answers = Answers()
        if not records:
            return answers
        try:
            producer = self._connected()
        except Unavailable as error:
            answers.failure = str(error)
            return answers
        for record in records:
            answered = self._answered(answers, record.id)
            try:
                producer.produce(
                    record.topic, record.value, record.key, headers=_headers(record), on_delivery=answered
                )
            except KafkaException as error:
                answered(error.args[0], None)
        end = time.monotonic() + self._timeout
        while len(answers.taken) + len(answers.refused) < len(records) and not answers.failure:
            producer.poll(POLL)
            if time.monotonic() > end or self._gone():
                answers.failure = self._failure("no acknowledgement in time")
        if answers.failure:
            self.close()
        return answers

    def topic(self, name: str) -> str:
        """Ask for a topic, and return a line that says what was reached.

        :raises Unavailable: no broker answers, or the topic may not be used.
        """
        producer, end = self._connected(), time.monotonic() + self._timeout
        while True:
            try:
                found = producer.list_topics(name, timeout=min(1, self._timeout))
                break
            except KafkaException as error:
                producer.poll(0)
                if time.monotonic() > end or self._gone():
                    failure = self._failure(error.args[0].str())
                    self.close()
                    raise Unavailable(failure) from None
        line = f"Kafka at {self._hosts}: brokers: {len(found.brokers)}, topic {name}"
        fault = found.topics[name].error
        if fault is None:
            return line
        if fault.code() in _NOT_THERE:
            return f"{line} is not there yet"
        raise Unavailable(f"kafka: {self._hosts}: topic {name}: {fault.str()}")

    def close(self) -> None:
        """Give up unacknowledged records, and close the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):
                producer.purge()
            producer.flush(POLL)

    def _connected(self) -> Producer:
        if self._producer is None:
            self._said, self._down = "", None
            try:
                self._producer = Producer(self._settings)
            except KafkaException as error:
                raise Unavailable(f"kafka: {self._hosts}: {error.args[0].str()}") from None
        return self._producer

    def _note(self, error: KafkaError) -> None:
        """Take an error of a connection, from within ``poll``."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a name of the library
            self._down = self._down or time.monotonic()
        else:
            self._said = " ".join(error.str().split())

    def _answered(self, answers: Answers, name: str) -> Callable[[KafkaError | None, object], None]:
        def note(error: KafkaError | None, _: object) -> None:
            if error is None:
                answers.taken.add(name)
                self._down = None
            elif error.code() in _REFUSALS:
                answers.refused[name] = error.str()
            elif error.code() not in _PURGED:
                answers.failure = self._failure(error.str())

        return note

    def _gone(self) -> bool:
        return self._down is not None and time.monotonic() - self._down > GRACE

    def _failure(self, reason: str) -> str:
        if self._down is not None and not self._tls:
            reason = "every connection is closed: set ssl.enabled if the listener wants TLS"
        return f"kafka: {self._hosts}: {self._said or reason}"


def _headers(record: Record) -> list[tuple[str, str | bytes | None]]:
    found = [("content-type", "application/json"), ("document_id", record.id)]
    return [*found, ("signature", record.signature)] if record.signature else [*found]


def _settings(config: KafkaConfig, password: str) -> dict[str, Any]:
    """Return the configuration of librdkafka."""
    milliseconds = max(1000, round(config.timeout * 1000))
    tls = config.ssl
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(config.hosts),
        "client.id": "kpanic",
        "security.protocol": f"{'SASL_' * bool(config.username)}{'SSL' if tls.enabled else 'PLAINTEXT'}",
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # same as Kafka's own clients, so that they find a host's partition
        "compression.type": config.compression,
        "message.max.bytes": config.max_message_bytes,
        "message.timeout.ms": milliseconds,
        "socket.connection.setup.timeout.ms": min(30_000, milliseconds),
        "reconnect.backoff.max.ms": 1000,  # the pipeline owns the backoff
        "log_level": 0,  # errors come by error_cb
    }
    if config.username:
        found |= {
            "sasl.mechanism": config.sasl.mechanism,
            "sasl.username": config.username,
            "sasl.password": password,
        }
    if tls.enabled:
        if tls.certificate_authorities:
            found["ssl.ca.pem"] = "\n".join(Path(path).read_text() for path in tls.certificate_authorities)
        if tls.certificate:
            found["ssl.certificate.location"] = tls.certificate
            found["ssl.key.location"] = tls.key or tls.certificate
        found["ssl.endpoint.identification.algorithm"] = (
            "https" if tls.verification_mode == "full" else "none"
        )
        found["enable.ssl.certificate.verification"] = tls.verification_mode != "none"
    return found
