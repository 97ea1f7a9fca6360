from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import socket
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpanic import grammars
from kpanic.shipper.api import Unreadable
from kpanic.shipper.inputs import kdump_names
from kpanic.shipper.inputs.file import FileInput
from kpanic.shipper.inputs.folders import Found, walk
from kpanic.shipper.inputs.log_file import origin_of, read
from kpanic.shipper.origin import Origin
from kpanic.shipper.zstd import zstd
from tests.shipper.feed import running
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport

LOGS = Path(__file__).parent.parent / "logs"
LOG = (LOGS / "transports" / "vmcore-dmesg-6.1-sysrq-c.txt").read_bytes()
BASE = Origin("file", agent_host="here")
PACK = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstd.compress, "bz2": bz2.compress}


def titles(path: Path | str) -> list[str]:
    return [crash.report.title for crash in read(str(path), BASE)]


def fault(path: Path | str) -> str:
    with pytest.raises(Unreadable) as caught:
        titles(path)
    return caught.value.reason


@pytest.mark.parametrize("kind", PACK)
def test_compressed_logs_are_read_as_they_are_whatever_their_name(tmp_path: Path, kind: str) -> None:
    plain, packed = tmp_path / "a.log", tmp_path / "b.log"
    plain.write_bytes(LOG)
    packed.write_bytes(PACK[kind](LOG[:5000]) + PACK[kind](LOG[5000:]))
    assert titles(packed) == titles(plain) != []


@pytest.mark.parametrize("kind", PACK)
def test_a_truncated_file_is_read_to_its_end_and_reported(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    noise = os.urandom(400_000)  # so that the cut comes after the crash
    path.write_bytes(PACK[kind](LOG + b"\n" + noise)[:-200_000])
    found = []
    with pytest.raises(Unreadable, match="was read") as caught:
        found.extend(crash.report.title for crash in read(str(path), BASE))
    assert "\n" not in str(caught.value)
    if kind != "bz2":  # its blocks of 900 kB are read as a whole
        assert found == titles(LOGS / "transports" / "vmcore-dmesg-6.1-sysrq-c.txt")


@pytest.mark.parametrize("kind", PACK)
def test_data_after_compressed_text_is_reported_and_the_text_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    for after in (b"junk", b"more junk than any header is long", b"\x1f", b"\0" * 512 + b"junk"):
        path.write_bytes(PACK[kind](LOG) + after)
        found = []
        with pytest.raises(Unreadable) as caught:
            found.extend(crash.report.title for crash in read(str(path), BASE))
        assert len(found) == 1
        assert caught.value.reason == (
            "has something else behind its compressed text: that is left out, all of the text was read"
        )
    path.write_bytes(PACK[kind](LOG) + b"\0" * 512)  # padding from tapes and crashes
    assert len(titles(path)) == 1


def test_a_pipe_a_socket_or_a_device_is_reported_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    hint = "'kpanic parse -' reads standard input"
    for path, name in (
        (tmp_path / "pipe", "named pipe"),
        (tmp_path / "socket", "socket"),
        ("/dev/zero", "device"),
    ):
        assert fault(path) == f"is a {name}, not a file; {hint}"


def test_a_descriptor_s_pipe_is_read() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "wb") as pipe:
        threading.Thread(target=lambda: (pipe.write(LOG), pipe.close())).start()
        assert len(titles(f"/dev/fd/{reading}")) == 1


@pytest.mark.parametrize("content", [b"\x7fE", b"KDUMQ   " + bytes(5000), b"not a dump\n"])
def test_a_file_with_a_dump_s_name_that_is_not_one_is_reported(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "127.0.0.1-2021-04-29-20:32:26"
    folder.mkdir()
    (folder / "vmcore").write_bytes(content)
    (found,) = walk(str(tmp_path))
    assert fault(found.path).startswith("has the name of a dump and is not one: copy it again")


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG)))
    assert len(titles("-")) == 1


def test_the_reason_of_an_unreadable_file_and_advice_are_given(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "zeros").write_bytes(bytes(10_000))
    assert fault(tmp_path / "nowhere") == "does not exist"
    assert fault(tmp_path) == "is a directory: name its files, or 'kpanic ship' all of it"
    assert fault(tmp_path / "empty") == "is empty, there is nothing to read"
    assert fault(tmp_path / "binary") == "is binary, no kernel log was found in it"
    assert fault(tmp_path / "zeros") == "is binary, no kernel log was found in it"
    assert fault("a\0b") == "cannot be read: embedded null byte"


