"""Disks that fill up or lose power, with small real file systems.

``--rounds 50`` is the long form of the power cut: so many of them.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import parts
from tests.shipper.test_killed import LOGS
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines.forward import Receiver

pytestmark = pytest.mark.root
ROOT = Path(__file__).parents[2]
KPANIC = [sys.executable, "-c", "from kpanic.shipper.cli import main; main()"]
HOLD = 'mount -t tmpfs -o size=1m,mode=700 tmpfs "$0" && echo mounted && exec sleep inf'


class Disk:
    """A small file system that only the commands in its namespace see."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._holder = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", HOLD, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != "mounted\n":
            self.close()
            parts.missing("a small disk", "this user may not mount one")
        enter = ["nsenter", "-t", str(self._holder.pid), "-U", "-m", "--preserve-credentials"]
        self.kpanic = [*enter, f"--wd={ROOT}", *KPANIC]

    def close(self) -> None:
        """Remove the file system."""
        self._holder.kill()
        self._holder.communicate()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "small")
    yield made
    made.close()


@pytest.fixture
def crash(tmp_path: Path) -> Path:
    """Return more crashes than the small disk has room for."""
    for number in range(200):
        folder = tmp_path / "crash" / f"10.0.0.{number}-2026-11-22-19:15:38"
        folder.mkdir(parents=True)
        shutil.copy(LOGS[number % len(LOGS)], folder / "vmcore-dmesg.txt")
    return tmp_path / "crash"


@pytest.fixture
def expected(crash: Path, tmp_path: Path) -> set[str]:
    """Return the documents that a shipper with enough space delivers."""
    out = tmp_path / "roomy.ndjson"
    settings = ["-E", f"path.data={tmp_path / 'roomy'}", "-E", f"output.file.path={out}"]
    subprocess.run([*KPANIC, "ship", *settings, str(crash)], check=True, capture_output=True, cwd=ROOT)
    return set(names(out))


def names(path: Path) -> list[str]:
    return [json.loads(line)["labels"]["document_id"] for line in path.read_text().splitlines()]


