"""The kernel's ring buffer: records through a pipe, and the device itself if it is readable."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.inputs import kmsg
from kpanic.shipper.inputs.kmsg import KmsgInput
from tests.shipper.feed import running
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = Path("/dev/kmsg")
RECORDS = (
    (Path(__file__).parent.parent / "logs" / "transports" / "fmt-timeout_2_cat_dev_kmsg.txt")
    .read_bytes()
    .splitlines(keepends=True)
)
BOOT = kmsg.BOOT_ID.read_text("ascii").strip()


@contextmanager
def pipe(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "kmsg"
    if not path.exists():
        os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)  # a reader too, so that it does not end
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sequence(record: bytes) -> int:
    return int(record.split(b",")[1])


def whole() -> list[bytes]:
    """Return the records with their lines."""
    found: list[bytes] = []
    for line in RECORDS:
        if line.startswith(b" "):
            found[-1] += line
        else:
            found.append(line)
    return [record for record in found if record[:1].isdigit()]


def test_a_crash_is_read_from_the_records_and_how_far_is_kept(tmp_path: Path) -> None:
    records = whole()
    with (
        pipe(tmp_path) as descriptor,
        running(KmsgInput, path=str(tmp_path / "kmsg"), close_quiet=1.0) as feed,
    ):
        for record in records:
            os.write(descriptor, record)
        until(lambda: feed.crashes and feed.saved)
    for crash in feed.crashes.values():
        assert crash.origin.provider == "kmsg"
        assert crash.report.kernel.release
        assert crash.report.lost == 0
    assert feed.saved == {str(tmp_path / "kmsg"): f"{BOOT} {sequence(records[-1])}"}
    assert feed.said == []


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (f"{BOOT} 5", "3 records were overwritten before they were read"),
        (f"{BOOT} 100000", ""),  # read already
        (f"{uuid.uuid4()} 5", ""),  # of another boot
        ("", ""),
    ],
    ids=["some lost", "none", "another boot", "first start"],
)
def test_records_overwritten_while_not_reading_are_reported(tmp_path: Path, before: str, told: str) -> None:
    path = str(tmp_path / "kmsg")
    records = [record for record in whole() if sequence(record) >= 9]
    with pipe(tmp_path) as descriptor, running(KmsgInput, {path: before}, path=path, close_quiet=1.0) as feed:
        os.write(descriptor, b"".join(records))
        until(lambda: feed.crashes)
    assert feed.said == ([f"{path}: {told}"] if told else [])


def test_records_overwritten_while_reading_are_counted_in_the_crash(tmp_path: Path) -> None:
    records = whole()
    at = next(number for number, record in enumerate(records) if b"Call Trace" in record)
    path = str(tmp_path / "kmsg")
    with pipe(tmp_path) as descriptor, running(KmsgInput, path=path, close_quiet=1.0) as feed:
        os.write(descriptor, b"".join(records[: at + 2] + records[at + 6 :]))
        until(lambda: feed.crashes)
    assert feed.said == [f"{path}: 4 records were overwritten before they were read"]
    assert 4 in [crash.report.lost for crash in feed.crashes.values()]


def test_an_oops_that_the_machine_is_stopped_after_is_not_lost(tmp_path: Path) -> None:
    path = str(tmp_path / "kmsg")
    with pipe(tmp_path) as descriptor, running(KmsgInput, path=path, close_quiet=600) as feed:
        os.write(descriptor, b"".join(whole()))
    assert feed.crashes


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("nowhere", "cannot be opened: No such file or directory; the kernel's log is not read"),
        ("file", "is not a device; a file is read with type: file"),
    ],
)
def test_a_file_that_is_not_kmsg_is_reported(tmp_path: Path, kind: str, told: str) -> None:
    path = tmp_path / "kmsg"
    if kind == "file":
        path.write_text("1,2,3,-;x\n")
    with running(KmsgInput, path=str(path)) as feed:
        until(lambda: feed.said)
    assert feed.said == [f"{path}: {told}"]


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(DEVICE, os.R_OK | os.W_OK), reason="only root may use /dev/kmsg"
)
def test_the_device_itself_is_read_from_its_oldest_record_on() -> None:
    with running(KmsgInput, close_quiet=1.0) as feed:
        until(lambda: feed.saved)
        before = feed.saved["/dev/kmsg"]
        descriptor = os.open(DEVICE, os.O_WRONLY)
        try:
            os.write(descriptor, b"<14>kpanic: a test of reading this\n")  # no line that looks like a crash
        finally:
            os.close(descriptor)
        until(lambda: feed.saved["/dev/kmsg"] != before)
    boot, sequence = before.split()
    assert boot == BOOT
    assert int(feed.saved["/dev/kmsg"].split()[1]) > int(sequence)
    assert feed.said == []
