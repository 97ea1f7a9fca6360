"""Kafka: ``output.kafka``, by librdkafka.

All replicas in sync acknowledge a record (``acks=all``), and the broker drops the client's own repeats (an
idempotent producer). A document that is sent again after a kill, or after a missing answer, is a second
record with the same ``document_id``.

:see: https://kafka.apache.org/41/configuration/topic-configs/ for what a topic may refuse;
    https://github.com/confluentinc/librdkafka/blob/v2.16.0/CONFIGURATION.md
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from kpanic.shipper.api import (
    DeliveryStatus,
    OptionalTLS,
    Outcome,
    ReadFile,
    Seconds,
    Settings,
    check_addresses,
    read_secret,
    timestamp,
    tls_context,
    with_delivery_fields,
)
from kpanic.shipper.outputs.outcomes import outcomes_of
from kpanic.shipper.signature_document import outline, signature_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.shipper.api import Stored
    from kpanic.shipper.outputs.kafka_client import Answers, Client

__all__ = ["KafkaConfig", "KafkaOutput", "Record"]

PORT: Final = 9092


class Sasl(Settings, frozen=True, kw_only=True):
    """The ``sasl`` keys."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"


class KafkaConfig(Settings, frozen=True, kw_only=True):
    """``output.kafka``."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    """``kafka-1:9092``: any brokers of the cluster; they name the others."""
    topic: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,200}\Z")] = "kernel.panic"
    """Must not be compacted: the records of a host have the same key."""
    signatures: bool = False
    """Send a record for each new signature too, to the topic with ``.signature`` behind its name."""
    username: str = ""
    """User of SASL; without one, SASL is off."""
    password: str = ""
    password_file: ReadFile = ""
    sasl: Sasl = Sasl()
    ssl: OptionalTLS = OptionalTLS()
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "gzip"
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1000, le=1_000_000_000)] = 1_000_000
    """Maximum bytes of a record; the topic's ``max.message.bytes`` must not be less."""
    timeout: Annotated[Seconds, msgspec.Meta(le=900)] = 30
    """Maximum seconds for the acknowledgements of a batch."""

    def __post_init__(self) -> None:
        check_addresses(self.hosts, PORT, "kafka:9092")
        if self.password and self.password_file:
            raise ValueError("password and password_file exclude each other")
        if bool(self.username) != bool(self.password or self.password_file):
            raise ValueError("username: goes together with password or password_file")


class Record(msgspec.Struct, frozen=True):
    """A record to send.

    :ivar id: name of the document, as the header ``document_id``.
    :ivar key: chooses the partition; None for any.
    :ivar signature: of the crash, as the header ``signature``; empty for none.
    """

    id: str
    topic: str
    key: str | None
    value: bytes
    signature: str


class KafkaOutput:
    """``output.kafka``."""

    Config = KafkaConfig
    name = "kafka"

    def __init__(self, config: KafkaConfig) -> None:
        if find_spec("confluent_kafka") is None:
            raise ValueError("hosts: needs Confluent's client: pip install 'kpanic[kafka]'")
        from kpanic.shipper.outputs.kafka_client import Client  # noqa: PLC0415 - librdkafka

        if config.ssl.enabled:
            tls_context(config.ssl)  # names the file that cannot be used
        password = read_secret(config.password, config.password_file, "password")
        self._client: Client = Client(config, password)
        self._topic = config.topic
        self._signed: set[str] | None = set() if config.signatures else None
        """Signatures whose records were acknowledged; None if such records are not sent."""

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send, and wait for the acknowledgements.

        :raises Unavailable: no document of the batch was settled.
        """
        outcomes: dict[str, Outcome] = {}
        moment = timestamp()
        failure = self._send_signatures(batch, moment)
        if not failure:
            answers = self._answers([self._record(stored, moment) for stored in batch])
            failure = answers.failure
            for name in answers.taken:
                outcomes[name] = Outcome(name, DeliveryStatus.DELIVERED)
            for name, reason in answers.refused.items():
                outcomes[name] = Outcome(name, DeliveryStatus.REJECTED, reason)
        return outcomes_of(batch, outcomes, failure)

    def check(self) -> str:
        """Ask for the topic.

        :raises Unavailable: no broker answers, or the topic may not be used.
        """
        return self._client.topic(self._topic)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _answers(self, records: list[Record]) -> Answers:
        """Send records; send refused ones once more, each alone.

        A broker refuses a whole set because of one record, and does not say which.
        """
        answers = self._client.send(records)
        refused, answers.refused = answers.refused, {}
        for record in records:
            if record.id in refused and not answers.failure:
                alone = self._client.send([record])
                answers.taken |= alone.taken
                answers.refused |= alone.refused
                answers.failure = alone.failure
        return answers

    def _send_signatures(self, batch: Sequence[Stored], moment: str) -> str:
        """Send the records of new signatures; return why one was not taken."""
        if self._signed is None:
            return ""
        found: dict[str, Record] = {}
        for stored in batch:
            name, document = signature_document(outline(stored.body), moment, seeded=False)
            if name and name not in self._signed | found.keys():
                value = with_delivery_fields(msgspec.json.encode(document), moment, document_id=name)
                found[name] = Record(name, f"{self._topic}.signature", name, value, document["id"])
        answers = self._answers(list(found.values()))
        self._signed |= answers.taken
        return answers.failure or next(iter(answers.refused.values()), "")

    def _record(self, stored: Stored, moment: str) -> Record:
        document = outline(stored.body)
        return Record(
            stored.id,
            self._topic,
            document.host.name or None,
            with_delivery_fields(stored.body, moment, document_id=stored.id),
            document.kernel.panic.signature.id,
        )
