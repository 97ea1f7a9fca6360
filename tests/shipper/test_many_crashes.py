"""Many crashes in one file are handled in bounded batches."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from kpanic.shipper.api import Crash, Stop, Unreadable
from kpanic.shipper.batch import BYTES, DOCUMENTS
from kpanic.shipper.feed import StoreFeed
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.origin import Origin
from kpanic.shipper.parsing import parse_files
from kpanic.shipper.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
COUNT = 1200


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "console.log"
    path.write_text(
        "".join(
            f"[    0.000000] Linux version 6.1.{number} (a@b) #1 SMP\n"
            f"[{1 + number:5}.000000] BUG: kernel NULL pointer dereference, address: {number:016x}\n"
            for number in range(COUNT)
        )
    )
    return path


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[StoreFeed]:
    with Store(tmp_path / "data" / "kpanic.db") as store:
        yield StoreFeed(
            "kdump",
            "0 kdump",
            store,
            Origin("file"),
            Stop(),
            lambda: None,
            lambda message, level="warn": None,  # noqa: ARG005
            lambda: None,
            [],
            Counter(),
            Counter(),
        )


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_is_parsed_in_batches_in_its_order(file: Path, jobs: int) -> None:
    other = file.with_name("other.log")
    other.write_bytes(file.read_bytes())
    parts = list(parse_files([str(file), str(other), str(file)], Origin("file"), jobs))
    assert all(len(part.documents) <= DOCUMENTS for part in parts)
    assert [part.path for part in parts if part.complete] == [str(file), str(other), str(file)]
    ids = [document.id for part in parts for document in part.documents]
    assert len(ids) == 3 * COUNT
    assert ids[:COUNT] == ids[COUNT : 2 * COUNT] == ids[2 * COUNT :]


def test_the_service_holds_no_more_than_a_batch_of_a_file(file: Path, feed: StoreFeed) -> None:
    taken = 0

    def crashes() -> Iterator[Crash]:
        nonlocal taken
        for crash in read(str(file), feed.origin):
            taken += 1
            assert feed.store.status().documents >= taken - DOCUMENTS
            yield crash

    feed.keep(crashes(), {"file": "read"})
    assert feed.store.status().documents == taken == COUNT
    assert feed.positions() == {"file": "read"}


def test_crashes_of_a_damaged_file_are_stored_without_its_position(file: Path, feed: StoreFeed) -> None:
    def crashes() -> Iterator[Crash]:
        for number, crash in enumerate(read(str(file), feed.origin)):
            if number == DOCUMENTS + 7:
                raise Unreadable(str(file), "is cut off")
            yield crash

    with pytest.raises(Unreadable):
        feed.keep(crashes(), {"file": "read"})
    assert feed.store.status().documents == DOCUMENTS + 7
    assert feed.positions() == {}


def test_a_list_is_stored_whole_at_the_end_and_a_file_is_read_again(file: Path, feed: StoreFeed) -> None:
    crashes = list(read(str(file), Origin("file")))
    feed.stop.set()
    feed.keep(iter(crashes[:500]), {"a": "1"})
    assert (feed.store.status().documents, feed.positions()) == (100, {})
    feed.keep(crashes[:500], {"a": "1"})
    assert (feed.store.status().documents, feed.positions()) == (500, {"a": "1"})


def test_large_crashes_make_small_batches(file: Path, feed: StoreFeed) -> None:
    (first, *_) = read(str(file), feed.origin)
    large = structs.replace(first.report.lines[0], text="x" * 60_000, raw="")

    def crashes() -> Iterator[Crash]:
        for number in range(400):
            yield Crash(structs.replace(first.report, time=float(number), lines=(large,)), first.origin)

    tracemalloc.start()
    feed.keep(crashes())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert feed.store.status().documents == 400
    assert most < 8 * BYTES
