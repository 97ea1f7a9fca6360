"""Kernels that are crashed on request, so that the answers are known."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.dashboards.products import opensearch_alerting
from kpanic.grammars import parse
from kpanic.grammars.reading.instruction import decode
from tests.engines import parts
from tests.lab import accuracy, guest, instructions, kdump, matrix, verdict
from tests.lab.archive import GoneError
from tests.lab.build import Boot, Builder, cpio, missing
from tests.waiting import until

if TYPE_CHECKING:
    from tests.engines.search import Engine

pytestmark = pytest.mark.lab
SMOKE_KERNEL = "6.1-amd64"
SMOKE_KINDS = ("null_read", "bug", "irq_null", "warn", "init-exit", "user-segv")

SIGNATURES = "kernel-panic-signatures"

TABLE = matrix.load()


def unavailable(reason: str) -> None:
    """Skip the tests on a machine without the lab's programs; fail if the lab must run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def builder() -> Builder:
    if packages := missing([TABLE.machines[TABLE.kernels[SMOKE_KERNEL].machine]]):
        unavailable(f"crashing kernels needs {', '.join(packages)}")
    return Builder(TABLE)


@pytest.fixture(scope="module")
def boot(builder: Builder) -> Boot:
    try:
        return builder.prepare(TABLE.kernels[SMOKE_KERNEL])
    except GoneError as gone:
        unavailable(f"{SMOKE_KERNEL} is gone from the archive: {gone}")
        raise


@pytest.fixture(scope="module")
def runs(boot: Boot) -> dict[str, guest.Run]:
    """Crash guests in parallel, one kind twice, in half the time on two cores."""
    names = {**{name: name for name in SMOKE_KINDS}, "again": SMOKE_KINDS[0]}
    with ThreadPoolExecutor(max_workers=2) as pool:
        started = {
            key: pool.submit(guest.crash, boot, TABLE.kind(name, boot.kernel)) for key, name in names.items()
        }
    return {key: future.result() for key, future in started.items()}


@pytest.mark.parametrize("name", SMOKE_KINDS)
def test_a_requested_crash_is_read_correctly(
    boot: Boot, runs: dict[str, guest.Run], name: str, tmp_path: Path
) -> None:
    assert runs[name].ended
    console = tmp_path / f"{name}.log"
    console.write_bytes(runs[name].console)
    expected = verdict.expect(TABLE.kind(name, boot.kernel), boot.release, boot.machine)
    assert verdict.compare(expected, verdict.parse([console])[console]).wrong == {}


def test_a_crash_is_the_same_each_time(runs: dict[str, guest.Run]) -> None:
    assert runs["again"].console == runs[SMOKE_KINDS[0]].console


def test_the_instruction_that_trapped_is_what_objdump_shows(
    runs: dict[str, guest.Run], boot: Boot, tmp_path: Path
) -> None:
    for name, run in runs.items():
        (tmp_path / f"{boot.release}-{name}.log").write_bytes(run.console)
    rows = {row.console.removeprefix(f"{boot.release}-"): row for row in instructions.rows(tmp_path)}
    assert {"bug", "warn", "irq_null"} <= set(rows)
    for name, row in rows.items():
        (report,) = parse(runs[name].console)
        found = decode(report)
        assert found
        assert instructions.normal(found.text, row.machine) == instructions.normal(row.objdump, row.machine)


