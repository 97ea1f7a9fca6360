"""Opening files that another user may own, replace or fill."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper import files
from kpanic.shipper.files import NotRegularFile, open_beneath, open_folder, open_named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = open_folder(str(tmp_path))
    yield descriptor
    os.close(descriptor)


def test_a_regular_file_is_read_whole(tmp_path: Path, folder: int) -> None:
    body = os.urandom(700_000)
    (tmp_path / "log").write_bytes(body)
    with open_beneath(folder, "log") as file:
        assert file.read(5) + file.read() == body
    with open_named(str(tmp_path / "log")) as file:
        assert b"".join(iter(lambda: file.read(100_000), b"")) == body


def test_the_operator_s_link_is_followed_and_a_stranger_s_is_not(tmp_path: Path, folder: int) -> None:
    (tmp_path / "log").write_bytes(b"text")
    (tmp_path / "link").symlink_to("log")
    with open_named(str(tmp_path / "link")) as file:
        assert file.read() == b"text"
    with pytest.raises(NotRegularFile) as told:
        open_beneath(folder, "link")
    assert told.value.strerror == "is a symbolic link, not a file"
    (tmp_path / "inner").mkdir()
    (tmp_path / "other").symlink_to("inner")
    os.close(open_folder("inner", beneath=folder))
    with pytest.raises(OSError, match="Not a directory"):
        open_folder("other", beneath=folder)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_a_path_that_is_not_a_file_is_refused_without_waiting(tmp_path: Path, folder: int, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path = path.with_name("zero")
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(IsADirectoryError if kind == "folder" else NotRegularFile):
        open_named(str(path))
    with pytest.raises(OSError, match=r"not a file|Is a directory"):
        open_beneath(folder, path.name)


def test_a_file_that_becomes_a_pipe_before_it_is_open_is_refused(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(b"text")
    status = os.stat

    def exchanging(*args: object, **options: object) -> os.stat_result:
        before = status(*args, **options)  # type: ignore[arg-type]
        (tmp_path / "log").unlink()
        os.mkfifo(tmp_path / "log")
        monkeypatch.undo()
        return before

    monkeypatch.setattr(files.os, "stat", exchanging)
    with pytest.raises(NotRegularFile, match="is a named pipe"):
        open_beneath(folder, "log")


def test_eight_terabytes_of_nothing_are_not_read(tmp_path: Path, folder: int) -> None:
    with (tmp_path / "log").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 40)
        file.write(b"middle")
        file.truncate(1 << 43)
    with open_beneath(folder, "log") as file:
        body = file.read()
    assert body.replace(b"\0", b"") == b"beginmiddle"
    assert len(body) < 1 << 20
    (tmp_path / "nothing").touch()
    os.truncate(tmp_path / "nothing", 1 << 43)
    with open_named(str(tmp_path / "nothing")) as file:
        assert file.read(1 << 18) == b""


def test_a_small_hole_is_read_as_the_nuls_it_stands_for(tmp_path: Path, folder: int) -> None:
    with (tmp_path / "log").open("wb") as file:
        file.seek(files.LARGEST_HOLE // 2)
        file.write(b"text")
    with open_beneath(folder, "log") as file:
        assert file.read() == bytes(files.LARGEST_HOLE // 2) + b"text"
