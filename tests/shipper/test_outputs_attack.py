"""Hostile answers in place of an engine's: size and time are bounded, and only requested data is used."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
import tracemalloc
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kpanic.dashboards.query import distinct
from kpanic.shipper.api import DeliveryStatus, Unavailable
from kpanic.shipper.outputs import bounded_answers
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.outputs.search import answer
from tests.engines.documents import batch
from tests.shipper.delivery import statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    b"x-elastic-product: Elasticsearch\r\nconnection: close\r\n"
)


@contextmanager
def serving(answer: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """Pass each request to a function; yield the server's address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=one, args=(client,), daemon=True).start()

    def one(client: socket.socket) -> None:
        with suppress(OSError), client, client.makefile("rb") as request:
            size = 0
            head = b""
            while (line := request.readline()).strip():
                head += line
                name, _, value = line.lower().partition(b":")
                size = int(value) if name == b"content-length" else size
            answer(client, head + request.read(size))

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()


@pytest.fixture(params=[OpenSearchOutput, ElasticsearchOutput])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def make(url: str, **keys: object) -> Any:  # noqa: ANN401
        config = {"hosts": [url], "compression_level": 0, "timeout": 1, **keys}
        return request.param(msgspec.convert(config, request.param.Config))

    return make


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 314572800\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n12c00000\r\n",
        b"\r\n",
    ],
    ids=["length", "chunk", "neither"],
)
def test_an_answer_of_300_mb_is_left_off(
    connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(bounded_answers, "LARGEST", 1 << 20)

    def flood(client: socket.socket, _: bytes) -> None:
        client.sendall(HEAD + head)
        while True:
            client.sendall(b"[" * 65_536)

    with serving(flood) as url:
        output = connect(url, timeout=60)
        tracemalloc.start()
        with pytest.raises(Unavailable, match="the answer is larger than 1 MB"):
            output.send(batch(2, "x"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 << 20


def test_a_compressed_answer_is_refused_before_it_is_unpacked(connect: Callable[..., Any]) -> None:
    bomb = gzip.compress(b"[" * (64 << 20))

    def answer(client: socket.socket, _: bytes) -> None:
        client.sendall(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb)

    with (
        serving(answer) as url,
        pytest.raises(Unavailable, match="the answer is compressed, which was not asked for"),
    ):
        connect(url).send(batch(2, "x"))


@pytest.mark.timed
@pytest.mark.parametrize("part", ["status", "headers", "body"])
def test_an_answer_that_drips_is_left_after_the_timeout(connect: Callable[..., Any], part: str) -> None:
    sent = {
        "status": b"",
        "headers": b"HTTP/1.1 200 OK\r\nx: ",
        "body": HEAD + b"content-length: 1000\r\n\r\n",
    }
    ended = threading.Event()

    def drip(client: socket.socket, _: bytes) -> None:
        client.sendall(sent[part])
        while not ended.wait(0.1):
            client.sendall(b"H")

    with serving(drip) as url:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="timed out"):
            connect(url).send(batch(2, "x"))
        assert time.monotonic() - began < 30  # the server continues to send slowly
        ended.set()


def test_an_item_about_another_document_delivers_nothing(connect: Callable[..., Any]) -> None:
    def answer(client: socket.socket, request: bytes) -> None:
        ids = [
            json.loads(line)["create"]["_id"]
            for line in request.splitlines()
            if line.startswith(b'{"create"')
        ]
        items = [{"create": {"_id": one if at else "another", "status": 201}} for at, one in enumerate(ids)]
        body = json.dumps({"errors": False, "items": items}).encode()
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)

    with serving(answer) as url:
        outcomes = connect(url).send(batch(3, "x"))
    assert statuses(outcomes) == {DeliveryStatus.DELIVERED: 2, DeliveryStatus.RETRY: 1}
    assert outcomes[0].reason == "an answer about another document"


def test_an_engine_that_does_not_know_a_hint_is_asked_without_it(connect: Callable[..., Any]) -> None:
    """OpenSearch 2.11 answers like this."""
    refused = {"error": {"root_cause": [{"reason": "[cardinality] unknown field [execution_hint]"}]}}
    found = {"timed_out": False, "_shards": {"failed": 0}, "hits": {}}
    asked = []

    def old(client: socket.socket, request: bytes) -> None:
        asked.append(json.loads(request.partition(b"{")[1] + request.partition(b"{")[2]))
        hinted = b"execution_hint" in request
        body = json.dumps(refused if hinted else found).encode()
        head = HEAD.replace(b"200 OK", b"400 Bad Request") if hinted else HEAD
        client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)

    counted = {"groups": [{"cardinality": distinct("host.name", grouped=True)["cardinality"]}]}
    with serving(old) as url:
        assert answer(connect(url), "logs", counted) == found
    assert asked == [counted, {"groups": [{"cardinality": distinct("host.name")["cardinality"]}]}]


def test_a_secret_that_the_server_repeats_is_shown_nowhere(connect: Callable[..., Any]) -> None:
    def echo(client: socket.socket, request: bytes) -> None:
        body = json.dumps({"error": {"type": "x", "reason": request.decode("latin-1") + " hunter2"}}).encode()
        status = HEAD.replace(b"200 OK", b"403 Forbidden")
        client.sendall(status + b"content-length: %d\r\n\r\n" % len(body) + body)

    with serving(echo) as url, pytest.raises(Unavailable) as told:
        connect(url, username="kpanic", password="hunter2").send(batch(1, "x"))  # noqa: S106
    assert "[secret]" in str(told.value)
    for secret in ("hunter2", base64.b64encode(b"kpanic:hunter2").decode()):
        assert secret not in str(told.value)
