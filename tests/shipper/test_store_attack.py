"""Folders that others may write: links, files and pipes of theirs are not followed, emptied or waited for."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.store import Store, StoreError
from tests.shipper.samples import packed

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = ("", "-wal", "-shm", ".lock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    made = tmp_path / "victim"
    made.write_text("theirs")
    return made


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dangling", [False, True], ids=["to a file", "to nothing"])
def test_a_planted_link_is_refused_and_what_it_leads_to_stays_as_it_is(
    folder: Path,
    victim: Path,
    suffix: str,
    dangling: bool,  # noqa: FBT001
) -> None:
    target = folder.parent / "nothing" if dangling else victim
    (folder / f"kpanic.db{suffix}").symlink_to(target)
    with pytest.raises(StoreError, match=r"set path\.data to a folder of your own"):
        Store(folder / "kpanic.db")
    assert victim.read_text() == "theirs"
    assert not (folder.parent / "nothing").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_planted_pipe_is_refused_and_not_waited_for(folder: Path, suffix: str) -> None:
    os.mkfifo(folder / f"kpanic.db{suffix}")
    with pytest.raises(StoreError):
        Store(folder / "kpanic.db")


def test_nobody_else_reads_the_store_or_locks_its_owner_out(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Store(tmp_path / "data" / "kpanic.db") as store:
            store.add([packed(1)])
            modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert modes == dict.fromkeys((f"kpanic.db{suffix}" for suffix in SUFFIXES), 0o600)


def test_files_that_others_may_read_become_private(folder: Path) -> None:
    Store(folder / "kpanic.db").close()
    for path in folder.iterdir():
        path.chmod(0o666)
    with Store(folder / "kpanic.db") as store:
        store.add([packed(1)])
        assert not any(path.stat().st_mode & 0o007 for path in folder.iterdir())


def test_a_lock_that_is_held_names_no_false_process(folder: Path) -> None:
    lock = folder / "kpanic.db.lock"
    lock.write_bytes(b"\x1b[2J not a number")
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(StoreError, match="is writing to this store"):
            Store(folder / "kpanic.db")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_in_which_others_may_exchange_the_store_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(StoreError, match="others may write to it"):
        Store(folder / "kpanic.db")
    folder.chmod(0o700)
    folder.parent.chmod(mode | 0o777)
    with pytest.raises(StoreError, match="other users may replace its files"):
        Store(folder / "kpanic.db")
    folder.parent.chmod(0o700)
    Store(folder / "kpanic.db").close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_another_user_are_refused(folder: Path) -> None:
    Store(folder / "kpanic.db").close()
    os.chown(folder / "kpanic.db", 12_345, 12_345)
    with pytest.raises(StoreError, match="belongs to another user"):
        Store(folder / "kpanic.db")
    os.chown(folder, 12_345, 12_345)
    with pytest.raises(StoreError, match=r"belongs to another user \(uid 12345\)"):
        Store(folder / "kpanic.db")
