"""pstore's records are assembled, and removed only on request after the crash is delivered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper.api import DeliveryStatus, Outcome
from kpanic.shipper.document import build
from kpanic.shipper.identity import identify
from kpanic.shipper.inputs import pstore
from kpanic.shipper.inputs.pstore import PstoreInput
from kpanic.shipper.packed import pack
from kpanic.shipper.store import Store
from tests.shipper.feed import running
from tests.waiting import stays, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.api import Stored

TRANSPORTS = Path(__file__).parent.parent / "logs" / "transports"


def records(name: str) -> Iterator[tuple[str, bytes]]:
    """Split a printed list of pstore's files, each with a line of its name and size in front."""
    for part in (TRANSPORTS / name).read_bytes().replace(b"\r\n", b"\n").split(b"#### /sys/fs/pstore/")[1:]:
        head, _, text = part.partition(b"\n")
        yield head.split()[0].decode(), text


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pstore, "DELIVERY", 0.1)
    monkeypatch.setattr(pstore, "SETTLE", 0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pstore"
    folder.mkdir()
    for name, text in records("pstore-efi-files.txt"):
        (folder / name).write_bytes(text)
    return folder


def looking(folder: Path, at: dict[str, str] | None = None, **config: Any) -> Any:  # noqa: ANN401
    return running(PstoreInput, at, paths=[str(folder)], **{"scan_interval": 0.1, **config})


def test_records_stay_unless_their_removal_is_asked_for(folder: Path) -> None:
    before = sorted(folder.iterdir())
    with looking(folder) as feed:
        feed.everywhere = True
        until(lambda: feed.crashes)
        stays(lambda: sorted(folder.iterdir()) == before != [], 0.5)
    assert len(feed.kept) == 1


def test_records_go_once_every_output_has_their_crash_and_nothing_else_goes(folder: Path) -> None:
    (folder / "console-efi-1").write_text("not a dump\n")
    with looking(folder, unlink=True) as feed:
        until(lambda: feed.crashes)
        stays(lambda: len(list(folder.iterdir())) > 1, 0.5)
        feed.everywhere = True
        until(lambda: [path.name for path in folder.iterdir()] == ["console-efi-1"])
        until(lambda: feed.saved == {})
    assert feed.said == []


def test_documents_of_the_last_run_are_sent_too(folder: Path) -> None:
    with looking(folder) as first:
        until(lambda: first.saved)
    with looking(folder, first.saved, unlink=True) as second:
        second.crashes = first.crashes
        second.everywhere = True
        until(lambda: not list(folder.iterdir()))
    assert second.kept == []


def test_records_that_have_no_crash_or_are_unreadable_are_left_and_reported_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "dmesg-efi-1").write_bytes(b"Shutdown#1 Part1\n<6>[    1.000000] all is well\n")
    (tmp_path / "a" / "dmesg-efi-2.enc.z").write_bytes(b"\x78\x9c")
    os.mkfifo(tmp_path / "a" / "dmesg-efi-3")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    with looking(tmp_path, unlink=True) as feed:
        feed.everywhere = True
        until(lambda: len(feed.said) == 3)
        stays(lambda: len(feed.said) == 3, 0.3)
    assert sorted(line.removeprefix(f"{tmp_path}/") for line in feed.said) == [
        "a/dmesg-efi-2.enc.z: the kernel could not decompress it; it is left alone",
        "a/dmesg-efi-3: is a named pipe, not a file, and is left alone",
        "a: holds no crash; its records are left alone",
    ]
    assert len(list((tmp_path / "a").iterdir())) == 4


def vanishing(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]) -> None:
    """Call a function once, with the path of the third record, before it is read."""
    read = pstore._Folders._record  # noqa: SLF001 - between two records
    count = 0

    def act_first(folders: Any, descriptor: int, path: str) -> Any:  # noqa: ANN401
        nonlocal count
        count += 1
        if count == 3:
            act(Path(path))
        return read(folders, descriptor, path)

    monkeypatch.setattr(pstore._Folders, "_record", act_first)  # noqa: SLF001


def test_records_that_are_moved_while_they_are_read_are_one_crash(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = folder / "179537566"
    last = max(folder.iterdir())

    def move(_: Path) -> None:
        moved.mkdir()
        for record in folder.glob("dmesg-*"):
            record.rename(moved / record.name)

    vanishing(monkeypatch, move)
    with looking(folder) as feed:
        until(lambda: feed.crashes)
        until(lambda: list(feed.saved) == [str(moved)])
    (crash,) = feed.crashes.values()
    assert (crash.report.status, crash.origin.path, feed.said) == ("complete", str(moved), [])
    assert (moved / last.name).exists()


@pytest.mark.parametrize("gone", ["one", "all"])
def test_records_that_vanish_while_they_are_read_cost_no_other_and_are_one_crash(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    def remove(path: Path) -> None:
        for record in [path] if gone == "one" else folder.iterdir():
            record.unlink()

    monkeypatch.setattr(pstore, "PIECE", 1 << 20)
    vanishing(monkeypatch, remove)
    with looking(folder) as feed:
        until(lambda: feed.crashes)
        until(lambda: (str(folder) in feed.saved) == (gone == "one"))
    assert (len(feed.crashes), feed.said) == (1, [])


def test_records_that_are_moved_after_they_were_read_are_no_other_crash(folder: Path) -> None:
    records = sorted(folder.iterdir())
    with looking(folder) as first:
        until(lambda: first.saved)
        before = dict(first.saved)
        records[3].unlink()
        until(lambda: first.saved != before)
    assert len(first.crashes) == 1
    records[5].unlink()
    with looking(folder, first.saved) as second:
        until(lambda: second.saved != first.saved)
    assert (second.kept, second.said) == ([], [])


def test_a_record_that_somebody_else_removes_keeps_no_other_from_being_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = sorted(folder.iterdir())
    remove = os.unlink

    def remove_first(name: str, **where: Any) -> None:  # noqa: ANN401
        if first.exists():
            remove(first)
        remove(name, **where)

    with looking(folder, unlink=True) as feed:
        until(lambda: feed.crashes)
        monkeypatch.setattr(os, "unlink", remove_first)
        feed.everywhere = True
        until(lambda: not any(other.exists() for other in others))
    assert feed.said == []


@pytest.mark.parametrize("verdict", DeliveryStatus)
def test_a_crash_is_everywhere_when_each_output_has_acknowledged_it(
    tmp_path: Path, verdict: DeliveryStatus
) -> None:
    (crash,) = _read(tmp_path)
    (name,) = [identify(*crash)[1]]
    with Store(tmp_path / "kpanic.db") as store:
        assert not store.all_delivered([name], [])
        store.register_output("one")
        store.register_output("other")
        store.add([pack(build(*crash))])
        assert store.all_delivered([name], [])
        _settle(store, "one", DeliveryStatus.DELIVERED)
        assert store.all_delivered([name], ["one"])
        assert not store.all_delivered([name], ["one", "other"])
        _settle(store, "other", verdict)
        assert store.all_delivered([name], ["one", "other"]) is (verdict is DeliveryStatus.DELIVERED)


def _read(folder: Path) -> Any:  # noqa: ANN401
    for name, text in records("pstore-efi-files.txt"):
        (folder / name).write_bytes(text)
    with looking(folder) as feed:
        until(lambda: feed.crashes)
    return feed.crashes.values()


def _settle(store: Store, output: str, verdict: DeliveryStatus) -> None:
    batch: list[Stored] = store.pending(output, 10)
    store.settle(output, batch, [Outcome(stored.id, verdict, "") for stored in batch])
