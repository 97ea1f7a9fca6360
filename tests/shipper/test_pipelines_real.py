"""The exported configurations of rsyslog and syslog-ng in the programs themselves, with OpenSearch behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
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
    from collections.abc import Iterator

    from tests.engines import search

HOSTS = 10


def command(form: str, config: Path, folder: Path) -> list[str]:
    """Return the command that starts a product in the foreground."""
    if form == "rsyslog":
        if not list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so")):
            parts.missing("rsyslog", "apt-get install rsyslog rsyslog-elasticsearch")
        return ["rsyslogd", "-n", "-f", str(config), "-i", str(folder / "pid")]
    files = [f"--{name}={folder / name}" for name in ("persist-file", "pidfile", "control")]
    return [*parts.syslog_ng(), "-F", "-f", str(config), *files]


@contextlib.contextmanager
def daemon(form: str, engine: Engine, namespace: str, folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Run a product with its exported configuration, whose ports and folders are the test's own."""
    text = pipeline(form, engine, namespace).replace(f"/var/lib/{form}", str(folder))
    tools = folder / "bin"
    tools.mkdir()
    text = text.replace("/usr/local/bin/kpanic filter", f"{program(tools)} filter --close-quiet 3")
    ports = {
        number: port(socket.SOCK_STREAM) for number in (SYSLOG_PORT, SYSLOG_COUNTED_PORT, NETCONSOLE_PORT)
    }
    for number, free in ports.items():
        text = text.replace(f'port="{number}"', f'port="{free}"').replace(f"port({number})", f"port({free})")
    (folder / "kpanic").mkdir()
    config = folder / f"{form}.conf"
    config.write_text(text)
    environment = {**os.environ, "KPANIC_PASSWORD": "secret"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command(form, config, folder), stderr=log, stdout=log, env=environment) as running,
    ):
        try:
            until(lambda: running.poll() is not None or _opens(ports[SYSLOG_PORT]), 30)
            assert running.poll() is None, (folder / "log").read_text()
            yield psutil.Process(running.pid), ports[SYSLOG_PORT]
        finally:
            running.terminate()
            running.wait(30)


def _opens(to: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", to)):
        return True
    return False


def messages(number: int) -> list[bytes]:
    """A crash as the syslog daemon of its host forwards it."""
    head = f"<4>Apr 29 11:32:26 web-{number} kernel: ".encode()
    return [head + line + b"\n" for line in crash_text(number).splitlines()]


def say(to: int, lines: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", to)) as client:
        client.sendall(b"".join(lines))


VOLATILE = {"@timestamp", "event", "labels", "log", "related"}
"""What the way adds: arrival, stamps inside the text, the relay."""


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Return what every way has to agree in."""
    panic = {
        key: value
        for key, value in document["kernel"]["panic"].items()
        if key not in {"timestamp_source", "lines"}
    }
    # the lines are numbered in what the filter has read, those of other hosts included
    steps = [re.sub(r"\blines? \d+(, \d+)*", "line", step) for step in panic["analysis"]["steps"]]
    panic["analysis"] = panic["analysis"] | {"steps": steps}
    kept = {key: value for key, value in document.items() if key not in VOLATILE | {"_id"}}
    event = {key: document["event"][key] for key in ("id", "kind", "action", "code", "reason", "severity")}
    return kept | {"kernel": {"panic": panic}, "event": event}


def expected(number: int) -> dict[str, Any]:
    (report,) = grammars.parse([b"".join(messages(number))])
    return comparable(build(report, Origin("file", path="-", agent_host=os.uname().nodename)))


def filters(running: psutil.Process) -> list[psutil.Process]:
    """Return the filters that a product has started, the one that reads syslog first."""
    return [
        child
        for child in running.children(recursive=True)
        if "filter" in child.cmdline()
        and "netconsole" not in " ".join(child.cmdline())
        and "python" in child.name()
    ]


@pytest.mark.process
@pytest.mark.parametrize("form", ["rsyslog", "syslog-ng"])
def test_crashes_go_through_the_product_into_the_engine(
    opensearch: search.Engine, namespace: str, tmp_path: Path, form: str
) -> None:
    index = data_stream(namespace)
    CliRunner().invoke(
        cli, ["setup", "--index-management", "-E", f"output.opensearch.hosts={opensearch.url}"]
    )
    before = opensearch.count(SIGNATURES)
    with daemon(form, Engine("opensearch", opensearch.url, "kpanic"), namespace, tmp_path) as (running, to):
        for number in range(HOSTS):
            say(to, messages(number))
        sent = time.monotonic()
        until(lambda: opensearch.count(index) == HOSTS, 60)
        latency = time.monotonic() - sent

        lines = messages(HOSTS)
        say(to, lines[:8])
        (state,) = tmp_path.glob("kpanic/state/journal")
        until(lambda: lines[7].partition(b"kernel: ")[2].strip() in state.read_bytes())
        (killed,) = filters(running)
        killed.kill()
        killed.wait(10)
        say(to, lines[8:])
        until(lambda: opensearch.count(index) == HOSTS + 1, 60)
    documents = [hit["_source"] for hit in opensearch.found(index)]
    found = {document["host"]["name"]: comparable(document) for document in documents}
    assert found == {f"web-{number}": expected(number) for number in range(HOSTS + 1)}
    assert {hit["_id"] for hit in opensearch.found(index)} == {
        document["labels"]["document_id"] for document in documents
    }
    assert opensearch.count(SIGNATURES) >= max(1, before)
    print(f"{form}: {HOSTS + 1} crashes in, {len(documents)} documents out, latency {latency:.1f} s")  # noqa: T201


KERNEL_LINES: dict[str, dict[str, Any]] = {
    "filebeat-syslog": {"log": {"syslog": {"facility": {"code": 0}}}},
    "filebeat-syslog-before-8": {"syslog": {"facility": 0}},
    "filebeat-journald": {"systemd": {"transport": "kernel"}},
    "agent-system": {"process": {"name": "kernel"}},
    "agent-rfc5424": {"log": {"syslog": {"appname": "kernel"}}},
}
"""What the inputs of Filebeat and Elastic Agent say of a kernel's line."""


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