def test_a_file_of_somebody_else_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(LOG)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(65534)
    try:
        assert fault(path) == "may not be read by this user: run as one who may, such as root"
    finally:
        os.seteuid(user)


def test_a_log_without_a_crash_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"[    0.000000] Linux version 6.1.0\n[    1.000000] all is well\n")
    assert titles(path) == []


def test_the_last_crash_that_kdump_saved_is_the_fatal_one(tmp_path: Path) -> None:
    oops = LOGS / "transports" / "vmcore-dmesg-6.1-null_read.txt"
    plain = tmp_path / "null_read.log"
    plain.write_bytes(oops.read_bytes().split(b"---[ end trace")[0])
    assert [crash.report.fatal for crash in read(str(oops), BASE)] == [True]
    saved = tmp_path / "vmcore-dmesg.txt"
    plain.rename(saved)
    last = [crash.report for crash in read(str(saved), BASE)][-1]
    assert last.fatal
    assert "The kernel did not survive it" in " ".join(step.finding for step in last.analysis.steps)


@pytest.mark.parametrize(
    ("path", "ip", "host", "moment"),
    [
        ("/var/crash/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt", "", "", (2021, 4, 29, 20, 32, 26)),
        (
            "/var/crash/10.0.0.7-2021-04-29-20:32:26/vmcore-dmesg.txt",
            "10.0.0.7",
            "",
            (2021, 4, 29, 20, 32, 26),
        ),
        ("fe80::1-2021-04-29-20:32:26/vmcore-dmesg-incomplete.txt", "fe80::1", "", (2021, 4, 29, 20, 32, 26)),
        (
            "web-1.example-2021-04-29-20:32:26/vmcore-dmesg.txt",
            "",
            "web-1.example",
            (2021, 4, 29, 20, 32, 26),
        ),
        ("localhost-2021-04-29-20:32:26/vmcore-dmesg.txt", "", "", (2021, 4, 29, 20, 32, 26)),
        ("/var/crash/202104292032/dmesg.202104292032", "", "", (2021, 4, 29, 20, 32)),
        ("/net/crash/10.0.0.7-202104292032/dmesg.202104292032", "10.0.0.7", "", (2021, 4, 29, 20, 32)),
        ("/ftp/web-1-dmesg.202104292032", "", "web-1", (2021, 4, 29, 20, 32)),
        ("/var/crash/202104292032/dump.202104292032", "", "", (2021, 4, 29, 20, 32)),
        ("/var/crash/2021-04-29-20:32/dmesg.txt", "", "", (2021, 4, 29, 20, 32)),
        ("/var/crash/2021-04-29-20-32/dmesg", "", "", (2021, 4, 29, 20, 32)),
        ("/net/crash/web-1-2021-04-29-20-32/vmcore", "", "web-1", (2021, 4, 29, 20, 32)),
        ("elsewhere/vmcore-dmesg.txt", "", "", None),
        ("127.0.0.1-2021-13-77-20:32:26/vmcore-dmesg.txt", "", "", None),
    ],
)
def test_a_kdump_folder_tells_host_and_local_time(
    path: str, ip: str, host: str, moment: tuple[int, ...] | None
) -> None:
    folder = kdump_names.recognise(path)
    assert folder is not None
    assert (folder.ip, folder.host) == (ip, host)
    expected = datetime(*moment).astimezone().timestamp() if moment else None  # type: ignore[misc, arg-type]
    assert folder.epoch == expected


@pytest.mark.parametrize(
    "path",
    [
        "messages",
        "/var/log/dmesg",
        "/home/me/dmesg.txt",
        "a/kexec-dmesg.log",
        "",
        "dump.sql",
        "/var/crash/2021-04-29-20:32/README.txt",
    ],
)
def test_other_files_are_not_kdump_s(path: str) -> None:
    assert kdump_names.recognise(path) is None


@given(st.text())
def test_any_name_is_survived(name: str) -> None:
    kdump_names.recognise(name)
    kdump_names.recognise(f"{name}/vmcore-dmesg.txt")


@pytest.mark.parametrize(
    ("name", "provider"),
    [("dmesg-efi-179537566801001", "pstore"), ("dmesg-ramoops-0", "pstore"), ("console.log", "file")],
)
def test_the_provider_shows_in_the_name(name: str, provider: str) -> None:
    assert origin_of(name, BASE).provider == provider


