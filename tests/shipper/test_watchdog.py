"""Text that takes too long for its length is given up; text before and after it is read."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import parse
from kpanic.grammars.scan import Scanner
from kpanic.shipper.api import WATCHDOG, Crash, Reader, TooCostly, Unreadable, _watchdog
from kpanic.shipper.contract import crash_text
from kpanic.shipper.inputs import log_file
from kpanic.shipper.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kpanic.shipper.api._watchdog import Watchdog

POISON = b"the line that never ends\n"


def spin(seconds: float) -> str:
    """Use CPU time, while exceptions are caught like those of a line."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        with contextlib.suppress(Exception):
            int("x")
    return "done"


@pytest.fixture
def watchdog(monkeypatch: pytest.MonkeyPatch) -> Watchdog:
    """The watchdog of this process with short times, after the grammar is loaded."""
    assert len(list(parse(crash_text(0)))) == 1
    monkeypatch.setattr(_watchdog, "LOOK", 0.02)
    monkeypatch.setattr(_watchdog, "BASE", 0.2)
    monkeypatch.setattr(_watchdog, "BYTE", 1e-6)
    monkeypatch.setattr(WATCHDOG, "interrupted", 0)
    monkeypatch.setattr(WATCHDOG, "_thread", None)
    WATCHDOG.start()
    return WATCHDOG


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that never ends at one line."""
    feed: Callable[..., object] = Scanner.feed

    def slow(scanner: Scanner, chunk: bytes, count: int | None = None) -> object:
        if POISON in chunk:
            spin(30)
        return feed(scanner, chunk, count)

    monkeypatch.setattr(Scanner, "feed", slow)


def test_a_step_that_takes_too_much_is_interrupted_whatever_it_catches(watchdog: Watchdog) -> None:
    began = time.thread_time()
    with pytest.raises(TooCostly):
        watchdog.watched(lambda: spin(30), lambda: 0.2)
    assert time.thread_time() - began < 5
    assert watchdog.interrupted == 1
    assert spin(0.1) == "done", "nothing is raised later"


def test_a_step_that_waits_or_may_take_it_is_not(watchdog: Watchdog) -> None:
    assert watchdog.watched(lambda: threading.Event().wait(0.3), lambda: 0.1) is False
    assert watchdog.watched(lambda: spin(0.3), lambda: 10.0) == "done"
    assert watchdog.interrupted == 0


@pytest.mark.usefixtures("poisoned")
def test_a_line_that_costs_too_much_costs_itself_and_is_named(watchdog: Watchdog) -> None:
    said: list[str] = []
    reader = Reader(said.append, 10)
    reports = reader.feed(crash_text(1))
    reports += reader.feed(POISON)
    reports += reader.feed(crash_text(2)) + reader.flush()
    assert [report.process.pid for report in reports] == [1001, 1002]
    assert len(said) == 1
    assert "bytes took more than 0.2 s of a processor and are given up" in said[0]
    assert watchdog.interrupted == 1


@pytest.mark.usefixtures("poisoned", "watchdog")
def test_a_file_that_costs_too_much_is_reported_and_its_earlier_crashes_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "CHUNK", 4096)
    path = tmp_path / "log"
    filler = b"nothing\n" * 1000
    path.write_bytes(crash_text(1) + crash_text(2) + filler + POISON + crash_text(3))
    found: list[Crash] = []
    with pytest.raises(Unreadable, match="took more than"):
        found += log_file.read(str(path), Origin("file"))
    assert [crash.report.process.pid for crash in found] == [1001, 1002]
