"""Fluentd's forward protocol against a real receiver."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgpack
import msgspec
import pytest
import trustme

from kpanic.shipper.api import DeliveryStatus, Stored, Unavailable
from kpanic.shipper.outputs.bulk_actions import bulk_actions
from kpanic.shipper.outputs.fluentd import FluentdOutput
from kpanic.shipper.outputs.forward import event_time
from tests.engines.documents import batch, stored
from tests.engines.proxy import TcpProxy
from tests.shipper.delivery import deliver, statuses
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.engines.forward import Receiver

SECURITY = {"serverHostname": "collector", "sharedKey": "the key"}
USERS = SECURITY | {"authorize": True, "userDict": {"kpanic": "pass word"}}


@pytest.fixture
def connect() -> Iterator[Callable[..., FluentdOutput]]:
    """Return the output."""
    made: list[FluentdOutput] = []

    def make(*hosts: str, **keys: object) -> FluentdOutput:
        config = msgspec.convert({"hosts": list(hosts), "ack_timeout": 30, **keys}, FluentdOutput.Config)
        made.append(FluentdOutput(config))
        return made[-1]

    yield make
    for output in made:
        output.close()


@pytest.fixture
def through() -> Iterator[Callable[[Receiver], TcpProxy]]:
    """Put a proxy in front of a receiver."""
    made: list[TcpProxy] = []

    def make(receiver: Receiver) -> TcpProxy:
        made.append(TcpProxy(receiver.port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def messages(client: socket.socket, *, raw: bool = False) -> Iterator[Any]:
    """Yield the messages of a sender, until it closes the connection."""
    unpacker = msgpack.Unpacker(raw=raw)
    while data := client.recv(1 << 20):
        unpacker.feed(data)
        yield from unpacker


def incidents(receiver: Receiver, count: int) -> Counter[str]:
    return Counter(entry["record"]["event"]["id"] for entry in receiver.entries(count))


@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_records_arrive_whole_with_their_own_time(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str, compress: str
) -> None:
    there = receiver()
    outcomes = connect(there.host, compress=compress).send(batch(600, namespace))
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 600}
    entries = there.entries(600)
    assert len(entries) == 600
    assert {entry["tag"] for entry in entries} == {"kernel.panic"}
    assert {(entry["epoch"], entry["nano"]) for entry in entries} == {(1619695946, 123_000_000)}
    first = entries[0]["record"]
    assert first["event"].pop("ingested") > "2026"
    assert first["labels"].pop("document_id") == stored(0, namespace).id
    assert first == json.loads(stored(0, namespace).body)


def test_shared_key_user_and_password_are_proved(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver(security=USERS)
    user = {"shared_key": "the key", "username": "kpanic", "password": "pass word"}
    output = connect(there.host, **user)
    assert statuses(output.send(batch(3, namespace))) == {DeliveryStatus.DELIVERED: 3}
    assert len(there.entries(3)) == 3


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"shared_key": "another"}, "shared key or user refused"),
        ({"shared_key": "the key", "username": "kpanic", "password": "wrong"}, "shared key or user refused"),
        (
            {"shared_key": "the key", "username": "nobody", "password": "pass word"},
            "shared key or user refused",
        ),
        ({}, "asks for a shared key; set shared_key"),
    ],
)
def test_a_wrong_key_or_user_delivers_nothing_and_is_reported(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    namespace: str,
    keys: dict[str, str],
    said: str,
) -> None:
    there = receiver(security=USERS)
    with pytest.raises(Unavailable, match=said) as told:
        connect(there.host, **keys).send(batch(2, namespace))
    assert not any(secret in str(told.value) for secret in ("another", "the key", "pass word"))
    assert there.entries() == []


def test_a_receiver_that_does_not_know_the_key_is_not_trusted(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    def impostor(client: socket.socket) -> None:
        client.sendall(msgpack.packb(["HELO", {"nonce": b"n" * 16, "auth": b"", "keepalive": True}]))
        client.recv(65536)
        client.sendall(msgpack.packb(["PONG", True, "", "collector", "0" * 128]))
        client.recv(65536)

    with served(impostor) as host, pytest.raises(Unavailable, match="does not know the shared key"):
        connect(host, shared_key="the key").send(batch(1, namespace))


def test_a_receiver_without_security_is_reported(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver()
    with pytest.raises(Unavailable, match="no answer in time"):
        connect(there.host, shared_key="the key", timeout=0.3).send(batch(1, namespace))


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    """A certificate for 127.0.0.1, and the authority that signed it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    with (tmp_path / "cert.pem").open("wb") as chain:
        for part in certificate.cert_chain_pems:
            chain.write(part.bytes())
    return {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}


