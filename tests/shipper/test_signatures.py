"""``kpanic signatures``: the store and an engine agree; re-arming."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper.contract import crash_text
from tests.shipper.test_cli import LOGS, Run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.search import Engine

SYSRQ = "v1-bcacd554630c387c"
"""The title of a crash by SysRq."""


@pytest.fixture(scope="module")
def kpanic(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("signatures"))
    run("ship", LOGS / "lab")
    return run


def listed(kpanic: Run, *options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(kpanic("signatures", "--format", "json", *options)[0])
    return rows


def console(number: int, year: int) -> bytes:
    """Return a crash of New Year's Day with the fault of :func:`crash_text`."""
    boot = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    clock = f"[    1.000000] rtc_cmos 00:00: setting system clock to {year}-01-01T00:00:00 UTC ({boot})\n"
    banner, crash = crash_text(number).split(b"\n", 1)
    return banner + b"\n" + clock.encode() + crash


def put(folder: Path, *years: int) -> list[Path]:
    paths = []
    for year in years:
        paths.append(folder / f"{year}.log")
        paths[-1].write_bytes(console(year, year))
    return paths


@pytest.mark.process
def test_a_fault_is_as_old_as_its_oldest_crash_in_whatever_order_archives_come(tmp_path: Path) -> None:
    kpanic = Run(tmp_path)
    for path in put(tmp_path, 2022, 2019, 2024):
        kpanic("ship", path)
    (row,) = listed(kpanic)
    assert row["incidents"] == 3
    assert (row["first"][:4], row["last"][:4]) == ("2019", "2024")


def test_without_an_engine_the_store_lists_and_shows(kpanic: Run) -> None:
    rows = listed(kpanic)
    assert len(rows) > 30
    assert [row["incidents"] for row in rows] == sorted((row["incidents"] for row in rows), reverse=True)
    (sysrq,) = [row for row in rows if row["id"] == SYSRQ]
    assert sysrq["title"] == "kernel panic: sysrq triggered crash"
    assert (sysrq["cause"], sysrq["quality"], sysrq["triage"]) == ("sysrq", "strong", {})
    assert sysrq["first"] <= sysrq["last"]

    out, _ = kpanic("signatures")
    assert out == kpanic("signatures", "list")[0]
    assert len(out.splitlines()) == len(rows) + 1
    assert any(line.startswith(SYSRQ) and "sysrq triggered crash" in line for line in out.splitlines())

    out, _ = kpanic("signatures", "show", SYSRQ[:8])
    assert f"signature  {SYSRQ} (strong)" in out
    assert "6.1.0-56-amd64 (" in out
    assert "verdict: " in out
    assert "  __handle_sysrq" in out


def test_an_engine_that_is_not_there_hides_nothing_of_the_store(kpanic: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=_greet, args=(other,), daemon=True).start()
        to = f"127.0.0.1:{other.getsockname()[1]}"
        out, _ = kpanic("signatures", "show", SYSRQ, "-E", f"output.elasticsearch.hosts={to}")
    assert "  __handle_sysrq" in out
    (line,) = [line for line in out.splitlines() if line.startswith("elasticsearch ")]
    assert line.startswith("elasticsearch first reported unknown: elasticsearch: http://127.0.0.1:")
    assert "what answers does not speak HTTP: This is no web" in line


def _greet(other: socket.socket) -> None:
    while True:
        try:
            client, _ = other.accept()
        except OSError:
            return
        with client:
            client.recv(65536)
            client.sendall(b"This is no web\r\n")


