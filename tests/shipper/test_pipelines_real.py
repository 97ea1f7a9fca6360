"""The exported configurations of rsyslog and syslog-ng in the real programs, with a real OpenSearch."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from click.testing import CliRunner

from kpanic import grammars
from kpanic.indices import SIGNATURES, data_stream
from kpanic.shipper.cli import cli
from kpanic.shipper.contract import crash_text
from kpanic.shipper.document import build
from kpanic.shipper.origin import Origin
from kpanic.shipper.pipelines import NETCONSOLE_PORT, SYSLOG_COUNTED_PORT, SYSLOG_PORT, Engine, pipeline
from tests.engines import parts
from tests.shipper.filters import program
from tests.shipper.test_inputs_sockets import port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines import search

HOSTS = 10
BURST = 60
"""Number of crashes that are sent at once before the product is killed."""


def command(form: str, config: Path, folder: Path) -> list[str]:
    """Return the command that starts a product in the foreground."""
    if form == "rsyslog":
        if not list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so")):
            parts.missing("rsyslog", "apt-get install rsyslog rsyslog-elasticsearch")
        return ["rsyslogd", "-n", "-f", str(config), "-i", str(folder / "pid")]
    files = [f"--{name}={folder / name}" for name in ("persist-file", "pidfile", "control")]
    return [*parts.syslog_ng(), "-F", "-f", str(config), *files]


class Daemon:
    """A product with its exported configuration, with ports and folders for this test.

    :ivar port: where it takes syslog over TCP.
    """

    def __init__(self, form: str, engine: Engine, namespace: str, folder: Path) -> None:
        text = pipeline(form, engine, namespace).replace(f"/var/lib/{form}", str(folder))
        tools = folder / "bin"
        tools.mkdir()
        text = text.replace("/usr/local/bin/kpanic filter", f"{program(tools)} filter --close-quiet 3")
        ports = {
            number: port(socket.SOCK_STREAM) for number in (SYSLOG_PORT, SYSLOG_COUNTED_PORT, NETCONSOLE_PORT)
        }
        for number, free in ports.items():
            text = text.replace(f'port="{number}"', f'port="{free}"').replace(
                f"port({number})", f"port({free})"
            )
        (folder / "kpanic").mkdir()
        config = folder / f"{form}.conf"
        config.write_text(text)
        self.port = ports[SYSLOG_PORT]
        self._folder = folder
        self._command = command(form, config, folder)
        self._running: psutil.Popen | None = None

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        log = self._folder / "log"
        with log.open("ab") as out:
            environment = {**os.environ, "KPANIC_PASSWORD": "secret"}
            started = psutil.Popen(self._command, stderr=out, stdout=out, env=environment)
        self._running = started
        until(lambda: started.poll() is not None or _opens(self.port), 30)
        assert started.poll() is None, log.read_text()

    def kill_filter(self) -> None:
        """Kill the filter that reads syslog, and wait until its pipe is closed.

        What syslog-ng writes into the pipe of a filter that is about to end is lost.
        """
        reading = self._filter()
        reading.kill()
        reading.wait(30)

    def _filter(self) -> psutil.Process:
        assert self._running
        (found,) = (
            child
            for child in self._running.children(recursive=True)
            if "filter" in child.cmdline()
            and "netconsole" not in " ".join(child.cmdline())
            and "python" in child.name()
        )
        return found

    def kill(self) -> None:
        """Kill it, and wait until its child processes have ended."""
        assert self._running
        children = self._running.children(recursive=True)
        self._running.kill()
        self._running.wait(30)
        _, alive = psutil.wait_procs(children, 30)
        assert not alive

    def stop(self) -> None:
        """End it."""
        if self._running:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._running.terminate()
            self._running.wait(30)


@pytest.fixture
def daemon(tmp_path: Path, opensearch: search.Engine, namespace: str) -> Iterator[Callable[[str], Daemon]]:
    """A function that starts products with OpenSearch as destination."""
    made: list[Daemon] = []

    def make(form: str) -> Daemon:
        made.append(Daemon(form, Engine("opensearch", opensearch.url, "kpanic"), namespace, tmp_path))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def _opens(to: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", to)):
        return True
    return False


def messages(number: int) -> list[bytes]:
    """Return a crash as the host's syslog daemon forwards it."""
    head = f"<4>Apr 29 11:32:26 web-{number} kernel: ".encode()
    return [head + line + b"\n" for line in crash_text(number).splitlines()]