def test_tls_with_a_key_delivers(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    namespace: str,
    tls: dict[str, str],
) -> None:
    there = receiver(security=SECURITY, tls={"cert": tls["cert"], "key": tls["key"]})
    ssl = {"enabled": True, "certificate_authorities": [tls["ca"]]}
    output = connect(there.host, shared_key="the key", ssl=ssl)
    for number in range(3):
        assert statuses(output.send([stored(number, namespace)])) == {DeliveryStatus.DELIVERED: 1}
    assert len(there.entries(3)) == 3


def test_an_untrusted_certificate_delivers_nothing(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    namespace: str,
    tls: dict[str, str],
) -> None:
    there = receiver(tls={"cert": tls["cert"], "key": tls["key"]})
    with pytest.raises(Unavailable, match="certificate not trusted"):
        connect(there.host, ssl={"enabled": True}).send(batch(1, namespace))
    output = connect(there.host, ssl={"enabled": True, "verification_mode": "none"})
    assert statuses(output.send(batch(1, namespace))) == {DeliveryStatus.DELIVERED: 1}


def test_the_next_host_is_taken_when_one_is_down(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver()
    output = connect("127.0.0.1:9", there.host)
    assert statuses(output.send(batch(3, namespace))) == {DeliveryStatus.DELIVERED: 3}
    there.kill()
    with pytest.raises(Unavailable, match=r"127.0.0.1:9: Connection refused"):
        output.send(batch(1, namespace))
    there.start()
    assert statuses(output.send([stored(7, namespace)])) == {DeliveryStatus.DELIVERED: 1}


def test_killed_before_the_acknowledgement_nothing_is_lost(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    through: Callable[[Receiver], TcpProxy],
    namespace: str,
) -> None:
    there = receiver()
    proxy = through(there)
    output, documents = connect(proxy.host, bulk_max_size=50), batch(500, namespace)
    assert statuses(output.send(documents[:100])) == {DeliveryStatus.DELIVERED: 100}
    for start in range(100, 500, 100):
        proxy.lose = lambda _: True  # the receiver is gone before it has read the chunk
        with pytest.raises(Unavailable):
            output.send(documents[start : start + 100])
        there.kill()
        proxy.lose = lambda _: False
        with pytest.raises(Unavailable):
            output.send(documents[start : start + 100])
        there.start()
        assert statuses(deliver(output, documents[start : start + 100])) == {DeliveryStatus.DELIVERED: 100}
    assert proxy.seen == 4
    assert incidents(there, 500) == {f"v1-{namespace}-{number:06}": 1 for number in range(500)}


def test_a_lost_acknowledgement_is_sent_again_as_the_same_chunk(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    through: Callable[[Receiver], TcpProxy],
    namespace: str,
) -> None:
    there = receiver()
    proxy = through(there)
    output, documents = connect(proxy.host), batch(10, namespace)
    proxy.swallow = True
    with pytest.raises(Unavailable, match="closed by the receiver"):
        output.send(documents)
    proxy.swallow = False
    assert statuses(output.send(documents)) == {DeliveryStatus.DELIVERED: 10}
    assert proxy.seen == 1
    assert set(incidents(there, 20)) == {f"v1-{namespace}-{number:06}" for number in range(10)}


GIANT = "POISON" * 400_000
"""Bytes of text, more than any other chunk has."""


def test_a_record_too_large_for_the_receiver_is_rejected_while_others_are_acknowledged(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    through: Callable[[Receiver], TcpProxy],
    namespace: str,
) -> None:
    there = receiver()
    proxy = through(there)
    proxy.lose = lambda data: b"POISON" in data
    output = connect(proxy.host)
    giant = stored(0, namespace, cause_detail=GIANT)
    documents = [giant, *batch(64, namespace)[1:]]
    outcomes = deliver(output, documents[1:])
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 63}
    for number in range(100, 120):  # a crash now and then
        with contextlib.suppress(Unavailable):
            outcomes = output.send([giant, stored(number, namespace)])
        if outcomes[0].status is DeliveryStatus.REJECTED:
            break
    assert outcomes[0].status is DeliveryStatus.REJECTED
    assert number > 102, "not at its first tries"
    assert "never acknowledged, though smaller ones are" in outcomes[0].reason


