"""Kernels that crash on request: the answers are known because they were asked for."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.lab import guest, kdump, matrix, verdict
from tests.lab.archive import GoneError
from tests.lab.build import Boot, Builder, cpio

if TYPE_CHECKING:
    from pathlib import Path

SMOKE_KERNEL = "6.1-amd64"
SMOKE_KINDS = ("null_read", "bug", "irq_null", "warn", "init-exit", "user-segv")
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "bwrap": "bubblewrap", "apt-get": "apt", "dpkg": "dpkg"}

TABLE = matrix.load()


def unavailable(reason: str) -> None:
    """A machine without a laboratory is a skip for its user and a failure where the laboratory must run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def builder() -> Builder:
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        unavailable(f"crashing kernels needs {', '.join(missing)}")
    return Builder(TABLE)


@pytest.fixture(scope="module")
def boot(builder: Builder) -> Boot:
    try:
        return builder.prepare(TABLE.kernels[SMOKE_KERNEL])
    except GoneError as gone:
        unavailable(f"{SMOKE_KERNEL} is gone from the archive: {gone}")
        raise


@pytest.fixture(scope="module")
def runs(boot: Boot) -> dict[str, guest.Run]:
    """Crash side by side, one kind twice: half the time on two cores."""
    names = {**{name: name for name in SMOKE_KINDS}, "again": SMOKE_KINDS[0]}
    with ThreadPoolExecutor(max_workers=2) as pool:
        started = {
            key: pool.submit(guest.crash, boot, TABLE.kind(name, boot.kernel)) for key, name in names.items()
        }
    return {key: future.result() for key, future in started.items()}


@pytest.mark.parametrize("name", SMOKE_KINDS)
def test_a_crash_is_read_as_it_was_asked_for(
    boot: Boot, runs: dict[str, guest.Run], name: str, tmp_path: Path
) -> None:
    assert runs[name].ended
    console = tmp_path / f"{name}.log"
    console.write_bytes(runs[name].console)
    expected = verdict.expect(TABLE.kind(name, boot.kernel), boot.release, boot.machine)
    assert verdict.compare(expected, verdict.parse([console])[console]).wrong == {}


def test_a_crash_is_the_same_each_time(runs: dict[str, guest.Run]) -> None:
    assert runs["again"].console == runs[SMOKE_KINDS[0]].console


def test_one_crash_through_kdump_netconsole_and_pstore_is_one_incident(
    builder: Builder, boot: Boot, tmp_path: Path
) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        threading.Thread(target=_listen, args=(listener, heard), daemon=True).start()
        run = kdump.die(builder, boot, tmp_path, netconsole=listener.getsockname()[1])
    packets = tmp_path / "netconsole.log"
    packets.write_bytes(b"\n".join(heard))
    assert run.ended
    (folder,) = (tmp_path / "crash").iterdir()
    assert (folder / "vmcore").stat().st_size > 1 << 20
    (record,) = (tmp_path / "pstore").iterdir()
    texts = [folder / "vmcore-dmesg.txt", record, packets]
    expected = verdict.expect(TABLE.kind("sysrq-c", boot.kernel), boot.release, boot.machine)
    documents = verdict.parse(texts)
    for text in texts:
        assert verdict.compare(expected, documents[text]).wrong == {}, text
    assert len({verdict.lookup(documents[text][0], "event.id") for text in texts}) == 1
    assert len({verdict.lookup(documents[text][0], "error.id") for text in texts}) == 1


def _listen(listener: socket.socket, heard: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # closed when the guest is dead
        while True:
            heard.append(listener.recv(65536))


def test_every_kind_says_what_a_reader_must_answer() -> None:
    for kind in TABLE.kinds.values():
        assert kind.silent or kind.cause or kind.function, kind.name


def test_an_exception_of_the_matrix_changes_one_kernels_answer() -> None:
    silent = [TABLE.kind("ubsan_bounds", TABLE.kernels[name]).silent for name in ("6.1-amd64", "7.3-amd64")]
    assert silent == [True, False]


def test_an_initrd_is_what_cpio_reads() -> None:
    if not shutil.which("cpio"):
        unavailable("reading an initrd back needs cpio")
    archive = cpio({"init": b"#!/bin/sh\n", "lib/deep/file": b"odd"})
    listed = subprocess.run(["cpio", "-tv"], input=archive, capture_output=True, check=True).stdout.decode()
    assert [line.split()[-1] for line in listed.splitlines()] == [
        "dev",
        "lib",
        "lib/deep",
        "dev/console",
        "init",
        "lib/deep/file",
    ]
