"""Attacks through watched folders: bombs, pipes, holes, links and dumps cost bounded time and memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import resource
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Sized
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.api import Unreadable
from kpanic.shipper.contract import crash_text
from kpanic.shipper.inputs import compression, memory_dump, pstore
from kpanic.shipper.inputs.compression import Bomb, decompressor, unpack
from kpanic.shipper.inputs.file import FileInput
from kpanic.shipper.inputs.kdump import KdumpInput
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.inputs.pstore import PstoreInput
from kpanic.shipper.origin import Origin
from kpanic.shipper.zstd import zstd
from tests.shipper.feed import running
from tests.shipper.test_kdump import DUMP, program, refused
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kpanic.shipper.api import Crash

ZEROS = bytes(1 << 20)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstd.compress,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_unpacked_by_pieces_and_left_off(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "SMALL", 8 << 20)
    monkeypatch.setattr(compression, "RATIO", 500)
    packed = PACK[kind](ZEROS * 64)
    stream = io.BytesIO(packed)
    new = decompressor(packed)
    assert new is not None
    tracemalloc.start()
    sizes: list[int] = []
    with pytest.raises(Bomb):
        sizes.extend(map(len, unpack(stream.read, new)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(sizes) <= 4 << 20
    assert sum(sizes) <= 13 << 20
    assert peak < 16 << 20


@pytest.mark.parametrize("kind", PACK)
def test_the_beginning_of_a_bomb_is_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "SMALL", 1 << 20)
    monkeypatch.setattr(compression, "RATIO", 100)
    path = tmp_path / "log"
    path.write_bytes(PACK[kind](crash_text(1) + ZEROS * 32))
    found = []
    with pytest.raises(Unreadable, match="unpacks to more than") as caught:
        found.extend(read(str(path), Origin("file")))
    assert len(found) == 1
    assert "\n" not in str(caught.value)


def test_a_window_of_half_a_gigabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    long = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 29})
    for packed in (
        lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]),
        long.compress(os.urandom(1 << 20)) + long.flush(),
    ):
        path.write_bytes(packed)
        with pytest.raises(Unreadable, match="needs more than 64 MB of memory to unpack"):
            list(read(str(path), Origin("file")))


def test_the_crashes_of_one_file_are_kept_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "127.0.0.1-2026-04-29-20:32:26" / "vmcore-dmesg.txt"
    path.parent.mkdir()
    path.write_bytes(b"".join(crash_text(number) for number in range(300)))
    with running(KdumpInput, paths=[str(tmp_path)], settle=0, scan_interval=0.1) as feed:
        keep = feed.keep

        def one_by_one(crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
            assert not isinstance(crashes, Sized), "none of them is held"
            for crash in crashes:
                keep([crash])
            keep((), positions)

        feed.keep = one_by_one  # type: ignore[method-assign]
        until(lambda: feed.saved)
    assert len(feed.crashes) == 300


@pytest.mark.parametrize("kind", ["file", "pstore", "kdump"])
def test_a_file_that_becomes_a_pipe_when_it_is_opened_holds_nothing_up(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """stat() sees a file, but open() gets a pipe without a writer."""
    name = {"file": "messages", "pstore": "dmesg-efi-1", "kdump": "vmcore-dmesg.txt"}[kind]
    trap, real = tmp_path / "a" / name, tmp_path / "b" / name
    for path in (trap, real):
        path.parent.mkdir()
        path.write_bytes(crash_text(1))
    inode = trap.stat().st_ino
    monkeypatch.setattr(os, "open", exchanging(os.open, trap, inode))
    looking = {
        "file": running(FileInput, paths=[str(trap), str(real)], scan_interval=0.1, close_quiet=0.3),
        "pstore": running(PstoreInput, paths=[str(tmp_path)], scan_interval=0.1),
        "kdump": running(KdumpInput, paths=[str(tmp_path)], scan_interval=0.1, settle=0),
    }
    with looking[kind] as feed:
        until(lambda: feed.crashes)
    assert any(kept.startswith(str(real.parent)) for kept in feed.kept)
    assert any("named pipe" in line for line in feed.said)


def exchanging(original: Callable[..., int], trap: Path, inode: int) -> Callable[..., int]:
    """Return an ``os.open`` that replaces the file by a pipe before it opens it."""

    def opened(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).name == trap.name and trap.exists() and trap.stat().st_ino == inode:
            here = dir_fd is None and Path(path) == trap
            there = dir_fd is not None and os.path.samestat(os.fstat(dir_fd), trap.parent.stat())
            if here or there:
                trap.unlink()
                os.mkfifo(trap)
        return original(path, flags, mode, dir_fd=dir_fd)

    return opened


def test_a_hole_of_eight_terabytes_is_passed_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    hole = tmp_path / "a" / "dmesg.txt"
    hole.write_bytes(crash_text(1))
    os.truncate(hole, 8 << 40)
    (tmp_path / "b" / "dmesg.txt").write_bytes(crash_text(2))
    with running(FileInput, paths=[f"{tmp_path}/*/dmesg.txt"], scan_interval=0.1, close_quiet=0.3) as feed:
        until(lambda: len(feed.crashes) == 2)
        with hole.open("r+b") as file:  # it is still followed
            file.seek(0, os.SEEK_END)
            file.write(b"\n" + crash_text(3))
        until(lambda: len(feed.crashes) == 3)


def test_records_are_removed_only_from_the_folder_that_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pstore, "DELIVERY", 0.1)
    watched, victim = tmp_path / "watched", tmp_path / "victim"
    for folder in (watched / "x", victim):
        folder.mkdir(parents=True)
        (folder / "dmesg-efi-1").write_bytes(crash_text(1 if folder == victim else 2))
    with running(PstoreInput, paths=[str(watched)], scan_interval=0.1, unlink=True) as feed:
        until(lambda: feed.crashes)
        (watched / "x").rename(tmp_path / "away")
        (watched / "x").symlink_to(victim)
        feed.everywhere = True
        until(lambda: not feed.saved)
    assert (victim / "dmesg-efi-1").exists()
    assert (tmp_path / "away" / "dmesg-efi-1").exists()


def test_a_record_that_was_exchanged_since_it_was_read_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pstore, "DELIVERY", 0.1)
    record = tmp_path / "dmesg-efi-1"
    record.write_bytes(crash_text(1))
    delivered = threading.Event()
    with running(PstoreInput, paths=[str(tmp_path)], scan_interval=0.1, unlink=True) as feed:

        def exchange(_: object) -> bool:
            if len(feed.crashes) == 1 and not delivered.is_set():
                record.unlink()
                record.write_bytes(crash_text(2) + b"more\n")
                delivered.set()
                return True
            return False

        feed.delivered = exchange  # type: ignore[method-assign]
        until(lambda: len(feed.crashes) == 2)
    assert record.exists()


def test_records_cost_time_in_proportion_to_their_number(tmp_path: Path) -> None:
    for count in (100, 2_000, 8_000):
        (tmp_path / f"{count}").mkdir()
        (tmp_path / f"{count}" / "dmesg-efi-1").write_bytes(
            b"".join(b"Oops#%d Part1\n<4>[    1.000000] x\n" % number for number in range(count))
        )

    def seconds(count: int) -> float:
        began = time.thread_time()
        list(read(str(tmp_path / f"{count}" / "dmesg-efi-1"), Origin("pstore")))
        return time.thread_time() - began

    seconds(100)  # the grammar is loaded on first use
    # in turn, so that other processes slow both
    ratios = (statistics.median(seconds(8_000) / seconds(2_000) for _ in range(5)) for _ in range(3))
    assert any(ratio < 6 for ratio in ratios)


@pytest.mark.process
def test_a_log_is_read_once_its_owner_lets_one(tmp_path: Path) -> None:
    """chmod changes neither the size nor the time of modification."""
    ready, path = (
        tmp_path / name / "127.0.0.1-2026-04-29-20:32:26" / "vmcore-dmesg.txt" for name in ("ready", "later")
    )
    for one in (ready, path):
        one.parent.mkdir(parents=True)
        one.write_bytes(crash_text(1))
    path.chmod(0)
    tmp_path.chmod(0o755)
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from kpanic.shipper.contract import MemoryFeed, run_beside
from kpanic.shipper.inputs.kdump import KdumpInput
feed = MemoryFeed()
with run_beside(KdumpInput(KdumpInput.Config(paths=[{str(ready)!r}], settle=0, scan_interval=0.1)), feed):
    feed.wait_for(lambda: feed.crashes, "it is read")  # all is imported, as the next user may not
if os.geteuid() == 0:
    os.setuid(65534)
feed = MemoryFeed()
with run_beside(KdumpInput(KdumpInput.Config(paths=[{str(path)!r}], settle=0, scan_interval=0.1)), feed):
    feed.wait_for(lambda: feed.said, "it is said")
    print(feed.said[0], flush=True)
    sys.stdin.readline()
    feed.wait_for(lambda: feed.crashes, "it is read")
print(len(feed.crashes))
"""
    for folder in tmp_path.parents:
        if folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert "may not be read" in child.stdout.readline()
        path.chmod(0o644)
        assert child.communicate("\n", timeout=300)[0] == "1\n"