def test_a_record_no_larger_than_what_was_acknowledged_is_never_rejected(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    through: Callable[[Receiver], TcpProxy],
    namespace: str,
) -> None:
    there = receiver()
    proxy = through(there)
    proxy.lose = lambda data: b"POISON" in data
    output = connect(proxy.host)
    poison = stored(0, namespace, cause_detail="POISON")
    assert statuses(output.send(batch(64, namespace)[1:])) == {DeliveryStatus.DELIVERED: 63}
    for number in range(100, 112):
        with contextlib.suppress(Unavailable):
            assert output.send([poison, stored(number, namespace)])[0].status is DeliveryStatus.RETRY
    proxy.lose = lambda _: False
    assert statuses(deliver(output, [poison])) == {DeliveryStatus.DELIVERED: 1}


@pytest.mark.parametrize("probes", [False, True], ids=["acknowledges nothing", "acknowledges empty chunks"])
def test_a_receiver_that_is_full_leaves_every_document_pending(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    through: Callable[[Receiver], TcpProxy],
    namespace: str,
    probes: bool,  # noqa: FBT001
) -> None:
    """A full Fluentd acknowledges only chunks without records; its buffer may be full for days."""
    there = receiver()
    proxy = through(there)
    output = connect(proxy.host)
    assert statuses(output.send(batch(3, namespace))) == {DeliveryStatus.DELIVERED: 3}
    proxy.lose = (lambda data: len(data) > 200) if probes else (lambda _: True)
    documents = [*batch(40, namespace)[3:], stored(40, namespace, cause_detail=GIANT)]
    for _ in range(15):
        with contextlib.suppress(Unavailable):
            assert statuses(output.send(documents)) == {DeliveryStatus.RETRY: 38}
    proxy.lose = lambda _: False
    assert statuses(deliver(output, documents)) == {DeliveryStatus.DELIVERED: 38}
    assert len(incidents(there, 41)) == 41


