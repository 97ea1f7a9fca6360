"""OpenTelemetry's logs protocol with the real Collector, and with answers that it does not give on demand."""

from __future__ import annotations

import gzip
import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import pytest
import trustme
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (
    LogsServiceServicer,
    add_LogsServiceServicer_to_server,
)

from kpanic.shipper.api import DeliveryStatus, Stored, Unavailable
from kpanic.shipper.contract import check_output, stored_documents
from kpanic.shipper.outputs.otlp import OtlpOutput
from tests.engines.collector import Collector
from tests.engines.documents import batch, stored
from tests.shipper.delivery import deliver, statuses
from tests.shipper.test_outputs_attack import serving
from tests.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROTOCOLS = ["grpc", "http/protobuf"]


def made(endpoint: str, protocol: str, **config: object) -> OtlpOutput:
    keys = {"endpoint": endpoint, "protocol": protocol, "timeout": 10, **config}
    return OtlpOutput(msgspec.convert(keys, OtlpOutput.Config))


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """A function that starts Collectors."""
    running: list[Collector] = []

    def make(tls: dict[str, str] | None = None) -> Collector:
        running.append(Collector(tmp_path, tls))
        running[-1].start()
        return running[-1]

    yield make
    for one in running:
        one.stop()


def address(collector: Collector, protocol: str, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{collector.grpc if protocol == 'grpc' else collector.http}"


@pytest.mark.process
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_output_keeps_its_contract(collector: Callable[..., Collector], protocol: str) -> None:
    there = collector()

    @contextmanager
    def outage() -> Iterator[None]:
        there.stop()
        yield
        there.start()

    check_output(lambda: made(address(there, protocol), protocol), there.documents, outage=outage)


@pytest.mark.process
def test_a_record_has_openTelemetrys_names_and_the_document(  # noqa: N802
    collector: Callable[..., Collector],
) -> None:
    there = collector()
    first, *_ = stored_documents(1)
    output = made(address(there, "grpc"), "grpc", signatures=True, compression="none")
    assert output.check() == f"OTLP at {output.endpoint}: answers"
    for _ in range(2):
        assert statuses(output.send([first])) == {DeliveryStatus.DELIVERED: 1}
    until(lambda: len(there.records()) == 3)
    crash, signature, again = there.records()
    assert [one["eventName"] for one in (crash, signature, again)] == [
        "kernel.panic",
        "kernel.panic.signature",
        "kernel.panic",
    ]
    document = crash["body"]
    assert crash["resource"] == {
        "service.name": "kernel",
        "os.type": "linux",
        "host.name": "web-1",
        "os.version": document["host"]["os"]["kernel"],
        "host.arch": "amd64",
    }
    assert crash["severityText"] == "FATAL"
    assert crash["attributes"]["exception.message"] == document["kernel"]["panic"]["title"]
    assert crash["attributes"]["exception.stacktrace"] == document["error"]["stack_trace"]
    assert crash["attributes"]["log.record.uid"] == first.id
    assert crash["attributes"]["elasticsearch.index"] == "logs-kernel.panic-default"
    assert signature["attributes"]["elasticsearch.index"] == "kernel-panic-signatures"
    assert signature["body"]["title"] == document["kernel"]["panic"]["title"]


@pytest.mark.process
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tls_is_checked(collector: Callable[..., Collector], tmp_path: Path, protocol: str) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(files["ca"])
    certificate.private_key_pem.write_to_path(files["key"])
    certificate.cert_chain_pems[0].write_to_path(files["cert"])
    there = collector(files)
    where = address(there, protocol, "https")
    output = made(where, protocol, ssl={"certificate_authorities": [files["ca"]]})
    assert statuses(output.send(stored_documents(2))) == {DeliveryStatus.DELIVERED: 2}
    with pytest.raises(Unavailable, match=r"certificate|UNAVAILABLE"):
        made(where, protocol).send(stored_documents(1))


class Receiver(LogsServiceServicer):  # type: ignore[misc] # it has no types
    """A receiver with scripted answers."""

    def __init__(self) -> None:
        self.takes: Callable[[str], bool] = lambda _: True
        self.answer: Any = None
        self.headers: list[dict[str, str]] = []
        self.taken: Counter[str] = Counter()

    def Export(self, request: ExportLogsServiceRequest, context: Any) -> ExportLogsServiceResponse:  # noqa: ANN401, N802
        self.headers.append(dict(context.invocation_metadata()))
        if self.answer:
            context.abort(*self.answer)
        return self.take(request)

    def take(self, request: ExportLogsServiceRequest) -> ExportLogsServiceResponse:
        response = ExportLogsServiceResponse()
        for logs in request.resource_logs:
            for record in logs.scope_logs[0].log_records:
                (name,) = (one.value.string_value for one in record.attributes if one.key == "log.record.uid")
                if self.takes(name):
                    self.taken[name] += 1
                else:
                    response.partial_success.rejected_log_records += 1
                    response.partial_success.error_message = "too odd"
        return response


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, Callable[..., OtlpOutput]]]:
    """A gRPC receiver, and a function that makes an output for it."""
    answering = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    add_LogsServiceServicer_to_server(answering, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    outputs: list[OtlpOutput] = []

    def make(**config: object) -> OtlpOutput:
        outputs.append(made(f"http://127.0.0.1:{port}", "grpc", **config))
        return outputs[-1]

    yield answering, make
    for output in outputs:
        output.close()
    server.stop(None)


def test_a_partial_success_rejects_the_refused_documents_and_delivers_the_rest(
    receiver: tuple[Receiver, Callable[..., OtlpOutput]], namespace: str
) -> None:
    answering, make = receiver
    documents = batch(10, namespace)
    answering.takes = lambda name: name != documents[3].id
    outcomes = make().send(documents)
    assert [one.id for one in outcomes if one.status is DeliveryStatus.REJECTED] == [documents[3].id]
    assert statuses(outcomes)[DeliveryStatus.DELIVERED] == 9
    assert outcomes[3].reason == "too odd"
    assert set(answering.taken) == {one.id for one in documents} - {documents[3].id}
    assert max(answering.taken.values()) == 2, "once more alone, and no more often"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((grpc.StatusCode.INVALID_ARGUMENT, "no"), DeliveryStatus.REJECTED),
        (
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max"),
            DeliveryStatus.REJECTED,
        ),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full"), None),
        ((grpc.StatusCode.UNAVAILABLE, "down"), None),
        ((grpc.StatusCode.UNAUTHENTICATED, "who are you"), None),
        ((grpc.StatusCode.UNIMPLEMENTED, "no logs"), None),
    ],
)
def test_a_status_of_grpc_says_whether_the_document_or_the_receiver_is_wrong(
    receiver: tuple[Receiver, Callable[..., OtlpOutput]],
    namespace: str,
    answer: Any,  # noqa: ANN401
    status: DeliveryStatus | None,
) -> None:
    answering, make = receiver
    answering.answer = answer
    output, documents = make(), batch(3, namespace)
    if status:
        assert statuses(output.send(documents)) == {status: 3}
        return
    with pytest.raises(Unavailable, match=answer[0].name):
        output.send(documents)
    answering.answer = None
    assert statuses(deliver(output, documents)) == {DeliveryStatus.DELIVERED: 3}