def test_entries_of_the_triage_file_are_shown(kpanic: Run) -> None:
    (kpanic.folder / "triage.yml").write_text(
        f"- signature: {SYSRQ}\n  status: fixed\n  fixed_in: 9.0\n  ticket: OPS-1\n  owner: me\n  note: ha\n"
    )
    option = ("-E", f"triage.path={kpanic.folder / 'triage.yml'}")
    (sysrq,) = [row for row in listed(kpanic, *option) if row["id"] == SYSRQ]
    assert sysrq["triage"]["status"] == "fixed"
    out, _ = kpanic("signatures", "show", SYSRQ, *option)
    for line in ("triage     fixed, OPS-1, me", "fixed in   9.0", "note       ha"):
        assert line in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "v1-00ff"), 1, "v1-00ff: no such signature"),
        (("show", "v1-"), 1, "v1-: names several signatures; it may be v1-"),
        (("re-arm", SYSRQ), 2, "neither output.opensearch nor output.elasticsearch is configured"),
        (("re-arm", "../x", "-E", "output.opensearch.hosts=127.0.0.1:9"), 2, "../x: is not the name of a"),
        (("re-arm", SYSRQ, "-E", "output.opensearch.hosts=127.0.0.1:9"), 1, "opensearch: http://127.0.0.1:9"),
        (("--from", "opensearch"), 2, "output.opensearch is not configured"),
    ],
)
def test_impossible_options_give_one_clear_line(
    kpanic: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    _, err = kpanic("signatures", *arguments, code=code)
    (line,) = err.splitlines()
    assert line.startswith(f"kpanic: {said}")


def test_the_store_and_an_engine_agree_and_a_fault_can_be_re_armed(
    engine: Engine, tmp_path: Path, namespace: str
) -> None:
    kpanic = Run(tmp_path)
    to = ("-E", f"output.{engine.product}.hosts={engine.url}", "-E", f"data_stream.namespace={namespace}")
    kpanic("setup", "--index-management", *to)
    source = ("--from", engine.product, *to)
    assert "no crash so far" in kpanic("signatures", *source)[1]
    assert "no such signature" in kpanic("signatures", "show", SYSRQ, *source, code=1)[1]
    assert "no crash found" in kpanic("list", *source)[1]
    kpanic("signatures", "re-arm", SYSRQ, *to)
    kpanic("ship", LOGS / "lab", *to)
    engine.ask("POST", "/_refresh")
    here, there = listed(kpanic), listed(kpanic, "--from", engine.product, *to)
    assert {row["id"]: row for row in there} == {row["id"]: row for row in here}
    said = kpanic("rollup", "--delay", "0", *to)[0].splitlines()
    assert said[0] == f"{engine.product}: {len(here)} signatures counted"
    assert listed(kpanic, "--from", engine.product, *to) == there
    shown = [
        json.loads(kpanic("signatures", "show", SYSRQ, "--format", "json", *options, *to)[0])
        for options in ((), ("--from", engine.product))
    ]
    assert shown[0] == shown[1]
    assert shown[0]["alerts"][engine.product]["pages"] is False  # from before the store: history

    for options in ((), ("--all",), ("--signature", SYSRQ[:7]), ("--kernel", "6.*"), ("--cause", "sysrq")):
        lists = [
            sorted(kpanic("list", "--format", "csv", *options, *source, *to)[0].splitlines())
            for source in ((), ("--from", engine.product))
        ]
        assert lists[0] == lists[1], options
        assert len(lists[0]) > 2
    table, said = kpanic("list", "--newest", "3", "--from", engine.product, *to)
    assert len(table.splitlines()) == 1 + 3
    assert "these are the newest 3" in said
    texts = [
        {document["_id"]: document["event"]["original"] for document in map(json.loads, out.splitlines())}
        for source in ((), ("--from", engine.product))
        for out, _ in [kpanic("list", "--format", "ndjson", *source, *to)]
    ]
    assert texts[0] == texts[1]
    assert "no crash found" in kpanic("list", "--host", "nobody*", "--from", engine.product, *to)[1]

    out, _ = kpanic("signatures", "re-arm", SYSRQ, *to)
    assert out == f"{engine.product}: {SYSRQ}: its next crash is new again\n"
    out, _ = kpanic("signatures", "re-arm", SYSRQ, *to)
    assert out == f"{engine.product}: {SYSRQ}: was not reported; its next crash is new\n"
    assert engine.found("kernel-panic-signatures", {"term": {"id": SYSRQ}}) == []


def test_an_older_crash_of_another_collector_moves_the_first_and_is_not_new(
    engine: Engine, tmp_path: Path, namespace: str
) -> None:
    to = ("-E", f"output.{engine.product}.hosts={engine.url}", "-E", f"data_stream.namespace={namespace}")
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    old, new, newest = put(tmp_path, 2019, 2022, 2024)
    Run(one)("setup", "--index-management", *to)
    Run(one)("ship", "--no-backfill", new, *to)
    (fault,) = listed(Run(one))
    Run(one)("signatures", "re-arm", fault["id"], *to)
    Run(one)("ship", "--no-backfill", newest, *to)
    engine.ask("POST", "/_refresh")
    reported = engine.found("kernel-panic-signatures", {"term": {"id": fault["id"]}})
    assert len(reported) == 1
    Run(other)("ship", "--no-backfill", old, newest, *to)  # the newest twice
    engine.ask("POST", "/_refresh")
    (row,) = listed(Run(other), "--from", engine.product, *to)
    assert row["incidents"] == 3
    assert (row["first"][:4], row["last"][:4]) == ("2019", "2024")
    assert engine.found("kernel-panic-signatures", {"term": {"id": fault["id"]}}) == reported
    shown, _ = Run(other)(
        "signatures", "show", fault["id"], "--format", "json", "--from", engine.product, *to
    )
    assert (json.loads(shown)["incidents"], json.loads(shown)["first"][:4]) == (3, "2019")
