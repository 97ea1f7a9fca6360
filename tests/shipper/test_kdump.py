"""Crash folders while they are written, and dumps without a log."""

from __future__ import annotations

import errno
import re
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import inotify_simple
import pytest

from kpanic.shipper.api import Unreadable
from kpanic.shipper.inputs import kdump, memory_dump
from kpanic.shipper.inputs.folder_watch import Watch
from kpanic.shipper.inputs.kdump import KdumpInput
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.origin import Origin
from tests.engines import parts
from tests.shipper.feed import running
from tests.waiting import stays, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.shipper.feed import Feed

STORY = Path(__file__).parent.parent / "logs" / "story" / "127.0.0.1-2021-04-29-20:32:26" / "vmcore-dmesg.txt"
TEXT = STORY.read_bytes()
NEVER = 3600.0
DUMP = b"KDUMP   \x06" + bytes(1000)
"""The beginning of a compressed dump, damaged after it."""


@contextmanager
def watching(folder: Path, *, settle: float = 0.2, every: float = NEVER) -> Iterator[Feed]:
    with running(KdumpInput, paths=[str(folder)], settle=settle, scan_interval=every) as feed:
        yield feed


def test_a_log_is_read_when_it_gets_its_name_whenever_folders_are_looked_at(tmp_path: Path) -> None:
    with watching(tmp_path) as feed:
        stays(lambda: feed.kept == [], 0.3)
        folder = tmp_path / "collected" / "10.0.0.7-2021-04-29-20:32:26"
        folder.mkdir(parents=True)
        growing = folder / "vmcore-dmesg-incomplete.txt"
        growing.write_bytes(TEXT)
        stays(lambda: feed.kept == [], 0.6)
        complete = growing.rename(folder / "vmcore-dmesg.txt")
        until(lambda: feed.kept == [str(complete)])


@pytest.mark.parametrize("moment", ["between its listing and its look", "between its look and its reading"])
def test_a_log_that_gets_its_name_while_it_is_looked_at_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder = tmp_path / "10.0.0.7-2021-04-29-20:32:26"
    folder.mkdir()
    incomplete, complete = folder / "vmcore-dmesg-incomplete.txt", folder / "vmcore-dmesg.txt"
    incomplete.write_bytes(TEXT)
    where = (Watch, "add") if "listing" in moment else (kdump, "being_written")
    act = getattr(*where)

    def rename_first(*arguments: object) -> object:
        if incomplete.exists() and str(arguments[-1]).startswith(str(folder)):
            incomplete.rename(complete)
        return act(*arguments)

    monkeypatch.setattr(*where, rename_first)
    with watching(tmp_path, settle=0) as feed:
        until(lambda: str(complete) in feed.kept)
    assert (feed.kept, feed.said) == ([str(complete)], [])


def test_a_log_is_not_read_while_it_is_written_however_slowly(tmp_path: Path) -> None:
    path = tmp_path / "202104292032" / "dmesg.202104292032"
    path.parent.mkdir()
    with path.open("wb", buffering=0) as file, watching(tmp_path) as feed:
        file.write(TEXT[:-100])
        stays(lambda: feed.kept == [], 0.8)
        file.write(TEXT[-100:])
        file.close()
        until(lambda: feed.kept == [str(path)])
    assert feed.said == []


def test_files_without_change_notifications_are_found_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So are folders beyond the limit of watches, which is logged once."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(inotify_simple.INotify, "add_watch", refuse)
    with watching(tmp_path, every=0.3) as feed:
        until(lambda: feed.said)
        shutil.copytree(STORY.parent, tmp_path / STORY.parent.name)
        until(lambda: len(feed.kept) == 1)
    (told,) = feed.said
    assert "fs.inotify" in told


def test_a_missing_folder_is_reported_once_and_read_when_it_exists(tmp_path: Path) -> None:
    with watching(tmp_path / "crash", every=0.1) as feed:
        until(lambda: feed.said)
        assert feed.said == [f"{tmp_path}/crash: does not exist yet; nothing is read there until it does"]
        shutil.copytree(STORY.parent, tmp_path / "crash" / STORY.parent.name)
        until(lambda: len(feed.kept) == 1)
    assert len(feed.said) == 1


@pytest.mark.process
def test_a_dump_alone_asks_once_for_the_program_that_reads_it_and_is_read_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = tmp_path / "crash" / "127.0.0.1-2021-04-29-20:32:26"
    folder.mkdir(parents=True)
    (folder / "vmcore").write_bytes(DUMP)
    with watching(tmp_path / "crash", settle=0, every=0.1) as feed:
        until(lambda: feed.said)
        (told,) = feed.said
        assert "install makedumpfile" in told
        program(tmp_path, f'cp {STORY} "$3"')
        until(lambda: feed.kept == [str(folder / "vmcore")])
    assert feed.said == [told]


@pytest.mark.process
def test_the_real_program_says_why_it_takes_no_log_out_of_a_damaged_dump(tmp_path: Path) -> None:
    if not shutil.which(memory_dump.PROGRAM):
        parts.missing("makedumpfile", "it is not installed")
    reason = refused(tmp_path)
    assert reason.startswith("its log could not be extracted: ")
    assert "\n" not in reason
    assert "makedumpfile Failed" not in reason


@pytest.mark.process
def test_a_dump_is_given_so_much_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(memory_dump, "LONGEST", 1.0)
    program(tmp_path, "exec sleep 60")
    assert refused(tmp_path) == "its log could not be extracted within 1 s"


@pytest.mark.process
def test_a_dump_is_given_so_much_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(memory_dump, "LARGEST", 1 << 20)
    program(tmp_path, 'exec dd if=/dev/zero of="$3" bs=64k')
    assert refused(tmp_path) == "its log could not be extracted: makedumpfile was ended by SIGXFSZ"


@pytest.mark.process
def test_a_flattened_dump_says_how_it_becomes_a_plain_one(tmp_path: Path) -> None:
    """SUSE saves dumps in this format; the log can only be read after a rearrangement of the whole dump."""
    assert "makedumpfile -R vmcore < FILE" in refused(tmp_path, b"makedumpfile" + bytes(4084))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (struct.pack("<3I64s2Q", 0xBED2BED2, 8, 95, b"cpu", 12, 0), "is a snapshot of VMware"),
        (struct.pack("<IIHI", 0x01282014, 0, 1, 0x0400).ljust(46, b"\0"), "is a saved state of Hyper-V"),
    ],
    ids=["vmss", "vmrs"],
)
def test_a_dump_of_a_hypervisor_is_reported_with_advice(tmp_path: Path, header: bytes, words: str) -> None:
    assert re.match(f"{words}, which is not read: .* kdump leaves in the guest", refused(tmp_path, header))


def test_a_program_s_own_image_is_no_dump() -> None:
    assert memory_dump.is_dump(b"\x7fELF" + bytes(12) + b"\x04\x00")
    assert not memory_dump.is_dump(Path("/bin/sh").read_bytes()[:64])


def program(folder: Path, does: str) -> None:
    """Replace makedumpfile by a script."""
    (folder / "bin").mkdir(exist_ok=True)
    script = folder / "bin" / "part"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
    script.rename(folder / "bin" / memory_dump.PROGRAM)


def refused(folder: Path, content: bytes = DUMP) -> str:
    path = folder / "vmcore"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        list(read(str(path), Origin("file")))
    return caught.value.reason