def test_headers_are_sent_and_their_values_are_secret(
    receiver: tuple[Receiver, Callable[..., OtlpOutput]], namespace: str
) -> None:
    answering, make = receiver
    answering.answer = (grpc.StatusCode.UNAUTHENTICATED, "bad key the-long-api-key")
    with pytest.raises(Unavailable) as told:
        make(headers={"Api-Key": "the-long-api-key"}).send(batch(1, namespace))
    assert answering.headers[0]["api-key"] == "the-long-api-key"
    assert "the-long-api-key" not in str(told.value)


def test_a_request_stays_below_what_receivers_take(
    receiver: tuple[Receiver, Callable[..., OtlpOutput]], namespace: str
) -> None:
    answering, make = receiver
    documents = [stored(number, namespace, cause_detail="x" * 900_000) for number in range(8)]
    documents.append(
        Stored(9, "odd", b'{"huge":123456789012345678901234567890,"nothing":null,"list":[1.5,true]}')
    )
    assert statuses(make().send(documents)) == {DeliveryStatus.DELIVERED: 9}
    assert len(answering.headers) == 3
    assert len(answering.taken) == 9


@contextmanager
def answers(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Serve HTTP; the last answer is repeated."""
    planned = itertools.chain(answers, itertools.repeat(answers[-1]))
    seen: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["content-length"])))
            status, body = next(planned)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "rejected"),
    [
        (400, b"bad \x1b[2J data", True),
        (413, b"", True),
        (401, b"who", False),
        (404, b"", False),
        (429, b"", False),
        (500, b"", False),
        (503, b"", False),
        (200, b"<html>", False),
    ],
)
def test_a_status_of_http_says_whether_the_document_or_the_receiver_is_wrong(
    namespace: str,
    status: int,
    body: bytes,
    rejected: bool,  # noqa: FBT001
) -> None:
    with answers((status, body)) as (url, seen):
        output, documents = made(url, "http/protobuf"), batch(2, namespace)
        if rejected:
            outcomes = output.send(documents)
            assert statuses(outcomes) == {DeliveryStatus.REJECTED: 2}
            assert outcomes[0].reason.startswith(f"HTTP {status}: ")
            assert "\x1b" not in outcomes[0].reason
            assert len(seen) == 3, "both together, then each alone"
        else:
            with pytest.raises(Unavailable, match=r"otlp: http://127"):
                output.send(documents)
            assert len(seen) == 1


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({}, "endpoint"),
        ({"endpoint": "collector:4317"}, "scheme"),
        ({"endpoint": "ftp://collector"}, "address like"),
        ({"endpoint": "http://a:b@collector"}, "no user and password"),
        ({"endpoint": "http://collector", "protocol": "http/json"}, "http/json"),
    ],
)
def test_a_wrong_setting_is_refused(keys: dict[str, object], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(keys, OtlpOutput.Config)


def test_a_setting_that_grpc_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="verification_mode"):
        made("https://collector", "grpc", ssl={"verification_mode": "none"})


def test_a_compressed_answer_is_refused_before_it_is_unpacked(namespace: str) -> None:
    bomb = gzip.compress(bytes(64 << 20))

    def answer(client: socket.socket, _: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
        client.sendall(head + bomb)

    with (
        serving(answer) as url,
        pytest.raises(Unavailable, match="the answer is compressed, which was not asked for"),
    ):
        made(url, "http/protobuf").send(batch(2, namespace))


@pytest.mark.timed
def test_an_answer_that_drips_is_left_after_the_timeout(namespace: str) -> None:
    ended = threading.Event()

    def drip(client: socket.socket, _: bytes) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not ended.wait(0.1):
            client.sendall(b"x")

    with serving(drip) as url:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="timed out"):
            made(url, "http/protobuf", timeout=1).send(batch(2, namespace))
        assert time.monotonic() - began < 30  # the server sends slowly for 100 s
        ended.set()
