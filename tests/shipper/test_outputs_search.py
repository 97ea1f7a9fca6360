"""Real OpenSearch and Elasticsearch: no document is lost or duplicated."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kpanic.shipper.api import DeliveryStatus, Unavailable
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.setup import setup_index_management
from tests.engines.documents import batch, stored
from tests.engines.proxy import CUT, HANG, SWALLOW, Answer, HttpProxy
from tests.shipper.delivery import deliver, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.outputs.bulk import BulkOutput
    from tests.engines.search import Engine

OUTPUTS = {"opensearch": OpenSearchOutput, "elasticsearch": ElasticsearchOutput}


@pytest.fixture
def connect(engine: Engine) -> Iterator[Callable[..., BulkOutput]]:
    """Return the engine's output, for its address or another one."""
    made: list[BulkOutput] = []

    def make(*hosts: str, **keys: object) -> BulkOutput:
        kind = OUTPUTS[engine.product]
        config: dict[str, Any] = {"hosts": list(hosts) or [engine.url], "timeout": 60, **keys}
        made.append(kind(msgspec.convert(config, kind.Config)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for output in made:
        output.close()


@pytest.fixture
def stream(engine: Engine, connect: Callable[..., BulkOutput], namespace: str) -> Iterator[str]:
    """The name of a data stream for this test, whose template is installed."""
    list(setup_index_management(connect()))
    name = f"logs-kernel.panic-{namespace}"
    yield name
    engine.ask("DELETE", f"/_data_stream/{name}")


def test_documents_are_delivered_whole(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    outcomes = connect().send(batch(600, namespace))
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 600}
    hits = engine.found(stream)
    assert len(hits) == 600
    first = next(hit for hit in hits if hit["_id"] == f"v1-{namespace}-000000-kdump")
    sent = json.loads(stored(0, namespace).body)
    ingested = first["_source"]["event"].pop("ingested")
    assert first["_source"] == sent
    assert ingested > "2026"


def test_a_crash_shipped_twice_is_stored_once(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    documents = batch(300, namespace)
    connect().send(documents)
    assert statuses(connect().send(documents)) == {DeliveryStatus.DELIVERED: 300}
    assert engine.count(stream) == 300


def test_each_signature_leaves_one_document(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    connect().send(batch(100, namespace))
    connect(signatures={"seeded": True}).send(batch(100, namespace))
    hits = engine.found("kernel-panic-signatures", {"prefix": {"id": f"v1-{namespace}"}})
    assert sorted(hit["_id"] for hit in hits) == [f"v1-{namespace}{number}" for number in range(3)]
    assert {hit["_source"]["seeded"] for hit in hits} == {False}, "the first one stays"
    assert {hit["_source"]["title"] for hit in hits} == {"sysrq_handle_crash"}


def test_a_seeded_signature_does_not_alert(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    connect(signatures={"seeded": True}).send(batch(3, namespace))
    hits = engine.found("kernel-panic-signatures", {"prefix": {"id": f"v1-{namespace}"}})
    assert [hit["_source"]["seeded"] for hit in hits] == [True] * 3


def test_history_is_seeded_and_what_follows_it_does_not_page(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    connect().send([stored(0, namespace, backfill=True), stored(1, namespace)])
    connect().send([stored(3, namespace)])  # with the signature of the first one
    hits = engine.found("kernel-panic-signatures", {"prefix": {"id": f"v1-{namespace}"}})
    seeded = {hit["_source"]["id"]: hit["_source"]["seeded"] for hit in hits}
    assert seeded == {f"v1-{namespace}0": True, f"v1-{namespace}1": False}


def test_a_fault_that_was_survived_does_not_keep_the_panic_quiet(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    connect().send([stored(0, namespace, fatal=False)])
    connect().send([stored(3, namespace), stored(6, namespace, fatal=False)])
    hits = engine.found("kernel-panic-signatures", {"term": {"id": f"v1-{namespace}0"}})
    fatal = {hit["_id"]: hit["_source"]["fatal"] for hit in hits}
    assert fatal == {f"v1-{namespace}0": True, f"v1-{namespace}0-survived": False}


def test_a_signature_says_what_an_alert_needs(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    analysis = {"summary": "Somebody crashed it.", "why": "The dmesg is enough.", "steps": []}
    head = "\n".join(f"f{number}+0x1/0x2" for number in range(8))
    triage = {"status": "known", "ticket": "OPS-1"}
    connect().send([stored(0, namespace, analysis=analysis, triage=triage, trace_head=head)])
    (hit,) = engine.found("kernel-panic-signatures", {"term": {"id": f"v1-{namespace}0"}})
    told = hit["_source"]
    assert told["trace"] == head
    assert (told["summary"], told["why"]) == ("Somebody crashed it.", "The dmesg is enough.")
    assert told["triage"] == {"status": "known", "ticket": "OPS-1"}
    assert engine.found("kernel-panic-signatures", {"term": {"triage.status": "known"}})


def test_a_poison_document_is_rejected_alone_and_replayed_when_mended(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    documents = batch(1000, namespace)
    poison = documents[500] = stored(500, namespace, cpu="not a number")
    outcomes = connect().send(documents)
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 999, DeliveryStatus.REJECTED: 1}
    assert outcomes[500].id == poison.id
    assert "kernel.panic.cpu" in outcomes[500].reason
    assert outcomes[500].reason.startswith("400: ")
    assert statuses(connect().send([stored(500, namespace, cpu=3)])) == {DeliveryStatus.DELIVERED: 1}
    assert engine.count(stream) == 1000


def test_an_id_that_fails_the_whole_request_is_found_by_halving(
    engine: Engine, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    documents = batch(100, namespace)
    documents[37] = replace(documents[37], id="x" * 600)
    outcomes = connect().send(documents)
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 99, DeliveryStatus.REJECTED: 1}
    assert outcomes[37].status is DeliveryStatus.REJECTED
    assert "512" in outcomes[37].reason
    assert engine.count(stream) == 99


def test_a_request_is_compressed_and_of_bounded_size(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    sizes: list[int] = []
    proxy.always = lambda body: sizes.append(len(body))  # type: ignore[func-returns-value, return-value]
    connect(proxy.url, bulk_max_size=1000).send(batch(1300, namespace))
    assert len(sizes) == 3
    assert max(sizes) < 5_100_000
    assert all(int(headers["Content-Length"]) < 500_000 for headers in proxy.headers)


def test_without_compression_the_request_is_plain(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    connect(proxy.url, compression_level=0).send(batch(3, namespace))
    names = {name.lower() for name in proxy.headers[0]}
    assert "content-encoding" not in names


PAGE = b"<html><body>Please log in</body></html>"
HELD = {
    "too many requests": Answer(429, b'{"error":{"type":"circuit_breaking_exception","reason":"full"}}'),
    "bad gateway": Answer(502, b"<html>502</html>", "text/html"),
    "unavailable": Answer(503, b'{"error":{"type":"cluster_manager_not_discovered","reason":"none"}}'),
    "gateway timeout": Answer(504, b"", "text/html"),
    "redirect": Answer(302, b"", "text/html", (("location", "http://127.0.0.1:9/login"),)),
    "moved": Answer(308, b"", "text/html", (("location", "http://127.0.0.1:9/login"),)),
    "a login page": Answer(200, PAGE, "text/html"),
    "a login page of the engine's type": Answer(200, PAGE, "application/json"),
    "an empty answer": Answer(200, b"", "application/json"),
    "half an answer": Answer(200, b'{"took":3,"errors":false,"items":[{"cre', "application/json"),
    "no verdicts": Answer(200, b'{"took":3}', "application/json", (("x-elastic-product", "Elasticsearch"),)),
    "a proxy's complaint": Answer(400, b"<html>plain HTTP to HTTPS port</html>", "text/html"),
    "not found": Answer(404, b'{"error":"no such thing"}', "application/json"),
    "wrong password": Answer(401, b'{"error":{"type":"security_exception","reason":"no"}}'),
    "forbidden": Answer(403, b'{"error":{"type":"security_exception","reason":"no"}}'),
    "cut": CUT,
}


@pytest.mark.parametrize("fault", HELD)
def test_an_answer_that_is_no_verdict_holds_every_document(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, engine: Engine, fault: str
) -> None:
    output, documents = connect(proxy.url), batch(20, stream.rpartition("-")[2])
    proxy.plan.append(HELD[fault])
    with pytest.raises(Unavailable) as told:
        output.send(documents)
    assert proxy.seen == [HELD[fault]]
    assert output.name in str(told.value)
    assert "\n" not in str(told.value)
    assert statuses(output.send(documents)) == {DeliveryStatus.DELIVERED: 20}
    assert engine.count(stream) == 20


def test_a_swallowed_answer_does_not_double(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str, engine: Engine
) -> None:
    output, documents = connect(proxy.url), batch(50, namespace)
    proxy.plan.append(SWALLOW)
    with pytest.raises(Unavailable):
        output.send(documents)
    assert engine.count(stream) == 50
    assert statuses(output.send(documents)) == {DeliveryStatus.DELIVERED: 50}
    assert engine.count(stream) == 50


def test_an_engine_that_hangs_is_left_after_the_timeout(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str
) -> None:
    del stream
    output = connect(proxy.url, timeout=0.5)
    proxy.plan.append(HANG)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="timed out"):
        output.send(batch(5, namespace))
    assert time.monotonic() - started < 20  # it does not answer for 30 s


def test_documents_settled_before_the_engine_stopped_stay_settled(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str, engine: Engine
) -> None:
    proxy.plan += [None, Answer(503)]
    outcomes = connect(proxy.url).send(batch(600, namespace))
    counted = statuses(outcomes)
    assert counted[DeliveryStatus.DELIVERED] == engine.count(stream) > 200
    assert counted[DeliveryStatus.RETRY] == 600 - counted[DeliveryStatus.DELIVERED]
    assert {outcome.status for outcome in outcomes[:200]} == {DeliveryStatus.DELIVERED}


def test_a_request_that_is_too_large_is_halved_until_it_fits(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str, engine: Engine
) -> None:
    documents = batch(40, namespace)
    giant = documents[11] = stored(11, namespace, cause_detail="x" * 150_000)
    proxy.always = lambda body: Answer(413, b"<html>413</html>", "text/html") if len(body) > 100_000 else None
    outcomes = connect(proxy.url).send(documents)
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 39, DeliveryStatus.REJECTED: 1}
    assert outcomes[11].id == giant.id
    assert outcomes[11].status is DeliveryStatus.REJECTED
    assert outcomes[11].reason.startswith("413")
    assert engine.count(stream) == 39


def test_an_engine_that_is_always_too_busy_for_the_chunk_gets_smaller_ones(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str, engine: Engine
) -> None:
    busy = Answer(429, b'{"error":{"type":"rejected_execution_exception","reason":"coordinating bytes"}}')
    proxy.always = lambda body: busy if len(body) > 300_000 else None
    outcomes = deliver(connect(proxy.url), batch(200, namespace))
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 200}
    assert proxy.seen.count(busy) > 3
    assert engine.count(stream) == 200


def test_faults_in_a_row_lose_and_double_nothing(
    proxy: HttpProxy, connect: Callable[..., BulkOutput], stream: str, namespace: str, engine: Engine
) -> None:
    faults = [CUT, SWALLOW, Answer(503), SWALLOW, Answer(429), CUT, Answer(200, PAGE, "text/html"), SWALLOW]
    proxy.plan += faults + [None, SWALLOW, None, CUT] * 3
    documents = batch(1500, namespace)
    documents[700] = stored(700, namespace, cpu="poison")
    outcomes = deliver(connect(proxy.url, bulk_max_size=100), documents)
    assert not proxy.plan, "every fault was met"
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 1499, DeliveryStatus.REJECTED: 1}
    assert engine.count(stream) == 1499


def test_a_blocked_index_is_waited_for(
    connect: Callable[..., BulkOutput], stream: str, namespace: str, engine: Engine
) -> None:
    output = connect()
    output.send(batch(1, namespace))
    engine.ask("PUT", f"/{stream}/_settings", {"index.blocks.write": True})
    held = output.send(batch(5, namespace)[1:])
    assert statuses(held) == {DeliveryStatus.RETRY: 4}
    assert "cluster_block_exception" in held[0].reason
    engine.ask("PUT", f"/{stream}/_settings", {"index.blocks.write": None})
    assert statuses(output.send(batch(5, namespace))) == {DeliveryStatus.DELIVERED: 5}


def test_an_unreachable_server_is_reported_in_one_line(
    connect: Callable[..., BulkOutput], namespace: str
) -> None:
    output = connect("http://127.0.0.1:9")
    for action in (lambda: output.send(batch(2, namespace)), output.check):
        with pytest.raises(Unavailable, match=r"http://127.0.0.1:9: Connection refused$"):
            action()


def test_the_next_host_is_asked_when_one_is_down(
    connect: Callable[..., BulkOutput], stream: str, namespace: str, engine: Engine
) -> None:
    output = connect("http://127.0.0.1:9", engine.url)
    for number in range(4):
        assert statuses(deliver(output, [stored(number, namespace)])) == {DeliveryStatus.DELIVERED: 1}
    assert engine.count(stream) == 4


@pytest.mark.usefixtures("stream")
def test_the_check_tells_what_was_reached(
    connect: Callable[..., BulkOutput], engine: Engine, proxy: HttpProxy
) -> None:
    line = connect().check()
    assert line.startswith(
        {"opensearch": "OpenSearch at ", "elasticsearch": "Elasticsearch at "}[engine.product]
    )
    assert engine.url in line
    assert "template" not in line
    proxy.instead["/_index_template/kernel-panic"] = Answer(404)
    assert "index template is missing: run `kpanic setup --index-management`" in connect(proxy.url).check()
    for health in (b"{}", b"[]", b'"green"', b'{"status": null, "number_of_nodes": "many"}'):
        product = (("x-elastic-product", "Elasticsearch"),)
        proxy.instead["/_cluster/health"] = Answer(200, health, headers=product)
        assert f" at {proxy.url}: " in connect(proxy.url).check()


def test_opensearch_behind_the_wrong_output_is_named(opensearch: Engine, namespace: str) -> None:
    config = ElasticsearchOutput.Config(hosts=[opensearch.url])
    output = ElasticsearchOutput(config)
    with pytest.raises(Unavailable, match="elasticsearch: "):
        output.send(batch(2, namespace))
    output.close()


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"hosts": []}, "hosts"),
        ({"hosts": ["ftp://search"]}, "search"),
        ({"hosts": ["https://me:secret@search"]}, "password_file"),
        ({"hosts": ["a"], "password": "secret", "password_file": "f"}, "exclude"),
        ({"hosts": ["a"], "compression_level": 10}, "compression_level"),
        ({"hosts": ["a"], "bulk_max_size": 0}, "bulk_max_size"),
        ({"hosts": ["a"], "usrname": "me"}, "usrname"),
    ],
)
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_wrong_setting_is_refused_without_telling_secrets(
    name: str, keys: dict[str, object], word: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=word) as told:
        msgspec.convert(keys, OUTPUTS[name].Config)
    assert "secret" not in str(told.value).replace("secret_", "")


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_configuration_shows_no_secret(name: str) -> None:
    config = msgspec.convert({"hosts": ["a"], "username": "me", "password": "hunter2"}, OUTPUTS[name].Config)
    assert "hunter2" not in repr(config) + str(config) + f"{config!r:>30}"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("search", "http://search:9200"),
        ("search:9201", "http://search:9201"),
        ("https://search", "https://search:9200"),
        ("https://search:443/es/", "https://search:443/es"),
        ("http://[::1]:9200", "http://[::1]:9200"),
    ],
)
def test_an_address_may_leave_out_scheme_and_port(host: str, url: str) -> None:
    assert OpenSearchOutput.Config(hosts=[host]).urls() == [url]