def test_a_backfill_larger_than_the_disk_goes_through_where_its_output_takes_it(
    disk: Disk, crash: Path, expected: set[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.ndjson"
    settings = ["-E", f"path.data={disk.folder}", "-E", f"output.file.path={out}"]
    done = subprocess.run(
        [*disk.kpanic, "ship", *settings, str(crash)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the disk is full: the text of " in done.stderr
    assert sorted(names(out)) == sorted(expected)


def test_a_full_disk_is_reported_and_the_service_continues_when_there_is_room(
    disk: Disk, crash: Path, expected: set[str], tmp_path: Path, receiver: Callable[..., Receiver]
) -> None:
    there = receiver()
    there.kill()
    to = ["-E", f"path.data={disk.folder}", "-E", f"output.fluentd.hosts={there.host}"]
    done = subprocess.run(
        [*disk.kpanic, "ship", *to, str(crash)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "database or disk is full; nothing that was kept is lost; make room on its disk" in done.stderr
    assert "Traceback" not in done.stderr
    config, log = tmp_path / "kpanic.yml", tmp_path / "log"
    config.write_text(f"inputs: [{{type: kdump, paths: [{crash}], scan_interval: 0.1, settle: 0}}]\n")
    with (
        log.open("wb") as errors,
        subprocess.Popen([*disk.kpanic, "run", "-c", str(config), *to], stderr=errors) as service,
    ):
        try:
            until(lambda: "database or disk is full" in log.read_text(), 300)
            there.start()
            until(lambda: len(there.entries()) >= len(expected), 300)  # tries become rare while it is down
            service.terminate()
            assert service.wait(60) == 0
        finally:
            service.kill()
    assert "takes crashes again" in log.read_text()
    found = [entry["record"]["labels"]["document_id"] for entry in there.entries()]
    assert sorted(found) == sorted(expected)


WRITER = """
import os, sys
from pathlib import Path
from kpanic.shipper.outputs.file import FileConfig, FileOutput
from kpanic.shipper.delivery import Delivery
from kpanic.shipper.store import Position, Store, StoreError
from tests.shipper.samples import packed

folder = Path(sys.argv[1])
try:
    with Store(folder / "kpanic.db") as store:
        assert store.set_aside is None
        start = int(store.positions("test").get("next", 0))
        Path(sys.argv[3]).touch()
        delivery = Delivery(store, FileOutput(FileConfig(path=str(folder / "out.ndjson"))), attempts=1)
        delivery.start()
        try:
            for number in range(start, start + 3 * int(sys.argv[2]), 3):
                position = Position("test", "next", str(number + 3))
                store.add([packed(n) for n in range(number, number + 3)], [position])
                delivery.wake()
                delivery.join(0.003)  # or a fast machine fills the drive before the power goes
                os.write(1, b"%d %d\\n" % (number + 3, store.outputs()[0].delivered))
        except StoreError:
            delivery.stop()
            raise
        delivery.finish()
        delivery.join()
        assert not delivery.trouble, delivery.trouble
        status = store.status()
        print("whole", status.documents, store.positions("test")["next"], status.outputs[0].pending)
except StoreError as error:
    print("error", error, flush=True)
"""
CUT = """
import fcntl, os, struct, sys
drive = os.open(sys.argv[1], 0)
os.write(1, b"cut\\n")
fcntl.ioctl(drive, 0x8004587D, struct.pack("I", 2))
"""
"""EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h): no further write reaches the disk.
Who lives on may be told that it did; what was said before the cut counts."""


class Drive:
    """An ext4 file system in a file, mounted for one command at a time."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "drive"
        self._mount = folder / "mount"
        self._begun = folder / "begun"
        self._mount.mkdir()
        with self._image.open("wb") as file:
            file.truncate(512_000_000)
        made = subprocess.run(["mkfs.ext4", "-q", self._image], capture_output=True, text=True, check=False)
        tried = subprocess.run(self._alone("true"), capture_output=True, text=True, check=False)
        if made.returncode or tried.returncode:
            parts.missing("a disk that can lose its power", (made.stderr + tried.stderr).strip())

    def _alone(self, command: str, *arguments: str) -> list[str]:
        mount = f'mount -o loop "$0" "$1" && {{ {command}; }}; umount "$1"'
        return ["unshare", "--mount", "sh", "-c", mount, str(self._image), str(self._mount), *arguments]

    def write(self, count: int, power: float = 0) -> list[str]:
        """Run the writer, and cut the power after a number of seconds; return its output."""
        self._begun.unlink(missing_ok=True)
        begun = 'until [ -e "$7" ]; do sleep 0.01; done'
        cut = f'{{ {begun}; sleep "$6"; "$2" -c "$4" "$1"; }} & ' if power else ""
        run = self._alone(
            f'{cut} "$2" -c "$3" "$1" "$5" "$7"; touch "$7"; wait',
            *(sys.executable, WRITER, CUT, str(count), str(power), str(self._begun)),
        )
        done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.splitlines()

    def file(self) -> list[str]:
        """Read the output's file."""
        done = subprocess.run(self._alone('cat "$1/out.ndjson"'), capture_output=True, text=True, check=True)
        return [json.loads(line)["labels"]["document_id"] for line in done.stdout.splitlines()]


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    return Drive(tmp_path)


def test_a_power_cut_loses_nothing_that_was_acknowledged(
    drive: Drive, request: pytest.FixtureRequest
) -> None:
    rounds: int = request.config.getoption("--rounds")
    cuts = 2 if rounds == 1 else rounds
    kept = met = 0
    for _ in range(cuts):
        said = drive.write(10**6, power=random.uniform(0.1, 1.1))  # noqa: S311
        told = [line.split() for line in said[: said.index("cut")]]
        if told:
            assert int(told[0][0]) == kept + 3, "it goes on where it was"
            kept = int(told[-1][0])
            met += 1
            assert said[-1].startswith("error"), said[-1]
        whole = drive.write(1)[-1].split()
        assert whole[0] == "whole"
        documents, position, pending = map(int, whole[1:])
        assert documents == position >= kept + 3
        assert pending == 0
        kept = position
        assert sorted(drive.file()) == sorted(f"id{number}" for number in range(position))
    assert met, "it was under way when the power went"
    if rounds > 1:
        with request.getfixturevalue("capsys").disabled():
            print(f"\n{cuts} power cuts, {met} of them under way; {kept} documents kept and delivered once")  # noqa: T201