def test_a_folder_of_records_with_too_many_crashes_is_read_in_part_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pstore, "MOST", 50)
    monkeypatch.setattr(pstore, "PIECE", 4096)
    for record in range(3):
        crashes = range(100 * record, 100 * record + 100)
        (tmp_path / f"dmesg-efi-{record}").write_bytes(b"".join(map(crash_text, crashes)))
    with running(PstoreInput, paths=[str(tmp_path)], scan_interval=0.1) as feed:
        until(lambda: feed.crashes)
    assert 50 <= len(feed.crashes) < 60
    assert feed.said == [f"{tmp_path}: holds more than any backend keeps; the rest is left out"]


def test_archives_are_unpacked_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "TURN", 0.2)
    for name in "ab":
        (tmp_path / name).write_bytes(gzip.compress(crash_text(1) * 2000))
    first, second = (read(str(tmp_path / name), Origin("file")) for name in "ab")
    assert next(first)
    began = time.monotonic()
    assert next(second), "one that is not gone on with gives way"
    assert time.monotonic() - began >= 0.2
    first.close()
    second.close()
    assert compression._UNPACKING.acquire(timeout=60)  # noqa: SLF001
    compression._UNPACKING.release()  # noqa: SLF001


@pytest.mark.process
def test_a_dump_is_read_without_network_and_privileges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    program(tmp_path, 'cat "$2" /proc/self/status /proc/net/dev > "$3"')
    (tmp_path / "vmcore").write_bytes(DUMP)
    (tmp_path / "vmcore").chmod(0o600)
    with memory_dump.log_of(str(tmp_path / "vmcore"), DUMP) as log:
        assert log.read(len(DUMP)) == DUMP
        said = log.read().decode()
    status = dict(line.split(":", 1) for line in said.splitlines() if ":\t" in line)
    assert status["NoNewPrivs"].strip() == "1"
    if os.geteuid() == 0:
        assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
        assert status["Groups"].split() == []
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 1 << 2, "CAP_DAC_READ_SEARCH"
        assert re.findall(r"^ *(\w+):", said[said.index("Inter-|") :], re.MULTILINE) == ["lo"]
    else:
        assert int(status["CapEff"], 16) == 0


@pytest.mark.process
@pytest.mark.parametrize("leaves", ["ln -s /etc/shadow", "mkfifo", "mkdir"])
def test_a_program_that_was_taken_over_leaves_nothing_but_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    program(tmp_path, f'{leaves} "$3"')
    assert refused(tmp_path).startswith("its log could not be extracted: ")


@pytest.mark.process
def test_a_dump_is_given_so_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    program(tmp_path, f"exec {sys.executable} -c 'bytearray(1 << 30)'")
    assert refused(tmp_path) == "its log could not be extracted: MemoryError"
    program(tmp_path, "ulimit -v >&2; ulimit -c >&2; exit 1")
    assert refused(tmp_path) == "its log could not be extracted: 0"
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != memory_dump.MEMORY, (
        "the service itself is not limited"
    )
