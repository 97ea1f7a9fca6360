"""Documents delivered by the processes that read them: each is in the engine once, and the store lists it."""

from __future__ import annotations

import json
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper import parsing
from kpanic.shipper.config import Plugin
from kpanic.shipper.contract import crash_text
from kpanic.shipper.crashed_host import HostRule, HostRules
from kpanic.shipper.direct import Direct
from kpanic.shipper.origin import Origin
from kpanic.shipper.outputs.bulk import SearchConfig
from tests.engines import parts
from tests.engines.proxy import CUT, Answer, HttpProxy
from tests.shipper.test_cli import Run
from tests.shipper.test_executors import disturbed, kill_one, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.search import Engine

LOGS = 20
CRASHES = 10
"""Number of crashes in each log."""


@pytest.fixture
def kpanic(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    write_logs(folder, LOGS)
    return folder


def write_logs(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        crashes = map(crash_text, range(CRASHES * number, CRASHES * (number + 1)))
        (folder / f"{number:03}.log").write_bytes(b"".join(crashes))


def to(engine: Engine, namespace: str, url: str = "") -> list[str]:
    """Return the options of ``ship`` for the engine, or for a proxy in front of it."""
    return [f"-Eoutput.{engine.product}.hosts={url or engine.url}", f"-Edata_stream.namespace={namespace}"]


def status(kpanic: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kpanic("status", "--format", "json")[0])
    return found


def documents(engine: Engine, namespace: str) -> list[dict[str, Any]]:
    """Return the documents of a namespace by ``_id``, without their time of creation and their namespace."""
    found = []
    for hit in engine.found(f"logs-kernel.panic-{namespace}"):
        document = hit["_source"]
        del document["event"]["created"], document["event"]["ingested"], document["data_stream"]
        found.append({"_id": hit["_id"], **document})
    return sorted(found, key=lambda document: document["_id"])


def test_documents_are_in_the_engine_and_the_store_lists_them(
    kpanic: Run, logs: Path, opensearch: Engine, namespace: str
) -> None:
    many = LOGS * CRASHES
    arguments: list[str | Path] = ["--on", "local:2", "--host", "web1", *to(opensearch, namespace), logs]
    _, said = kpanic("ship", "--direct", *arguments)
    assert f"{LOGS} files, {many} crashes: {many} new" in said
    assert f"opensearch: {many} delivered in all\n" in said
    listed = status(kpanic)
    assert (listed["documents"], listed["kept"], listed["incidents"]) == (many, 0, many)
    assert [output["pending"] for output in listed["outputs"]] == [0]

    _, said = kpanic("ship", "--direct", *arguments)
    assert f"{LOGS} files shipped before and unchanged: not read (--again reads them)" in said
    _, said = kpanic("ship", "--direct", "--again", *arguments)
    assert f"{LOGS} files, {many} crashes: 0 new, {many} known already" in said
    assert opensearch.count(f"logs-kernel.panic-{namespace}") == many

    other = f"{namespace}other"
    elsewhere = Run(kpanic.folder / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere("ship", *arguments, f"-Edata_stream.namespace={other}")
    assert documents(opensearch, namespace) == documents(opensearch, other)


def test_processes_that_are_killed_lose_nothing_and_deliver_nothing_twice(
    kpanic: Run, tmp_path: Path, opensearch: Engine, namespace: str, request: pytest.FixtureRequest
) -> None:
    deaths = max(2, request.config.getoption("--rounds"))
    files = 20 * (1 + deaths)
    write_logs(tmp_path / "many", files)
    index = f"logs-kernel.panic-{namespace}"
    process = started(kpanic, "--direct", "--on", "local:2", *to(opensearch, namespace), tmp_path / "many")
    killed = [0]  # documents of the engine at each death

    def kill() -> bool:
        count = opensearch.count(index)
        if count < killed[-1] + 10 * CRASHES or not kill_one(process.pid):
            return False
        killed.append(count)
        return True

    said = disturbed(process, kill, deaths)
    assert len(killed) == 1 + deaths
    assert f"{files} files, {files * CRASHES} crashes: {files * CRASHES} new" in said
    assert opensearch.count(index) == files * CRASHES
    assert status(kpanic)["documents"] == files * CRASHES


def test_undelivered_documents_are_kept_here_and_delivered_from_here(
    kpanic: Run, logs: Path, opensearch: Engine, namespace: str
) -> None:
    """The engine refuses every second request of the processes, in two ways."""
    many = LOGS * CRASHES
    proxy = HttpProxy(opensearch.url)
    proxy.plan.extend([Answer(429), CUT] * 2)
    _, said = kpanic("ship", "--direct", *to(opensearch, namespace, proxy.url), logs)
    proxy.close()
    assert "documents could not be delivered from where they were read: " in said
    assert f"opensearch: {many} delivered in all" in said
    assert 0 < status(kpanic)["kept"] <= many
    assert opensearch.count(f"logs-kernel.panic-{namespace}") == many


def test_documents_keep_their_bodies_without_an_answer_or_with_the_store_s_incident(
    tmp_path: Path,
) -> None:
    """The second log, as from dmesg -T, has no times of printk."""
    timed, untimed = tmp_path / "1.log", tmp_path / "2.log"
    timed.write_bytes(crash_text(1))
    untimed.write_bytes(re.sub(rb"(?m)^\[.*?\]", b"[Thu Apr 29 20:32:26 2021]", crash_text(2)))
    settings = SearchConfig(hosts=[f"http://127.0.0.1:{parts.free_port(27_900)}"])
    sent: Direct = pickle.loads(pickle.dumps(Direct([Plugin("opensearch", settings)], [])))  # noqa: S301
    base = Origin("file", hosts=HostRules([HostRule(str(tmp_path), "web1")]))
    one, other = parsing.parse_files(map(str, [timed, untimed]), base, deliver=sent)
    assert one.undelivered.startswith("opensearch: http://127.0.0.1:")
    assert not other.undelivered
    assert all(document.body for parsed in (one, other) for document in parsed.documents)


@pytest.mark.parametrize(
    ("on", "output", "message"),
    [
        ("local", [], "no output is configured"),
        (
            "local",
            ["-Eoutput.opensearch.hosts=http://127.0.0.1:1", "-Eoutput.file.path=out"],
            "output.file could get a document twice: only opensearch and elasticsearch know it by its _id",
        ),
        (
            "dask://127.0.0.1:1",
            [f"-Eoutput.opensearch.{key}" for key in ("hosts=http://a:1", "username=b", "password=secret")],
            "output.opensearch.password is not sent to workers: use a password_file that each has",
        ),
    ],
)
def test_outputs_that_workers_cannot_use_are_refused(
    kpanic: Run, on: str, output: list[str], message: str
) -> None:
    _, said = kpanic("ship", "--direct", "--on", on, *output, kpanic.folder, code=2)
    assert said == f"kpanic: --direct: {message}\n"
