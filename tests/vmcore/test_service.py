"""``type: kdump`` with ``vmcore.analyse``: one further document of the crash, after that of its text."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.document import build
from kpanic.shipper.inputs import memory_dump
from kpanic.shipper.inputs.kdump import KdumpInput
from kpanic.shipper.inputs.kdump_dumps import VmcoreConfig
from tests.shipper.feed import running
from tests.waiting import stays, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.shipper.feed import Feed
    from tests.vmcore.server import Server

pytestmark = pytest.mark.process


@pytest.fixture
def crash(tmp_path: Path, dumps: Path) -> Path:
    """Return the folder that kdump wrote for a crash."""
    folder = tmp_path / "127.0.0.1-2026-11-26-20:22:53"
    folder.mkdir()
    dump = shutil.copy(dumps / "vmcore.null", folder / "vmcore")
    with memory_dump.log_of(str(dump), dump.read_bytes()[:64]) as log:
        (folder / "vmcore-dmesg.txt").write_bytes(log.read())
    return folder


@contextmanager
def watching(
    folder: Path,
    debug_info: list[Path],
    at: Mapping[str, str] | None = None,
    *,
    analyse: bool = True,
    debuginfod: Sequence[str] = (),
) -> Iterator[Feed]:
    settings = VmcoreConfig(
        analyse=analyse, debug_info=[str(path) for path in debug_info], debuginfod=list(debuginfod)
    )
    with running(KdumpInput, at, paths=[str(folder)], settle=0.1, scan_interval=0.5, vmcore=settings) as feed:
        yield feed


def debug_info(dumps: Path) -> list[Path]:
    return [dumps / "debug" / "vmlinux", dumps / "debug" / "ledger.ko"]


def test_the_dump_is_a_second_document_of_the_incident_after_the_text(crash: Path, dumps: Path) -> None:
    with watching(crash.parent, debug_info(dumps)) as feed:
        until(lambda: len(feed.crashes) == 2, 300)
        assert feed.kept == [str(crash / "vmcore-dmesg.txt"), str(crash / "vmcore")]
        documents = {one.origin.provider: build(*one) for one in feed.crashes.values()}
    text, dump = documents["kdump"], documents["vmcore"]
    assert text["_id"] != dump["_id"]
    assert text["event"]["id"] == dump["event"]["id"]
    assert "vmcore" not in text["kernel"]["panic"]
    assert dump["kernel"]["panic"]["vmcore"]["status"] == "answered"
    assert dump["kernel"]["panic"]["vmcore"]["pointer"] == "account->owner"
    assert text["kernel"]["panic"]["analysis"]["vmcore_needed"] is True
    assert dump["kernel"]["panic"]["analysis"]["vmcore_needed"] is False
    for same in ("title", "fatal", "signature", "fault_address"):
        assert text["kernel"]["panic"][same] == dump["kernel"]["panic"][same]


def test_debug_information_is_downloaded_where_servers_are_named(
    crash: Path, dumps: Path, server: Server
) -> None:
    for path in debug_info(dumps):
        server.add(path)
    with watching(crash.parent, [], debuginfod=[server.url]) as feed:
        until(lambda: len(feed.crashes) == 2, 120)
    with watching(crash.parent, []) as feed:
        until(lambda: any("debug information is not here" in said for said in feed.said), 120)
    assert len(server.asked) == 2


def test_the_part_of_a_dump_that_ssh_delivered_is_opened_too(crash: Path, dumps: Path) -> None:
    """kdump pipes ``makedumpfile -F`` to ssh, into a file with a temporary name."""
    incomplete, command = crash / "vmcore-incomplete", ["makedumpfile", "-F", "-d", "31", crash / "vmcore"]
    with incomplete.open("wb") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, check=True)
    os.truncate(incomplete, incomplete.stat().st_size - 1_000_000)
    (crash / "vmcore").unlink()
    with watching(crash.parent, debug_info(dumps)) as feed:
        until(lambda: len(feed.crashes) == 2, 300)
        dump = next(build(*one) for one in feed.crashes.values() if one.origin.provider == "vmcore")
    assert dump["kernel"]["panic"]["vmcore"]["pointer"] == "account->owner"


def test_a_dump_is_opened_once(crash: Path, dumps: Path) -> None:
    with watching(crash.parent, debug_info(dumps)) as feed:
        until(lambda: len(feed.crashes) == 2, 300)
        stays(lambda: len(feed.kept) == 2, 1.5)
        saved = dict(feed.saved)
    with watching(crash.parent, debug_info(dumps), saved) as feed:
        stays(lambda: feed.kept == [], 1.5)


def test_a_dump_without_debug_information_is_named_and_delivers_nothing(crash: Path) -> None:
    with watching(crash.parent, []) as feed:
        until(lambda: any("debug information is not here" in said for said in feed.said), 300)
        assert feed.kept == [str(crash / "vmcore-dmesg.txt")]


def test_a_dump_that_makes_the_libraries_fail_costs_nothing_else(crash: Path, dumps: Path) -> None:
    whole = (crash / "vmcore").read_bytes()
    (crash / "vmcore").write_bytes(whole[:5000])
    with watching(crash.parent, debug_info(dumps)) as feed:
        until(lambda: any("/vmcore: " in said for said in feed.said), 300)
        later = crash.parent / "127.0.0.1-2026-11-26-20:30:00"
        later.mkdir()
        shutil.copy(crash / "vmcore-dmesg.txt", later)
        until(lambda: str(later / "vmcore-dmesg.txt") in feed.kept)


def test_dumps_are_left_alone_unless_asked_for(crash: Path, dumps: Path) -> None:
    with watching(crash.parent, debug_info(dumps), analyse=False) as feed:
        until(lambda: len(feed.kept) == 1)
        stays(lambda: len(feed.kept) == 1, 1.5)