def test_only_the_crash_s_log_of_a_kdump_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log inside the dump is preferred to a saved log, if it can be read."""
    monkeypatch.setenv("PATH", str(tmp_path))
    extractor = tmp_path / "makedumpfile"
    folder = tmp_path / "127.0.0.1-2021-04-29-20:32:26"
    folder.mkdir()
    for name in ("vmcore", "vmcore-dmesg.txt", "vmcore-dmesg-incomplete.txt", "kexec-dmesg.log"):
        (folder / name).write_bytes(LOG)
    assert [found.path for found in walk(str(folder))] == [str(folder / "vmcore-dmesg.txt")]
    (folder / "vmcore-dmesg.txt").unlink()
    assert [found.path for found in walk(str(folder))] == [str(folder / "vmcore-dmesg-incomplete.txt")]
    extractor.touch(mode=0o755)
    assert [found.path for found in walk(str(folder))] == [str(folder / "vmcore")]
    extractor.unlink()
    (folder / "vmcore-dmesg-incomplete.txt").unlink()
    assert [found.path for found in walk(str(folder))] == [str(folder / "vmcore")]
    (folder / "vmcore").rename(folder / "vmcore.202104292032.gz")
    assert list(walk(str(folder))) == [
        Found(str(folder), "holds a packed dump without its log: unpack it, and its log is extracted")
    ]


def test_folders_are_walked_by_name_and_files_that_are_not_logs_are_reported(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "z.log").write_bytes(LOG)
    (tmp_path / "b" / "c" / "a.log").write_bytes(LOG)
    (tmp_path / "a.log").write_bytes(LOG)
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = list(walk(str(tmp_path)))
    assert [Path(one.path).name for one in found if not one.fault] == ["a.log", "z.log", "a.log"]
    assert {Path(one.path).name: one.fault for one in found if one.fault} == {
        "dangling": "is a link to nothing",
        "pipe": "is not a regular file and is left alone",
    }


def test_a_file_renamed_during_the_walk_is_read_under_its_new_name(tmp_path: Path) -> None:
    saved = tmp_path / "127.0.0.1-2021-04-29-20:32:26"
    moved = tmp_path / "moved"
    for folder in (saved, moved):
        folder.mkdir()
        (folder / "vmcore-dmesg-incomplete.txt").write_bytes(LOG)
    (tmp_path / "messages").write_bytes(LOG)

    def meanwhile(folder: str) -> None:
        if folder == str(tmp_path):
            (tmp_path / "messages").rename(tmp_path / "messages.1")
            shutil.rmtree(moved)
        else:
            (saved / "vmcore-dmesg-incomplete.txt").rename(saved / "vmcore-dmesg.txt")

    assert [(found.path, found.fault) for found in walk(str(tmp_path), meanwhile)] == [
        (str(tmp_path / "messages.1"), ""),
        (str(saved / "vmcore-dmesg.txt"), ""),
    ]


@pytest.mark.slow
def test_a_tree_deeper_than_a_path_is_long_is_walked_as_far_as_paths_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").write_bytes(LOG)
    for _ in range(2500):
        os.mkdir("d")  # noqa: PTH102 - the path is too long for pathlib
        os.chdir("d")
    try:
        first, *others = walk(str(tmp_path))
        assert first == Found(str(tmp_path / "log"), size=len(LOG))
        assert [one.fault for one in others] == ["cannot be read: File name too long"]
        with running(FileInput, paths=[f"{tmp_path}/**/*"], close_quiet=0.1, scan_interval=0.1) as feed:
            until(lambda: feed.crashes)
    finally:
        for _ in range(2500):  # the cleanup cannot remove such a deep folder either
            os.chdir("..")
            os.rmdir("d")  # noqa: PTH106


def test_a_fault_of_the_grammar_is_reported_and_earlier_crashes_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = LOGS / "transports" / "vmcore-dmesg-6.1-sysrq-c.txt"
    (good,) = (crash.report for crash in read(str(path), BASE))

    def faulty(_source: object, *, ahead: bool) -> Iterator[CrashReport]:  # noqa: ARG001
        yield good
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(grammars, "parse", faulty)
    found = []
    with pytest.raises(
        Unreadable, match=r"fault of the grammar ends the reading \(ZeroDivisionError: boom\)"
    ):
        found.extend(read(str(path), BASE))
    assert [crash.report for crash in found] == [good]