def say(to: int, lines: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", to)) as client:
        client.sendall(b"".join(lines))


VOLATILE = {"@timestamp", "event", "labels", "log", "related"}
"""Fields that the transport adds: arrival, stamps inside the text, the relay."""


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are equal for all transports."""
    panic = {
        key: value
        for key, value in document["kernel"]["panic"].items()
        if key not in {"timestamp_source", "lines"}
    }
    # line numbers count all lines that the filter reads, including those of other hosts
    steps = [re.sub(r"\blines? \d+(, \d+)*", "line", step) for step in panic["analysis"]["steps"]]
    panic["analysis"] = panic["analysis"] | {"steps": steps}
    kept = {key: value for key, value in document.items() if key not in VOLATILE | {"_id"}}
    event = {key: document["event"][key] for key in ("id", "kind", "action", "code", "reason", "severity")}
    return kept | {"kernel": {"panic": panic}, "event": event}


def expected(number: int) -> dict[str, Any]:
    (report,) = grammars.parse([b"".join(messages(number))])
    return comparable(build(report, Origin("file", path="-", agent_host=os.uname().nodename)))


def hosts(engine: search.Engine, index: str) -> Counter[str]:
    """Count the documents of each host."""
    return Counter(hit["_source"]["host"]["name"] for hit in engine.found(index))


def taken(folder: Path, line: bytes) -> bool:
    """Tell whether a file of the product or the filter contains a message."""
    text = line.partition(b"kernel: ")[2].strip()
    return any(text in _held(path) for path in folder.rglob("*") if path.is_file())


def _held(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):  # the product renames its files
        return path.read_bytes()
    return b""


@pytest.mark.process
@pytest.mark.parametrize("form", ["rsyslog", "syslog-ng"])
def test_crashes_go_through_the_product_into_the_engine_whatever_is_killed(
    opensearch: search.Engine,
    namespace: str,
    tmp_path: Path,
    form: str,
    daemon: Callable[[str], Daemon],
) -> None:
    index = data_stream(namespace)
    CliRunner().invoke(
        cli, ["setup", "--index-management", "-E", f"output.opensearch.hosts={opensearch.url}"]
    )
    before = opensearch.count(SIGNATURES)
    product = daemon(form)
    for number in range(HOSTS):
        say(product.port, messages(number))
    sent = time.monotonic()
    until(lambda: opensearch.count(index) == HOSTS, 60)
    latency = time.monotonic() - sent

    for number, kill in ((HOSTS, product.kill_filter), (HOSTS + 1, product.kill)):
        lines = messages(number)
        say(product.port, lines[:8])
        until(lambda line=lines[7]: taken(tmp_path, line))  # type: ignore[misc]
        kill()
        if kill == product.kill:
            product.start()
        say(product.port, lines[8:])
        until(lambda number=number: opensearch.count(index) == number + 1, 60)  # type: ignore[misc]

    burst = range(HOSTS + 2, HOSTS + 2 + BURST)
    for number in burst:
        say(product.port, messages(number))
    until(lambda: all(taken(tmp_path, messages(number)[-1]) for number in burst))
    product.kill()
    product.start()
    until(lambda: len(hosts(opensearch, index)) == burst.stop, 60)

    assert {host: count for host, count in hosts(opensearch, index).items() if count > 1} == {}
    documents = [hit["_source"] for hit in opensearch.found(index)]
    found = {document["host"]["name"]: comparable(document) for document in documents}
    assert found == {f"web-{number}": expected(number) for number in range(burst.stop)}
    assert {hit["_id"] for hit in opensearch.found(index)} == {
        document["labels"]["document_id"] for document in documents
    }
    assert opensearch.count(SIGNATURES) >= max(1, before)
    print(f"{form}: {burst.stop} crashes in, {len(documents)} documents out, latency {latency:.1f} s")  # noqa: T201


KERNEL_LINES: dict[str, dict[str, Any]] = {
    "filebeat-syslog": {"log": {"syslog": {"facility": {"code": 0}}}},
    "filebeat-syslog-before-8": {"syslog": {"facility": 0}},
    "filebeat-journald": {"systemd": {"transport": "kernel"}},
    "agent-system": {"process": {"name": "kernel"}},
    "agent-rfc5424": {"log": {"syslog": {"appname": "kernel"}}},
}
"""Events of the inputs of Filebeat and Elastic Agent for a line of the kernel."""


def test_the_ingest_pipeline_gives_kernel_lines_an_index_and_those_that_name_a_crash_a_tag(
    opensearch: search.Engine, namespace: str
) -> None:
    name = f"kernel-lines-{namespace}"
    body = pipeline("ingest", Engine(), namespace).encode()
    assert opensearch.ask("PUT", f"/_ingest/pipeline/{name}", body) == {"acknowledged": True}
    kernel_lines, others = f"logs-kernel.log-{namespace}", f"logs-system.syslog-{namespace}"
    lines = crash_text(1).decode().splitlines()
    documents = [{"message": line, **shape} for shape in KERNEL_LINES.values() for line in lines]
    documents += [
        {"message": lines[1], "process": {"name": "sshd"}, "tags": ["mine"]},
        {"message": "no process"},
        {},
    ]
    bulk = "".join(f'{{"create":{{}}}}\n{json.dumps(document)}\n' for document in documents)
    answer = opensearch.ask("POST", f"/{others}/_bulk?pipeline={name}", bulk.encode())
    assert not answer["errors"]

    found = [hit["_source"] for hit in opensearch.found(kernel_lines)]
    assert len(found) == len(KERNEL_LINES) * len(lines)
    assert {document["event"]["dataset"] for document in found} == {"kernel.log"}
    tagged = Counter(document["message"].partition("] ")[2] for document in found if "tags" in document)
    assert tagged == {
        line: len(KERNEL_LINES)
        for line in (
            "BUG: kernel NULL pointer dereference, address: 0000000000000010",
            "Oops: 0000 [#1] PREEMPT SMP PTI",
            "Kernel panic - not syncing: Fatal exception",
            "---[ end Kernel panic - not syncing: Fatal exception ]---",
        )
    }
    left = [hit["_source"] for hit in opensearch.found(others)]
    assert len(left) == 3
    assert all(document in left for document in documents[-3:]), "other documents stay as they are"
