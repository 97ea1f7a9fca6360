"""Log files that grow, are rotated, truncated and compressed, while the input runs and while it does not."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper.inputs import followed_file
from kpanic.shipper.inputs.file import FileInput
from kpanic.shipper.inputs.file_patterns import expand
from tests.shipper.feed import running
from tests.waiting import stays, until

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from tests.shipper.feed import Feed

pytestmark = pytest.mark.timed
LAB = Path(__file__).parent.parent / "logs" / "lab"
PANIC = (LAB / "6.1.0-56-amd64-x86_64-panic.log").read_bytes().replace(b"\r\n", b"\n")
AT = PANIC.index(b"\n", PANIC.index(b"Kernel panic - not syncing") + 500) + 1
"""An offset inside the crash."""
NEVER = 3600.0


def crash(number: int) -> bytes:
    """Return a boot with a crash at a distinct time."""
    return PANIC.replace(b"[    2.", b"[    %d." % (2 + number))


def following(folder: Path, at: dict[str, str] | None = None, **config: Any) -> Any:  # noqa: ANN401
    given = {"paths": [f"{folder}/messages*"], "close_quiet": 1.0, "scan_interval": NEVER, **config}
    return running(FileInput, at, **given)


def uptimes(feed: Feed) -> list[int]:
    return sorted(int(crash.report.time or 0) for crash in feed.crashes.values())


def arrived(feed: Feed, *numbers: int) -> None:
    expected = [2 + number for number in numbers]
    until(lambda: uptimes(feed) == expected)
    stays(lambda: uptimes(feed) == expected, 1.2)
    assert feed.said == []


def test_a_file_is_read_as_it_grows_however_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.touch()
    with following(tmp_path) as feed, path.open("ab", buffering=0) as log:
        text = crash(0)
        for at in range(0, len(text), 4999):
            log.write(text[at : at + 4999])
        arrived(feed, 0)


def test_a_kernel_that_goes_on_printing_does_not_keep_its_crash_open(tmp_path: Path) -> None:
    oops = (LAB / "6.1.0-56-amd64-x86_64-refcount.log").read_bytes()
    path = tmp_path / "messages"
    path.write_bytes(oops)
    with following(tmp_path, close_quiet=1.0) as feed, path.open("ab", buffering=0) as log:

        def over() -> bool:
            log.write(b"[    9.000000] eth0: link is up\nNov 22 19:31:14 web-2 sshd[1]: hello\n")
            return bool(feed.crashes)

        until(over)


def test_a_crash_that_goes_from_a_renamed_file_to_the_next_is_one(tmp_path: Path) -> None:
    path, old = tmp_path / "messages", tmp_path / "messages.1"
    text = crash(0)
    path.write_bytes(text[: AT - 40])
    with following(tmp_path, close_quiet=2.0) as feed:
        until(lambda: held(path))
        with path.open("ab", buffering=0) as writer:
            path.rename(old)
            writer.write(text[AT - 40 : AT])  # the process that has it open has not reopened it yet
            path.write_bytes(text[AT:])
        arrived(feed, 0)
    (one,) = feed.crashes.values()
    assert len(one.report.lines) == len(wholly(tmp_path, text).report.lines)
    with following(tmp_path, feed.saved) as again:  # the next start reads it from the same position
        stays(lambda: again.crashes.keys() <= feed.crashes.keys(), 1.5)


def test_a_crash_is_not_cut_by_a_stale_handle_after_which_its_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, text = tmp_path / "messages", crash(0)
    path.write_bytes(text[:AT])
    whole = len(wholly(tmp_path, text).report.lines)
    read = os.pread
    heard: list[int] = []
    lengths: list[int] = []

    class Reader(followed_file.Reader):
        def feed(self, chunk: bytes) -> list[CrashReport]:
            found = super().feed(chunk)
            heard.append(len(chunk))
            lengths.extend(len(report.lines) for report in found)
            return found

    monkeypatch.setattr(followed_file, "Reader", Reader)
    with following(tmp_path, close_quiet=600.0, scan_interval=0.2) as feed:
        until(lambda: sum(heard) == AT)

        def stale(*_: int) -> bytes:
            monkeypatch.setattr(os, "pread", read)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

        monkeypatch.setattr(os, "pread", stale)
        with path.open("ab") as log:
            log.write(text[AT:] + crash(1))  # its boot ends the previous one
        until(lambda: feed.crashes)
    assert set(lengths) == {whole}
    assert feed.said == [f"{path}: Stale file handle"]


def wholly(tmp_path: Path, text: bytes) -> Any:  # noqa: ANN401
    folder = tmp_path / "whole"
    folder.mkdir()
    (folder / "messages").write_bytes(text)
    with following(folder) as feed:
        until(lambda: feed.crashes)
    (one,) = feed.crashes.values()
    return one


def test_a_file_rotated_while_not_reading_is_read_with_its_successor(tmp_path: Path) -> None:
    text = crash(1)
    (tmp_path / "messages.2.gz").write_bytes(gzip.compress(crash(0)))
    (tmp_path / "messages.1").write_bytes(text[:AT])
    (tmp_path / "messages").write_bytes(text[AT:])
    for age, name in enumerate(("messages", "messages.1", "messages.2.gz")):
        os.utime(tmp_path / name, (time.time() - 100 * age,) * 2)
    with following(tmp_path) as feed:
        arrived(feed, 0, 1)
    whole = wholly(tmp_path, text)
    assert len(whole.report.lines) in {len(one.report.lines) for one in feed.crashes.values()}


def test_a_file_that_is_truncated_is_read_from_its_beginning_even_if_it_is_as_long_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "messages"
    path.write_bytes(crash(0))
    with following(tmp_path) as feed:
        arrived(feed, 0)
        shutil.copy(path, tmp_path / "messages.1")
        with path.open("r+b", buffering=0) as log:
            log.truncate(0)
            log.write(crash(1) + b"more\n")  # before the input reads it
        arrived(feed, 0, 1)


def test_a_rotated_file_that_is_packed_meanwhile_is_read_once_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "messages").write_bytes(crash(0))
    with following(tmp_path) as feed:
        arrived(feed, 0)
        packed = gzip.compress(crash(1))
        with (tmp_path / "messages.1.gz").open("wb", buffering=0) as out:
            out.write(packed[:2000])
            stays(lambda: uptimes(feed) == [2], 0.6)
            out.write(packed[2000:])
        arrived(feed, 0, 1)


def test_a_restart_reads_rotated_files_only_if_they_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Chunks(followed_file.Chunks):
        def __init__(self, path: str) -> None:
            read.append(Path(path).name)
            super().__init__(path)

    monkeypatch.setattr(followed_file, "Chunks", Chunks)
    for number in range(1, 4):
        path = tmp_path / f"messages.{number}"
        path.write_bytes(crash(number))
        os.utime(path, (time.time() - 100 * number,) * 2)
    (tmp_path / "messages").write_bytes(crash(0))
    with following(tmp_path) as feed:
        arrived(feed, 0, 1, 2, 3)
        until(lambda: len(feed.saved) == 3)
    assert read == ["messages.3", "messages.2", "messages.1"]
    read.clear()
    (tmp_path / "messages.3").unlink()
    (tmp_path / "messages.2").rename(tmp_path / "messages.3")
    # an inode is reused, for a file that begins like the previous one
    state = (tmp_path / "messages.1").stat()
    (tmp_path / "messages.1").write_bytes(crash(4))
    assert (tmp_path / "messages.1").stat().st_ino == state.st_ino
    with following(tmp_path, feed.saved) as again:
        arrived(again, 0, 4)
        until(lambda: len(again.saved) == 2)
    assert read == ["messages.1"]
    read.clear()
    with following(tmp_path, again.saved) as last:
        arrived(last, 0, 4)  # the end of the last rotated file
    assert read == ["messages.1"]


def test_a_file_that_is_deleted_is_let_go_of_and_a_new_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_file, "LINGER", 0.2)
    path = tmp_path / "messages"
    path.write_bytes(crash(0))
    with following(tmp_path) as feed:
        arrived(feed, 0)
        path.unlink()
        until(lambda: not held(path))
        path.write_bytes(crash(1))
        arrived(feed, 0, 1)


def held(path: Path) -> bool:
    """Tell whether this process has a file open."""
    return any(str(path) in _link(one) for one in Path("/proc/self/fd").iterdir())


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_an_unreadable_file_is_reported_once_and_the_rest_continues(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "messages.fifo")
    (tmp_path / "messages.binary").write_bytes(bytes(range(1, 256)) * 40)
    (tmp_path / "messages.dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "messages.empty").touch()
    (tmp_path / "messages.cut.gz").write_bytes(gzip.compress(os.urandom(9000))[:-100])
    (tmp_path / "messages.d").mkdir()
    (tmp_path / "messages").write_bytes(crash(0))
    paths = [f"{tmp_path}/messages*", f"{tmp_path}/missing", str(tmp_path)]
    with following(tmp_path, paths=paths, scan_interval=0.1) as feed:
        until(lambda: feed.crashes and len(feed.said) == 6)
        stays(lambda: len(feed.said) == 6, 0.5)
    assert sorted(line.removeprefix(f"{tmp_path}/") for line in feed.said) == [
        f"{tmp_path}: is a directory: name its files, such as {tmp_path}/*",
        "messages.binary: is binary; it is searched all the same",
        "messages.cut.gz: is cut off: the existing part was read; copy it again if the original is longer",
        "messages.dangling: No such file or directory",
        "messages.fifo: is a named pipe, not a file, and is left alone",
        "missing: does not exist yet; nothing is read there until it does",
    ]


def test_a_pattern_does_not_follow_links_to_folders_which_may_loop(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "a", deep):
        (folder / "kern.log").touch()
        (folder / "loop").symlink_to(tmp_path)
        (folder / "other").symlink_to(tmp_path / "a")
    found = [Path(path).relative_to(tmp_path).as_posix() for path in expand(f"{tmp_path}/**/kern.log")]
    assert sorted(found) == ["a/b/c/kern.log", "a/kern.log", "kern.log"]
    assert len(list(expand(f"{tmp_path}/**"))) < 20


def test_files_in_new_folders_are_found(tmp_path: Path) -> None:
    with following(tmp_path, paths=[f"{tmp_path}/*/kern.log"], scan_interval=0.3) as feed:
        stays(lambda: not feed.crashes, 0.2)
        (tmp_path / "web-1").mkdir()
        (tmp_path / "web-1" / "kern.log").write_bytes(crash(0))
        until(lambda: feed.crashes)


def test_states_are_recorded_once_and_only_for_existing_files(tmp_path: Path) -> None:
    noted: list[dict[str, str | None]] = []
    for name, number in (("messages.1", 1), ("messages", 0)):
        (tmp_path / name).write_bytes(crash(number))
    with following(tmp_path, scan_interval=0.05) as feed:
        keep = feed.keep

        def noting(crashes: Any, positions: Any = None) -> None:  # noqa: ANN401
            noted.extend([positions] if positions else [])
            keep(crashes, positions)

        feed.keep = noting  # type: ignore[method-assign]
        arrived(feed, 0, 1)
        (tmp_path / "messages.1").unlink()
        until(lambda: feed.saved == {})
        stays(lambda: len(noted) == 2, 0.5)