def test_a_receiver_without_security_names_the_setting(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver()
    with pytest.raises(Unavailable, match="if the receiver has no <security>, remove shared_key"):
        connect(there.host, shared_key="the key", timeout=0.5).send(batch(1, namespace))


def test_tls_to_a_plain_receiver_names_the_setting(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver()
    with pytest.raises(Unavailable, match=r"if the receiver speaks no TLS, set ssl\.enabled to false"):
        connect(there.host, ssl={"enabled": True}, timeout=0.5).send(batch(1, namespace))


def test_plain_to_a_receiver_with_tls_names_the_setting(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    namespace: str,
    tls: dict[str, str],
) -> None:
    there = receiver(tls={"cert": tls["cert"], "key": tls["key"]})
    with pytest.raises(Unavailable, match=r"if it speaks TLS, set ssl\.enabled"):
        connect(there.host).send(batch(1, namespace))


def test_a_receiver_that_repeats_our_own_digest_is_not_believed(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    """The digest of a PING equals that of a PONG with kpanic's name, so an eavesdropper could replay it."""
    chunks: list[bytes] = []

    def parrot(client: socket.socket) -> None:
        client.sendall(msgpack.packb(["HELO", {"nonce": b"nonce", "auth": b"", "keepalive": True}]))
        _, name, _, digest, *_ = msgpack.unpackb(client.recv(65536), raw=False)
        client.sendall(msgpack.packb(["PONG", True, "", name, digest]))
        chunks.append(client.recv(65536))

    with served(parrot) as host, pytest.raises(Unavailable, match="answers with our own name"):
        connect(host, shared_key="the key", timeout=30).send(batch(1, namespace))
    assert not any(chunks), "no document is sent"


def test_a_receiver_that_comes_and_goes_rejects_nothing(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    through: Callable[[Receiver], TcpProxy],
    namespace: str,
) -> None:
    there = receiver()
    proxy = through(there)
    output, documents = connect(proxy.host, bulk_max_size=8), batch(64, namespace)
    settled: dict[str, DeliveryStatus] = {}
    # The third time, a chunk is halved down to one record, which fails just before the receiver is up again.
    for cut in (1, 1, 4, 1):
        left = [document for document in documents if document.id not in settled]
        cuts = proxy.seen + cut
        proxy.lose = lambda _, cuts=cuts: proxy.seen < cuts  # type: ignore[misc]
        with contextlib.suppress(Unavailable):
            outcomes = output.send(left)
            settled |= {one.id: one.status for one in outcomes if one.status is not DeliveryStatus.RETRY}
    proxy.lose = lambda _: False
    left = [document for document in documents if document.id not in settled]
    assert DeliveryStatus.REJECTED not in settled.values()
    assert statuses(deliver(output, left)) == ({DeliveryStatus.DELIVERED: len(left)} if left else {})
    assert incidents(there, 64) == {f"v1-{namespace}-{number:06}": 1 for number in range(64)}


@pytest.mark.timed
def test_a_receiver_that_accepts_without_an_answer_rejects_nothing(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    def silent(client: socket.socket) -> None:
        while client.recv(65536):
            pass

    with served(silent) as host:
        output = connect(host, ack_timeout=0.5)
        for _ in range(6):
            started = time.monotonic()
            with pytest.raises(Unavailable, match="no answer in time"):
                output.send(batch(16, namespace))
            assert time.monotonic() - started < 8, "16 waits last eight seconds"


def test_a_receiver_that_is_slow_is_waited_for_before_anything_is_repeated(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    late = threading.Event()
    seen: list[str] = []

    def slow(client: socket.socket) -> None:
        for message in messages(client):
            seen.append(message[2]["chunk"])
            late.wait(300)
            client.sendall(msgpack.packb({"ack": message[2]["chunk"]}))

    with served(slow) as host:
        output = connect(host, ack_timeout=1)
        with pytest.raises(Unavailable, match="no answer in time"):
            output.send(batch(3, namespace))
        late.set()
        assert statuses(deliver(output, batch(3, namespace))) == {DeliveryStatus.DELIVERED: 3}
        assert statuses(deliver(output, batch(5, namespace)[3:])) == {DeliveryStatus.DELIVERED: 2}
    assert len(seen) == len(set(seen)) == 2, "no chunk is repeated"


class Collector:
    """A receiver that reads chunks one by one, also those of connections that were closed meanwhile.

    :param seconds: it needs for a chunk.
    :param takes: tells which chunks it takes, by their entries; no other one is acknowledged.
    """

    def __init__(self, seconds: float = 0, takes: Callable[[bytes], bool] = lambda _: True) -> None:
        self.seconds, self.takes = seconds, takes
        self.stored: Counter[str] = Counter()

    def __call__(self, client: socket.socket) -> None:
        for _, entries, option in messages(client):
            threading.Event().wait(self.seconds)
            if not self.takes(entries):
                continue
            unpacker = msgpack.Unpacker()
            unpacker.feed(entries)
            self.stored.update(record["labels"]["document_id"] for _, record in unpacker)
            client.sendall(msgpack.packb({"ack": option["chunk"]}))


@pytest.mark.parametrize("times", [1.5, *(pytest.param(times, marks=pytest.mark.timed) for times in (4, 6))])
def test_a_receiver_slower_than_the_timeout_gets_at_most_one_repeat(
    connect: Callable[..., FluentdOutput], namespace: str, times: float
) -> None:
    """Crashes that arrive meanwhile change the batch, but not the chunk in flight."""
    collector = Collector(0.5 * times)
    pending, delivered = batch(4, namespace), 0
    arriving = iter(batch(24, namespace)[4:])
    with served(collector) as host:
        output = connect(host, ack_timeout=0.5, bulk_max_size=8)
        end = time.monotonic() + 300
        while pending and time.monotonic() < end:
            with contextlib.suppress(Unavailable):
                settled = {one.id for one in output.send(pending) if one.status is DeliveryStatus.DELIVERED}
                delivered += len(settled)
                pending = [one for one in pending if one.id not in settled]
            pending += itertools.islice(arriving, 4)
    assert delivered == len(collector.stored) == 24
    assert sum(collector.stored.values()) <= 24 + 8, "a chunk's documents twice, and no more"


def test_a_chunk_that_is_dropped_in_silence_is_found_by_what_is_acknowledged_behind_it(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    """Fluentd drops a chunk larger than its chunk_size_limit, and keeps the connection."""
    collector = Collector(takes=lambda entries: len(entries) < 1_000_000)
    giant = stored(0, namespace, cause_detail=GIANT)
    with served(collector) as host:
        output = connect(host, ack_timeout=0.1)
        pending = {one.id: one for one in [giant, *batch(64, namespace)[1:]]}
        end = time.monotonic() + 300
        while len(pending) > 1 and time.monotonic() < end:
            with contextlib.suppress(Unavailable):
                for one in output.send(list(pending.values())):
                    if one.status is DeliveryStatus.DELIVERED:
                        del pending[one.id]
    assert list(pending) == [giant.id]
    assert len(collector.stored) == 63


def test_a_late_acknowledgement_does_not_stand_for_another_chunk(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    late = threading.Event()
    seen: list[str] = []

    def slow(client: socket.socket) -> None:
        for message in messages(client):
            seen.append(message[2]["chunk"])
            if len(seen) == 1:
                late.wait(300)
            if len(seen) != 2:
                client.sendall(msgpack.packb({"ack": message[2]["chunk"]}))

    with served(slow) as host:
        output = connect(host, ack_timeout=0.5)
        with pytest.raises(Unavailable):
            output.send(batch(3, namespace))
        late.set()

        def second() -> bool:
            with pytest.raises(Unavailable):  # the first chunk is acknowledged, this one is not
                output.send(batch(5, namespace)[3:])
            return len(seen) == 2

        until(second)
    assert len(seen) == 2


def test_a_receiver_that_says_nothing_at_all_is_left_after_the_timeout(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    with served(lambda client: client.recv(1)) as host, pytest.raises(Unavailable, match="no answer in time"):
        connect(host, shared_key="the key", timeout=0.2).send(batch(1, namespace))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xc1",
        msgpack.packb({"ack": "another"}),
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_an_answer_that_is_no_acknowledgement_delivers_nothing(
    connect: Callable[..., FluentdOutput], namespace: str, answer: bytes
) -> None:
    def odd(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(answer)
        client.recv(65536)

    with served(odd) as host, pytest.raises(Unavailable):
        connect(host, ack_timeout=0.5).send(batch(1, namespace))


def test_an_answer_without_end_costs_its_connection(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    waited, sent = threading.Event(), threading.Event()

    def endless(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(b"\xc6\x00\x00\xff\x00" + bytes(40_000))
        waited.wait(60)
        client.sendall(bytes(40_000))
        sent.set()
        client.recv(65536)

    with served(endless) as host:
        output = connect(host, ack_timeout=0.5)
        with pytest.raises(Unavailable):
            output.send(batch(1, namespace))
        waited.set()
        assert sent.wait(60)
        with pytest.raises(Unavailable):
            output.send(batch(1, namespace))


def test_a_time_that_the_protocol_does_not_have_is_sent_as_the_nearest(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput]
) -> None:
    times = {
        "0001-01-01T00:00:00.000Z": 0,
        "1969-12-31T23:59:59.999Z": 0,
        "2026-11-22T19:06:22.000Z": 1_795_374_382,
        "2106-02-07T06:28:16.000Z": 0xFFFFFFFF,
        "9999-12-31T23:59:59.999Z": 0xFFFFFFFF,
    }
    documents = [Stored(1, stamp, json.dumps({"@timestamp": stamp}).encode()) for stamp in times]
    there = receiver()
    outcomes = connect(there.host).send(documents)
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: len(times)}
    assert {entry["record"]["@timestamp"] for entry in there.entries(len(times))} == set(times)
    assert {stamp: int.from_bytes(event_time(stamp).data[:4], "big") for stamp in times} == times


def test_a_document_that_msgpack_cannot_say_is_rejected_alone(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver()
    documents = batch(5, namespace)
    documents[2] = stored(2, namespace, cpu=2**70)
    outcomes = connect(there.host).send(documents)
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 4, DeliveryStatus.REJECTED: 1}
    assert len(there.entries(4)) == 4


def test_a_document_of_each_new_signature_goes_before_its_crashes(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver()
    output = connect(there.host, signatures=True, bulk_max_size=5)
    assert statuses(output.send(batch(9, namespace))) == {DeliveryStatus.DELIVERED: 9}
    entries = there.entries(12)
    signatures = [entry for entry in entries if entry["tag"] == "kernel.panic.signature"]
    assert len(entries) == 12
    assert entries[:3] == signatures
    for entry in signatures:
        record, crash = entry["record"], entries[3]["record"]
        _, action = bulk_actions(
            stored(int(record["id"][-1]), namespace), record["event"]["ingested"], seeded=False, known=set()
        )
        head, body = (json.loads(line) for line in action.lines.splitlines())
        assert record.pop("labels") == {"document_id": head["create"]["_id"]}
        assert record == body
        assert crash["kernel"]["panic"]["title"] == record["title"]


def test_without_acknowledgement_it_is_sent_all_the_same(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    there = receiver()
    assert statuses(connect(there.host, require_ack=False).send(batch(5, namespace))) == {
        DeliveryStatus.DELIVERED: 5
    }
    assert len(there.entries(5)) == 5


def test_a_chunk_is_one_packed_forward_message_below_the_receivers_limit(
    connect: Callable[..., FluentdOutput], namespace: str
) -> None:
    seen: list[Any] = []

    def acknowledge(client: socket.socket) -> None:
        for message in messages(client, raw=True):
            seen.append(message)
            client.sendall(msgpack.packb({"ack": message[2][b"chunk"].decode()}))

    with served(acknowledge) as host:
        connect(host, compress="gzip").send(batch(700, namespace))
    assert len(seen) >= 3
    for tag, entries, option in seen:
        assert tag == b"kernel.panic"
        assert option[b"compressed"] == b"gzip"
        inflated = gzip.decompress(entries)
        assert len(inflated) < 4_000_000
        unpacker = msgpack.Unpacker(raw=False)
        unpacker.feed(inflated)
        assert len(list(unpacker)) == option[b"size"]
    assert len({option[b"chunk"] for _, _, option in seen}) == len(seen)


KEY, NONCE = b"the key", b"\xff\x00 no text \x80"
GREETINGS = {
    # Fluentd 1.16 packs bin; Fluent Bit 5 raw bytes as str, and knows no keepalive.
    "fluentd": (msgpack.packb(["HELO", {"nonce": NONCE, "auth": b"salt", "keepalive": False}]), False),
    "fluent-bit": (
        msgpack.packb(["HELO", {"nonce": NONCE, "auth": b""}], use_bin_type=False),
        True,
    ),
}


@pytest.mark.parametrize("kind", GREETINGS)
def test_the_handshake_is_what_each_receiver_reads(
    connect: Callable[..., FluentdOutput], namespace: str, kind: str
) -> None:
    greeting, keeps = GREETINGS[kind]
    pings: list[list[bytes]] = []
    chunks: list[Any] = []

    def serve(client: socket.socket) -> None:
        client.sendall(greeting)
        # In one write, otherwise Fluent Bit closes the connection; and no further data before the PONG.
        pings.append(msgpack.unpackb(client.recv(65536), raw=True))
        salt = pings[-1][2]
        digest = hashlib.sha512(salt + b"collector" + NONCE + KEY).hexdigest()
        client.sendall(msgpack.packb(["PONG", True, "", "collector", digest]))
        for message in messages(client):
            chunks.append(message)
            client.sendall(msgpack.packb({"ack": message[2]["chunk"]}))

    with served(serve) as host:
        output = connect(host, shared_key="the key", username="me", password="word", bulk_max_size=2)  # noqa: S106
        assert statuses(output.send(batch(6, namespace))) == {DeliveryStatus.DELIVERED: 6}
    assert len(pings) == (1 if keeps else 3), "a connection is kept where the receiver keeps it"
    for _, name, salt, digest, user, proof in pings:
        assert name != b"collector"
        assert salt.isascii()
        assert digest.decode() == hashlib.sha512(salt + name + NONCE + KEY).hexdigest()
        if kind == "fluentd":
            assert (user, proof.decode()) == (b"me", hashlib.sha512(b"salt" + b"me" + b"word").hexdigest())
        else:
            assert (user, proof) == (b"", b"")
    assert all(isinstance(option["chunk"], str) and option["size"] == 2 for _, _, option in chunks)


def test_the_next_host_takes_what_the_first_did_not_acknowledge(
    receiver: Callable[..., Receiver],
    connect: Callable[..., FluentdOutput],
    through: Callable[[Receiver], TcpProxy],
    namespace: str,
) -> None:
    first, second = receiver(), receiver()
    proxy = through(first)
    proxy.lose = lambda _: len(first.entries()) >= 100
    documents = batch(300, namespace)
    outcomes = deliver(connect(proxy.host, second.host, bulk_max_size=50), documents)
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 300}
    assert proxy.seen == 1
    assert (len(first.entries(100)), len(second.entries(200))) == (100, 200)
    assert incidents(first, 100) + incidents(second, 200) == {
        f"v1-{namespace}-{number:06}": 1 for number in range(300)
    }


def test_the_check_greets_every_host(
    receiver: Callable[..., Receiver], connect: Callable[..., FluentdOutput]
) -> None:
    there = receiver(security=SECURITY)
    line = connect(there.host, "127.0.0.1:9", shared_key="the key").check()
    assert line == f"Fluentd at {there.host}: connected; 127.0.0.1:9: Connection refused"
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9: Connection refused"):
        connect("127.0.0.1:9").check()


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({}, "hosts"),
        ({"hosts": []}, "hosts"),
        ({"hosts": ["http://collector:24224"]}, "collector:24224"),
        ({"hosts": ["a"], "tag": ""}, "tag"),
        ({"hosts": ["a"], "username": "me", "password": "x"}, "shared_key"),
        ({"hosts": ["a"], "shared_key": "secret", "shared_key_file": "f"}, "exclude"),
        ({"hosts": ["a"], "compress": "zstd"}, "zstd"),
    ],
)
def test_a_wrong_setting_is_refused(keys: dict[str, object], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(keys, FluentdOutput.Config)


class served:  # noqa: N801 - named for use as a function
    """A scripted receiver, for answers that no real one gives on demand."""

    def __init__(self, answer: Callable[[socket.socket], object]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                try:
                    self._answer(client)
                except OSError:
                    continue
