"""What the firmware or reserved memory kept of a crash: the records of pstore (pstore(8), systemd-pstore(8)).

The records of a folder (``dmesg-<backend>-<number>``) are one text in parts, and put together by the grammar.
They are left where they are: systemd-pstore moves them to /var/lib/systemd/pstore. With ``unlink`` they are
removed once every output has acknowledged their crash, which makes room in the firmware for the next one.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from kpanic.shipper.api import Crash, FilePath, Reader, Settings
from kpanic.shipper.inputs.folders import entered
from kpanic.shipper.inputs.log_file import PSTORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.api import Feed

__all__ = ["PstoreConfig", "PstoreInput"]

LARGEST = 16 << 20
"""Bytes read of a record; a kernel's whole log is smaller."""
DELIVERY = 5.0
"""Seconds between two looks whether a crash has been delivered."""

_UNPACKABLE = re.compile(r"dmesg-.*\.enc\.z", re.ASCII)


class PstoreConfig(Settings, frozen=True, kw_only=True):
    """``type: pstore``."""

    paths: list[FilePath] = msgspec.field(
        default_factory=lambda: ["/sys/fs/pstore", "/var/lib/systemd/pstore"]
    )
    """Folders of records, and those below them."""
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Seconds between two looks; records appear at boot."""
    unlink: bool = False
    """Remove records whose crash every output has acknowledged."""


class PstoreInput:
    """Folders of records."""

    Config = PstoreConfig
    name = "pstore"

    def __init__(self, config: PstoreConfig) -> None:
        self._config = config
        self.paths = [path for path in config.paths if os.path.isdir(path)]  # noqa: PTH112

    def run(self, feed: Feed) -> None:
        """Look at the folders again and again; a folder is read again when its records change."""
        looks = _Looks(self._config, feed)
        while not feed.stop.is_set():
            pause = DELIVERY if looks.look() else self._config.scan_interval
            feed.stop.wait(min(self._config.scan_interval, pause))


class _Read(NamedTuple):
    """A folder as it was read."""

    stamp: str
    crashes: list[Crash]
    records: list[str]
    """Paths that the crashes were read from."""
    whole: bool
    """Every record could be read."""


class _Looks:
    """What was read, and what was said, from one look at the folders to the next."""

    def __init__(self, config: PstoreConfig, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._kept = feed.positions()
        self._pending: dict[str, _Read] = {}
        self._left: dict[str, str] = {}
        self._told: set[str] = set()

    def look(self) -> bool:
        """Read what is new; remove what may go; return whether a delivery is waited for."""
        present = set()
        for folder, names in self._folders():
            present.add(folder)
            stamp = " ".join(self._stamp(os.path.join(folder, name)) for name in names)  # noqa: PTH118
            known = self._kept.get(folder) == stamp
            if not known:
                found = self._read(folder, names, stamp)
                self._feed.keep(found.crashes, {folder: stamp} if found.whole else None)
                if self._feed.stop.is_set():
                    return False
                self._pending[folder] = found
                if found.whole:
                    self._kept[folder] = stamp
            if self._config.unlink and self._left.get(folder) != stamp:
                if folder not in self._pending:  # read by the last run
                    self._pending[folder] = self._read(folder, names, stamp)
                self._unlink(folder)
        gone = self._kept.keys() - present
        if gone:
            self._feed.keep((), dict.fromkeys(gone))
            for folder in gone:
                del self._kept[folder]
        if not self._config.unlink:
            self._pending.clear()
        return bool(self._pending)

    def _unlink(self, folder: str) -> None:
        """Remove the records of a folder if their crashes are everywhere."""
        found = self._pending[folder]
        if found.crashes and not self._feed.delivered(found.crashes):
            return
        del self._pending[folder]
        self._left[folder] = found.stamp
        if not found.crashes:
            self._tell(f"{folder}: holds no crash; its records are left alone")
            return
        for path in found.records:
            try:
                os.unlink(path)  # noqa: PTH108 - a path of os.walk
            except OSError as error:
                self._tell(f"{path}: cannot be removed: {error.strerror}")

    def _folders(self) -> Iterator[tuple[str, list[str]]]:
        for path in self._config.paths:
            for folder, names in entered(path, self._refused):
                records = sorted(name for name in names if PSTORE.fullmatch(name))
                if records:
                    yield folder, records

    def _read(self, folder: str, names: list[str], stamp: str) -> _Read:
        parser = Reader(lambda fault: self._feed.say(f"{folder}: {fault}"), self._config.scan_interval)
        reports = []
        read: list[str] = []
        newest = 0.0
        whole = True
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            if _UNPACKABLE.fullmatch(name):
                self._tell(f"{path}: is packed in a way that this kernel could not unpack; it is left alone")
                continue
            try:
                status = os.stat(path)  # noqa: PTH116
                if not stat.S_ISREG(status.st_mode):
                    self._tell(f"{path}: is no regular file and is left alone")
                    continue
                with open(path, "rb") as file:  # noqa: PTH123
                    reports += parser.feed(file.read(LARGEST) + b"\n")
            except FileNotFoundError:
                whole = False  # it is being moved; the next look finds what is left
            except OSError as error:
                whole = False
                self._tell(f"{path}: cannot be read: {error.strerror}")
            else:
                newest = max(newest, status.st_mtime)
                read.append(path)
        reports += parser.flush()
        origin = replace(self._feed.origin, provider="pstore", path=folder, mtime=newest or None)
        return _Read(stamp, [Crash(report, origin) for report in reports], read, whole)

    def _refused(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a machine without pstore has no such folder
            self._tell(f"{error.filename}: cannot be read: {error.strerror}")

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._feed.say(message)

    @staticmethod
    def _stamp(path: str) -> str:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            return "-"
        return f"{status.st_size}:{status.st_mtime_ns}"
