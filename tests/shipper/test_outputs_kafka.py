"""Kafka with a real broker, which is killed, refuses records, and requires TLS and a password."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from kpanic.shipper.api import DeliveryStatus, Stored, Unavailable
from kpanic.shipper.contract import check_output
from kpanic.shipper.outputs.kafka import KafkaOutput
from kpanic.shipper.store import Store
from tests.engines.documents import batch, document, stored
from tests.engines.kafka import Kafka
from tests.shipper.delivery import statuses
from tests.shipper.test_nothing_is_lost import Delivering, Killing, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROKER_LIMIT = 300_000
"""Maximum bytes of a record set that the broker accepts, less than the client would send."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker without security."""
    made = Kafka(tmp_path_factory.mktemp("kafka"), settings={"message.max.bytes": BROKER_LIMIT})
    made.start()
    yield made
    made.kill()


def made(kafka: Kafka, topic: str, **config: object) -> KafkaOutput:
    keys = {"hosts": kafka.hosts, "topic": topic, "timeout": 10, **config}
    return KafkaOutput(msgspec.convert(keys, KafkaOutput.Config))


def incompressible(number: int, namespace: str, length: int) -> Stored:
    return stored(number, namespace, cause_detail=random.randbytes(length // 2).hex())  # noqa: S311


@pytest.mark.process
def test_the_output_keeps_its_contract(kafka: Kafka, namespace: str) -> None:
    @contextmanager
    def outage() -> Iterator[None]:
        kafka.kill()
        yield
        kafka.start()

    check_output(
        lambda: made(kafka, namespace),
        lambda: kafka.documents(namespace),
        outage=outage,
        unacceptable=incompressible(1, namespace, 700_000),
    )


@pytest.mark.process
def test_a_record_has_its_host_as_key_and_its_names_as_headers(kafka: Kafka, namespace: str) -> None:
    output = made(kafka, namespace, signatures=True)
    unnamed = document(50, namespace)
    del unnamed["host"]["name"], unnamed["kernel"]["panic"]["signature"]
    documents = [*batch(20, namespace), Stored(50, "unnamed", json.dumps(unnamed).encode())]
    for _ in range(2):
        assert statuses(output.send(documents)) == {DeliveryStatus.DELIVERED: 21}
    assert output.check() == f"Kafka at {kafka.hosts[0]}: brokers: 1, topic {namespace}"
    output.close()

    records = kafka.records(namespace)
    partitions = defaultdict(set)
    found = Counter()
    for record in records:
        headers = dict(record.headers() or [])
        text = json.loads(record.value() or b"")
        name = (headers["document_id"] or b"").decode()
        found[name] += 1
        assert headers["content-type"] == b"application/json"
        assert text["labels"]["document_id"] == name
        if name == "unnamed":
            assert record.key() is None
            assert "signature" not in headers
        else:
            assert record.key() == text["host"]["name"].encode()
            assert headers["signature"] == text["kernel"]["panic"]["signature"]["id"].encode()
            partitions[record.key()].add(record.partition())
    assert found == {one.id: 2 for one in documents}, "what is sent again has the same name"
    assert all(len(numbers) == 1 for numbers in partitions.values()), "a host has one partition"
    assert len(set().union(*partitions.values())) > 1

    signatures = kafka.records(f"{namespace}.signature")
    names = sorted((record.key() or b"").decode() for record in signatures)
    assert names == [f"v1-{namespace}{number}" for number in range(3)], "each once"


@pytest.mark.process
def test_a_record_that_is_too_large_is_rejected_and_keeps_no_other_back(kafka: Kafka, namespace: str) -> None:
    documents = batch(40, namespace)
    documents[7] = incompressible(7, namespace, 1_200_000)
    documents[20] = incompressible(20, namespace, 700_000)
    output = made(kafka, namespace)
    outcomes = output.send(documents)
    output.close()
    rejected = {one.id: one.reason for one in outcomes if one.status is DeliveryStatus.REJECTED}
    assert rejected.keys() == {documents[7].id, documents[20].id}
    assert all("too large" in reason.lower() for reason in rejected.values()), rejected
    assert statuses(outcomes)[DeliveryStatus.DELIVERED] == 38
    there = Counter(one["event"]["id"] for one in kafka.documents(namespace))
    assert len(there) == 38


@pytest.mark.process
def test_a_broker_that_is_killed_loses_no_document(
    kafka: Kafka, namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = 0
    with Store(tmp_path / "kpanic.db") as store:
        output = made(kafka, namespace)
        killing = Killing(output, kafka.kill)
        delivering = Delivering(store, output)
        for _ in range(request.config.getoption("--rounds")):
            killing.arm()
            fill(store, range(count, count + 3000), namespace, poison=range(0))
            delivering.wake()
            delivering.wait(killing.dead.is_set)
            count += 3000
            assert delivering.pending, "it is under way"
            delivering.wait(delivering.troubled)
            kafka.start()
            delivering.wait(lambda: not delivering.pending)
        delivering.finish()
        assert (delivering.delivered, delivering.dead) == (count, 0)
    found = Counter(one["labels"]["document_id"] for one in kafka.documents(namespace))
    assert found.keys() == {f"v1-{namespace}-{number:06}-kdump" for number in range(count)}
    assert max(found.values()) <= 2, "a batch in flight comes again, under the same names"


@pytest.mark.process
def test_tls_and_a_password_are_checked(tmp_path: Path, namespace: str) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    store = tmp_path / "broker.pem"
    store.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + issued.cert_chain_pems[0].bytes()
    )
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    settings: dict[str, object] = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": store,
        "sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.clients.scram-sha-256.sasl.jaas.config": scram,
    }
    secured = Kafka(tmp_path, "SASL_SSL", settings, {"kpanic": "the-password"})
    secured.start()
    keys: dict[str, object] = {
        "username": "kpanic",
        "password": "the-password",
        "sasl": {"mechanism": "SCRAM-SHA-256"},
        "ssl": {"enabled": True, "certificate_authorities": [str(ca)]},
    }
    try:
        output = made(secured, namespace, **keys)
        assert statuses(output.send(batch(5, namespace))) == {DeliveryStatus.DELIVERED: 5}
        output.close()
        for changed, words in (
            ({"password": "not-the-password"}, "[Aa]uthentication"),
            ({"ssl": {"enabled": True}}, "certificate verify failed"),
            ({"ssl": {"enabled": False}}, r"set ssl\.enabled if the listener wants TLS"),
        ):
            output = made(secured, namespace, **(keys | changed))
            with pytest.raises(Unavailable, match=words) as told:
                output.send(batch(1, namespace))
            assert "the-password" not in str(told.value)
            output.close()
    finally:
        secured.kill()


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({}, "hosts"),
        ({"hosts": []}, "hosts"),
        ({"hosts": ["http://kafka"]}, r"hosts\[0\]: expected an address like kafka:9092"),
        ({"hosts": ["kafka"], "topic": "kernel panic"}, "topic"),
        ({"hosts": ["kafka"], "username": "kpanic"}, "username: goes together with password"),
        ({"hosts": ["kafka"], "password": "a", "password_file": "/b"}, "exclude each other"),
        ({"hosts": ["kafka"], "sasl": {"mechanism": "GSSAPI"}}, "GSSAPI"),
    ],
)
def test_a_wrong_setting_is_refused(keys: dict[str, object], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(keys, KafkaOutput.Config)


def test_a_file_of_tls_that_cannot_be_read_is_named() -> None:
    keys = {"hosts": ["kafka"], "ssl": {"enabled": True, "certificate_authorities": ["/nowhere.pem"]}}
    with pytest.raises(ValueError, match=r"certificate_authorities: /nowhere\.pem: No such file"):
        KafkaOutput(msgspec.convert(keys, KafkaOutput.Config))