def test_one_crash_through_kdump_netconsole_and_pstore_is_one_incident(
    builder: Builder, boot: Boot, opensearch: Engine, namespace: str, tmp_path: Path
) -> None:
    """The service watches a machine on which ``echo c > /proc/sysrq-trigger`` is run."""
    if not shutil.which("makedumpfile"):
        unavailable("reading a dump without a log needs makedumpfile")
    port = parts.free_port(28_000, socket.SOCK_DGRAM)
    (tmp_path / "pstore").mkdir()
    (tmp_path / "crash").mkdir()
    config = tmp_path / "kpanic.yml"
    config.write_text(
        f"""
path.data: {tmp_path}/data
data_stream.namespace: {namespace}
inputs:
  - {{type: kdump, paths: [{tmp_path}/crash]}}
  - {{type: netconsole, host: "127.0.0.1:{port}"}}
  - {{type: pstore, paths: [{tmp_path}/pstore], scan_interval: 1}}
output.opensearch.hosts: ["{opensearch.url}"]
"""
    )
    expected = verdict.expect(TABLE.kind("sysrq-c", boot.kernel), boot.release, boot.machine)
    kpanic = Path(sys.executable).with_name("kpanic")
    subprocess.run([kpanic, "setup", "--index-management", "-c", config], check=True)
    # Without the signature's document the fault is new again; other tests have shipped it before.
    known = {"query": {"term": {"title": expected.title}}}
    opensearch.ask("POST", f"/{SIGNATURES}/_refresh")
    opensearch.ask("POST", f"/{SIGNATURES}/_delete_by_query?refresh=true", known)
    service = subprocess.Popen([kpanic, "run", "-c", config])
    try:
        run = kdump.die(builder, boot, tmp_path, netconsole=port)
        assert run.ended
        hits = _found(opensearch, f"logs-kernel.panic-{namespace}", 3)
    finally:
        service.terminate()
        service.wait(60)
    documents = [hit["_source"] for hit in hits]
    for document in documents:
        assert verdict.compare(expected, [document]).wrong == {}, document["event"]["provider"]
    through = {document["event"]["provider"]: document for document in documents}
    assert set(through) == {"kdump", "netconsole", "pstore"}
    (incident,) = {document["event"]["id"] for document in documents}
    (signature,) = {document["error"]["id"] for document in documents}

    (monitor,) = (
        one.body for one in opensearch_alerting.requests() if one.body["name"] == "kpanic-new-signature"
    )
    (rule,) = monitor["inputs"][0]["doc_level_input"]["queries"]
    told = opensearch.found(SIGNATURES, {"query_string": {"query": rule["query"]}})
    (alerted,) = (hit["_source"] for hit in told if hit["_source"]["title"] == expected.title)
    assert alerted["id"] == signature

    asked = subprocess.run(
        [kpanic, "report", "--format", "json", "-c", config], capture_output=True, check=True
    )
    report = json.loads(asked.stdout)
    assert report["incidents"] == 1
    assert [row["key"] for row in report["kernels"]] == [boot.release]

    (folder,) = (tmp_path / "crash").iterdir()
    assert (folder / "vmcore").stat().st_size > 1 << 20
    alone = tmp_path / "alone" / folder.name
    alone.mkdir(parents=True)
    (folder / "vmcore").rename(alone / "vmcore")
    elsewhere = ["-E", f"path.data={tmp_path}/elsewhere", "-E", f"output.file.path={tmp_path}/alone.ndjson"]
    subprocess.run([kpanic, "ship", alone.parent, *elsewhere], check=True)
    (extracted,) = (json.loads(line) for line in (tmp_path / "alone.ndjson").read_text().splitlines())
    assert extracted["event"]["id"] == incident
    assert extracted["labels"]["document_id"] in {hit["_id"] for hit in hits}
    assert _same(extracted) == _same(through["kdump"])


def _same(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without the time, the place and the namespace of its reading."""
    event = {key: value for key, value in document["event"].items() if key not in {"created", "ingested"}}
    panic = {key: value for key, value in document["kernel"]["panic"].items() if key != "backfill"}
    kept = {key: value for key, value in document.items() if key not in {"log", "data_stream", "labels"}}
    return {**kept, "event": event, "kernel": {"panic": panic}}


def _found(engine: Engine, index: str, number: int) -> list[dict[str, Any]]:
    """Wait until an index has a number of documents, at most as long as the service retries."""
    with contextlib.suppress(AssertionError):  # the caller reports what is missing
        until(lambda: len(engine.found(index)) >= number, 300, every=0.5)
    return engine.found(index)


def test_every_kind_says_what_a_reader_must_answer() -> None:
    for kind in TABLE.kinds.values():
        assert kind.silent or kind.cause or kind.function, kind.name


def test_the_page_counts_what_is_right_and_shows_what_is_wrong() -> None:
    machine = TABLE.machines["amd64"]
    asked = {name: verdict.expect(TABLE.kinds[name], "6.1", machine) for name in ("null_read", "oom-kill")}
    results = [
        accuracy.Result("null_read", asked["null_read"], {}),
        accuracy.Result("null_read", asked["null_read"], {"cause": ("null-dereference", "bad|pointer")}),
        accuracy.Result("oom-kill", asked["oom-kill"], {}),
    ]
    page = accuracy.page(results, ["6.18-amd64: no package"], []).splitlines()
    assert "| cause | 2 | 1 | 50.0 |" in page
    assert "| function to blame | 2 | 2 | 100.0 |" in page
    assert "| silence: nothing crashed | 1 | 1 | 100.0 |" in page
    assert "| 6.1 | x86_64 | 3 | 1 |" in page
    assert "| 6.1 | x86_64 | null_read | cause | null-dereference | bad\\|pointer |" in page
    assert page[-1] == "- 6.18-amd64: no package"


def test_an_exception_of_the_matrix_changes_one_kernels_answer() -> None:
    silent = [TABLE.kind("ubsan_bounds", TABLE.kernels[name]).silent for name in ("6.1-amd64", "7.3-amd64")]
    assert silent == [True, False]


def test_an_initrd_is_what_cpio_reads() -> None:
    if not shutil.which("cpio"):
        unavailable("reading an initrd back needs cpio")
    archive = cpio({"init": b"#!/bin/sh\n", "lib/deep/file": b"odd"})
    listed = subprocess.run(["cpio", "-tv"], input=archive, capture_output=True, check=True).stdout.decode()
    assert [line.split()[-1] for line in listed.splitlines()] == [
        "dev",
        "lib",
        "lib/deep",
        "dev/console",
        "init",
        "lib/deep/file",
    ]
