"""A fault at any step from bytes to document costs one line or record, is counted, and is logged once."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

from kpanic.grammars import faults, finder, lines, parser, report, scan
from kpanic.grammars.registry import Registry
from kpanic.shipper import document, parsing, redact
from kpanic.shipper.api import Crash, Stop
from kpanic.shipper.contract import crash_text
from kpanic.shipper.feed import StoreFeed
from kpanic.shipper.inputs import sources
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.origin import Origin
from kpanic.shipper.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.delivery import Say

    Patch = pytest.MonkeyPatch

ROOT = Path(__file__).parents[2]
CRASHES = 3


class Stage(NamedTuple):
    """A step: its function, and the name under which its faults are counted."""

    owner: Any
    name: str
    counted: str


STAGES = {
    "the scan": Stage(scan.Scanner, "feed", "scan"),
    "a line's transport": Stage(lines.Reader, "_ask", "scan"),
    "whose line it is": Stage(parser.Parser, "_attributed", "line"),
    "which lines are heard": Stage(parser.Parser, "_heard", "line"),
    "a search for literals": Stage(finder.Finder, "find", "line"),
    "a line without a literal": Stage(parser.Parser, "_follow", "line"),
    "a line": Stage(parser.Parser, "_line", "header"),
    "a header": Stage(finder.Finder, "headers", "header"),
    "a literal that is ignored": Stage(Registry, "ignores", "header"),
    "broken lines": Stage(parser, "mend", "report"),
    "a report": Stage(report, "read", "report"),
    "a reading": Stage(parser, "analyse", "reading"),
    "who it is": Stage(document, "identify", "document"),
    "its time": Stage(document, "crash_time", "document"),
    "its secrets": Stage(redact.Redactor, "report", "document"),
    "its fields": Stage(document, "_panic", "document"),
    "its JSON": Stage(document, "pack", "document"),
}


def boom(*_: object, **__: object) -> NoReturn:
    raise ZeroDivisionError("boom")


def fails_at(patch: Patch, stage: Stage, call: int) -> list[int]:
    """Make a step fail at one of its calls; return the number of its calls."""
    step: Callable[..., object] = getattr(stage.owner, stage.name)
    calls = [0]

    def sometimes(*arguments: object, **named: object) -> object:
        calls[0] += 1
        return (boom if calls[0] == call else step)(*arguments, **named)

    patch.setattr(stage.owner, stage.name, sometimes)
    return calls


class Kept:
    """A store with the crashes of an input."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path / "data" / "kpanic.db")
        self.said: list[str] = []

    def keep(self, crashes: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any crashes
        say: Say = lambda message, level="warn": self.said.append(message)  # noqa: E731, ARG005
        feed = StoreFeed(
            "file", "1 file", self._store, Origin("file"), Stop(), lambda: None, say, lambda: None, (),
            Counter(), Counter(),
        )  # fmt: skip
        with self._store:
            feed.keep(crashes)
            return list(self._store.documents())


@pytest.mark.parametrize("call", [1, 2, 5])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_fault_costs_one_line_or_one_record_at_most(
    stage: Stage, call: int, tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(faults, "_counts", type(faults._counts)())  # noqa: SLF001
    pieces = [crash_text(number) for number in range(CRASHES)]
    calls = fails_at(monkeypatch, stage, call)
    with caplog.at_level(logging.WARNING):
        found = parser.Parser()
        reports = [
            one for piece in pieces for line in piece.splitlines(keepends=True) for one in found.feed(line)
        ]
        reports += found.close()
    documents = Kept(tmp_path).keep(iter([Crash(one, Origin("file")) for one in reports]))
    intact = [one for one in documents if one["kernel"]["panic"]["parse"]["status"] == "complete"]
    assert len(intact) >= CRASHES - 1
    assert len(documents) >= len(intact)
    if calls[0] >= call:
        assert sum(faults.counts().values()) == 1, faults.counts()
        assert "please report it" in caplog.text
    else:
        assert len(intact) == CRASHES


@pytest.mark.parametrize("name", ["identify", "crash_time", "_panic", "pack"])
def test_a_crash_whose_document_fails_becomes_one_of_its_text(
    name: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    (tmp_path / "log").write_bytes(crash_text(0) + crash_text(1))
    fails_at(monkeypatch, Stage(document, name, "document"), 1)
    documents = Kept(tmp_path).keep(read(str(tmp_path / "log"), Origin("file")))
    bare, whole = sorted(documents, key=lambda one: one["kernel"]["panic"]["parse"]["status"] == "complete")
    assert bare["kernel"]["panic"]["parse"]["status"] == "corrupted"
    assert "example_read" in bare["event"]["original"]
    assert bare["kernel"]["panic"]["fatal"]
    assert whole["kernel"]["panic"]["function"] == "example_read"


def test_a_secret_that_cannot_be_hidden_is_left_out_with_the_text(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "log").write_bytes(b"[    0.0] Kernel command line: password=geheim\n" + crash_text(0))
    calls = [0]

    def twice(redactor: redact.Redactor, crash: Any) -> Any:  # noqa: ANN401 - a report
        calls[0] += 1
        return (boom if calls[0] <= 2 else redacted)(redactor, crash)

    redacted = redact.Redactor.report
    monkeypatch.setattr(redact.Redactor, "report", twice)
    (bare,) = Kept(tmp_path).keep(read(str(tmp_path / "log"), Origin("file")))
    assert "geheim" not in str(bare)
    assert bare["kernel"]["panic"]["parse"]["status"] == "corrupted"


def test_open_crashes_stay_open_if_the_scan_fails(monkeypatch: Patch) -> None:
    found = parser.Parser()
    first, *rest = crash_text(0).splitlines(keepends=True)
    assert not found.feed(first)
    assert not found.feed(b"".join(rest[:9]))
    with monkeypatch.context() as patch:
        patch.setattr(scan.Scanner, "feed", boom)
        assert not found.feed(b"poison\n")
    assert found.open
    (crash,) = found.feed(b"".join(rest[9:])) + found.close()
    assert crash.fatal, "its end is read"
    assert crash.kernel.release == "6.1.0-56-amd64", "its boot is known"


def test_a_source_that_breaks_off_costs_what_it_does_not_give() -> None:
    def broken() -> Iterator[bytes]:
        yield crash_text(0) + crash_text(1)
        raise OSError("stale file handle")

    crashes = parser.parse(broken())
    assert [next(crashes).process.pid, next(crashes).process.pid] == [1000, 1001]
    with pytest.raises(OSError, match="stale file handle"):
        next(crashes)


def test_a_fault_in_reading_a_file_costs_no_other(tmp_path: Path, monkeypatch: Patch) -> None:
    paths = [str(tmp_path / f"{number}.log") for number in range(3)]
    for number, path in enumerate(paths):
        Path(path).write_bytes(crash_text(number))

    def of_all_but_one(path: str, base: Origin) -> Iterator[sources.Source]:
        return boom() if path == paths[1] else sources.sources(path, base)

    monkeypatch.setattr(parsing, "sources", of_all_but_one)
    parsed = list(parsing.parse_files(paths, Origin("file")))
    assert [len(one.documents) for one in parsed] == [1, 0, 1]
    assert [one.fault[:35] for one in parsed] == ["", "a fault of kpanic ends the reading ", ""]


def test_every_stage_that_notes_faults_is_provoked() -> None:
    sources = [path.read_text() for top in ("grammars", "shipper") for path in (ROOT / top).rglob("*.py")]
    noted = {name for text in sources for name in re.findall(r'faults\.(?:note|guarded)\(\s*f?"(\w+)', text)}
    in_the_grammar_s_tests = {"boot", "records", "transport"}
    assert noted == {stage.counted for stage in STAGES.values()} | in_the_grammar_s_tests
