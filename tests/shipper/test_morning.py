"""The commands of the morning after a crash: ``last``, ``list``, and help."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from tests.shipper.processes import KPANIC
from tests.shipper.screen import shown
from tests.shipper.test_cli import LOGS, PANIC, STORY, Run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

GPF = LOGS / "lab" / "6.1.0-56-amd64-x86_64-gpf.log"
SURVIVED = LOGS / "lab" / "6.1.0-56-amd64-x86_64-bad_page.log"


@pytest.fixture(scope="module")
def kpanic(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A store with three crashes of two hosts, one of an unknown host, and a non-fatal report."""
    run = Run(tmp_path_factory.mktemp("morning"))
    day = 86_400
    for number, (log, host) in enumerate(((PANIC, "web1"), (GPF, "db1.example.com"), (SURVIVED, "web1"))):
        copy = run.folder / "consoles" / host / log.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, copy)
        text = b"".join(
            line
            for line in copy.read_bytes().splitlines(keepends=True)
            if b"setting system clock" not in line  # the time is that of its file
        )
        copy.write_bytes(text)
        os.utime(copy, (time.time() - number * day - 600,) * 2)
    run("ship", "--host-from-path", "consoles/{host}", "consoles", STORY)
    return run


def on_screen(kpanic: Run, *arguments: str, columns: int = 80) -> list[str]:
    environment = {**kpanic.environment, "COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1"}
    return shown([*KPANIC, *arguments], environment).replace("\r", "").splitlines()


def test_last_is_the_newest_crash_with_its_reading_in_short(kpanic: Run) -> None:
    out, err = kpanic("last")
    assert out.startswith("web1, 20")
    assert "kernel panic" in out.splitlines()[0]
    for label in ("kernel ", "cause ", "signature  v1-", "trace ", "next "):
        assert f"\n{label}" in out
    assert f"\nAll of the reading: kpanic explain consoles/web1/{PANIC.name}\n" in out
    assert re.search(r"kpanic-report.html#signature=v1-[0-9a-f]+&host.name=web1$", out)
    assert err == ""


def test_last_of_a_host_and_since_a_day(kpanic: Run) -> None:
    assert kpanic("last", "--host", "db*")[0].startswith("db1.example.com, ")
    assert "no crash found" in kpanic("last", "--host", "db*", "--since", "1h")[1]
    out, err = kpanic("last", "--since", "3d")
    assert out.startswith("web1, ")
    assert "1 earlier crash: kpanic list" in err


def test_last_as_json_is_the_document(kpanic: Run) -> None:
    document = json.loads(kpanic("last", "--format", "json")[0])
    assert (document["host"]["name"], document["kernel"]["panic"]["cause"]) == ("web1", "explicit-panic")


def rows(kpanic: Run, *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(kpanic("list", "--format", "csv", *arguments)[0])))


def test_list_has_a_line_for_each_crash_the_newest_first(kpanic: Run) -> None:
    assert [row["host"] for row in rows(kpanic)] == ["web1", "db1.example.com", ""]
    assert [row["fatal"] for row in rows(kpanic, "--all")].count("false") == 1
    lines = kpanic("list")[0].splitlines()
    assert lines[0].split()[:3] == ["time", "(UTC)", "host"]
    assert [line.split()[2] for line in lines[1:]] == ["web1", "db1.example.com", "unknown"]


@pytest.mark.parametrize(
    ("option", "value", "hosts"),
    [
        ("--host", "web?", ["web1"]),
        ("--cause", "sysrq", [""]),
        ("--kernel", "3.10.*", [""]),
        ("--signature", "v1-40c2488e", [""]),
        ("--since", "3d", ["web1", "db1.example.com"]),
        ("--host", "nobody", []),
    ],
)
def test_list_is_filtered(kpanic: Run, option: str, value: str, hosts: list[str]) -> None:
    assert [row["host"] for row in rows(kpanic, option, value)] == hosts


def test_list_as_ndjson_prints_documents(kpanic: Run) -> None:
    found = [
        json.loads(line) for line in kpanic("list", "--format", "ndjson", "--host", "web1")[0].splitlines()
    ]
    assert [document["event"]["original"] != "" for document in found] == [True]


def test_a_crash_seen_twice_is_one_line(tmp_path: Path) -> None:
    kpanic = Run(tmp_path)
    (tmp_path / "console.log").write_bytes(STORY.read_bytes())
    kpanic("ship", "--host", "web1", "console.log")
    kpanic("ship", STORY)
    (row,) = rows(kpanic)
    assert sorted(row["seen_by"].split()) == ["file", "kdump"]
    assert row["host"] == "web1"


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
        ("web;=1+1", "web;'=1+1"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("web-1;a", "web-1;a"),
    ],
)
def test_no_cell_of_csv_is_a_formula(tmp_path: Path, host: str, shown: str) -> None:
    kpanic = Run(tmp_path)
    kpanic("ship", "--host", host, STORY)
    (row,) = rows(kpanic)
    assert row["host"] == shown


def test_an_invalid_time_is_reported(kpanic: Run) -> None:
    assert "expected today, yesterday" in kpanic("list", "--since", "tomorrow", code=2)[1]


@pytest.mark.parametrize("arguments", [("last",), ("list", "--all"), ("signatures",)])
def test_tables_fit_the_terminal_and_do_not_split_names(kpanic: Run, arguments: tuple[str, ...]) -> None:
    lines = on_screen(kpanic, *arguments)
    assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []
    text = "\n".join(lines)
    assert "boom_gpf" in text or arguments == ("last",)
    assert all(word.rstrip("…") in {"boom_gpf", "boom_panic", "boom_bad_page"} for word in names_in(text))


def names_in(text: str) -> list[str]:
    """Return the visible names of the module's functions."""
    return re.findall(r"boom_\w*…?", text)


def test_help_is_help_where_no_command_is_named(kpanic: Run) -> None:
    for arguments in ((), ("test",)):
        lines = kpanic(*arguments, code=2)[1].splitlines()
        assert lines[0].startswith("Usage: kpanic")
        assert "Commands:" in lines
        assert not any(line.startswith("kpanic: ") for line in lines)


def test_a_table_shows_the_newest_and_says_that_there_are_more(kpanic: Run) -> None:
    out, err = kpanic("list", "--newest", "2")
    assert [line.split()[2] for line in out.splitlines()[1:]] == ["web1", "db1.example.com"]
    assert "these are the newest 2; --newest N shows more" in err
    assert [row["host"] for row in rows(kpanic, "--newest", "1")] == ["web1"]
    assert kpanic("list", "--newest", "3")[1] == ""
