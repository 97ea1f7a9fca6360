"""Records of pstore, which firmware or reserved memory kept of a crash: ``type: pstore``.

The records of a folder (``dmesg-<backend>-<number>``) are one text in parts, which the grammar puts together.
They are left where they are; systemd-pstore moves them to /var/lib/systemd/pstore. With ``unlink`` they are
removed once every output has acknowledged their crash, which makes room in the firmware for the next one.

:see: pstore(8), systemd-pstore(8)
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from kpanic.shipper.api import Crash, FilePath, PathSettings, Reader, Seconds
from kpanic.shipper.crashed_host import HostRules, is_own
from kpanic.shipper.files import NotRegularFile, open_beneath
from kpanic.shipper.inputs.folders import open_folder_below, walk_folders
from kpanic.shipper.inputs.log_file import PSTORE
from kpanic.shipper.obstacles import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["PstoreConfig", "PstoreInput"]

LARGEST: Final = 8 << 20
"""Maximum bytes of a record; a kernel's whole log is smaller."""
LARGEST_FOLDER: Final = 16 << 20
"""Maximum bytes of a folder's records; the backends keep some MB."""
PIECE: Final = 1 << 16
"""Bytes of a record that are read at a time."""
MOST: Final = 1000
"""Crashes of a folder at which no more of its records is read."""
DELIVERY: Final = 5.0
"""Seconds between two checks whether a crash has been delivered."""

_UNDECODED: Final = re.compile(r"dmesg-.*\.enc\.z", re.ASCII)
"""Records that the kernel could not decompress (fs/pstore/inode.c)."""


class PstoreConfig(PathSettings, frozen=True, kw_only=True):
    """``type: pstore``."""

    paths: list[FilePath] = msgspec.field(
        default_factory=lambda: ["/sys/fs/pstore", "/var/lib/systemd/pstore"]
    )
    """Folders of records, and those below them; with ``{host}``, of many machines."""
    scan_interval: Seconds = 60.0
    """Seconds between two looks; records appear at boot."""
    unlink: bool = False
    """Remove records whose crash every output has acknowledged."""


class PstoreInput:
    """Folders of records."""

    Config = PstoreConfig
    name = "pstore"

    def __init__(self, config: PstoreConfig) -> None:
        self._config = config
        self.paths = [path for path in config.folders() if os.path.isdir(path)]  # noqa: PTH112

    def obstacles(self) -> Iterator[str]:
        """Yield what a start would trip over; see :class:`kpanic.shipper.obstacles.Tried`."""
        yield from unreadable(self.paths)

    def run(self, feed: Feed) -> None:
        """Look at the folders again and again; a folder is read again when its records change."""
        folders = _Folders(self._config, feed)
        while not feed.stop.is_set():
            pause = DELIVERY if folders.look() else self._config.scan_interval
            feed.stop.wait(min(self._config.scan_interval, pause))


class _Folder(NamedTuple):
    """A folder as it was read."""

    root: str
    """The configured path that it is below."""
    stamp: str
    """State of the records."""
    crashes: list[Crash]
    identity: tuple[int, int]
    """Device and inode of the folder."""
    records: dict[str, str]
    """Names that the crashes were read from, with the state of each."""
    whole: bool
    """Whether every record could be read."""


class _Folders:
    """What was read and what was said, from one look at the folders to the next."""

    def __init__(self, config: PstoreConfig, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._hosts = HostRules(config.host_rules())
        self._kept = feed.positions()
        self._pending: dict[str, _Folder] = {}
        self._left: dict[str, str] = {}
        """States of folders whose records stay."""
        self._said: set[str] = set()

    def look(self) -> bool:
        """Read what is new and remove what may go; return whether a delivery is waited for."""
        present = set()
        for root, folder, names in self._folders():
            present.add(folder)
            stamp = " ".join(_state_of(os.path.join(folder, name)) for name in names)  # noqa: PTH118
            if self._kept.get(folder) != stamp:
                found = self._read(root, folder, names, stamp)
                self._feed.keep(found.crashes, {folder: stamp} if found.whole else None)
                if self._feed.stop.is_set():
                    return False
                self._pending[folder] = found
                if found.whole:
                    self._kept[folder] = stamp
            if self._config.unlink and self._left.get(folder) != stamp:
                if folder not in self._pending:  # read by an earlier run
                    self._pending[folder] = self._read(root, folder, names, stamp)
                self._unlink(folder)
        if gone := self._kept.keys() - present:
            self._feed.keep((), dict.fromkeys(gone))
            for folder in gone:
                del self._kept[folder]
        if not self._config.unlink:
            self._pending.clear()
        return bool(self._pending)

    def _unlink(self, folder: str) -> None:
        """Remove the records of a folder if their crashes are delivered and both are what was read."""
        found = self._pending[folder]
        if found.crashes and not self._feed.delivered(found.crashes):
            return
        del self._pending[folder]
        self._left[folder] = found.stamp
        if not found.crashes:
            self._say_once(f"{folder}: holds no crash; its records are left alone")
            return
        try:
            with _opened(found.root, folder) as descriptor:
                if _identity(descriptor) != found.identity:
                    self._say_once(
                        f"{folder}: is another folder than the one that was read; nothing is removed"
                    )
                    return
                for name, state in found.records.items():
                    if _state(os.stat(name, dir_fd=descriptor, follow_symlinks=False)) == state:
                        os.unlink(name, dir_fd=descriptor)
        except OSError as error:
            self._say_once(f"{folder}: records cannot be removed: {error.strerror}")

    def _folders(self) -> Iterator[tuple[str, str, list[str]]]:
        for root in self._config.folders():
            for folder, names in walk_folders(root, self._refused):
                records = sorted(name for name in names if PSTORE.fullmatch(name))
                if records:
                    yield root, folder, records

    def _read(self, root: str, folder: str, names: list[str], stamp: str) -> _Folder:
        reader = Reader(lambda fault: self._feed.say(f"{folder}: {fault}"), self._config.scan_interval)
        reports: list[CrashReport] = []
        records: dict[str, str] = {}
        newest, size = 0.0, 0
        identity = (0, 0)
        whole = True
        try:
            with _opened(root, folder) as descriptor:
                identity = _identity(descriptor)
                for name in names:
                    if size > LARGEST_FOLDER or len(reports) >= MOST:
                        self._say_once(f"{folder}: holds more than any backend keeps; the rest is left out")
                        break
                    path = os.path.join(folder, name)  # noqa: PTH118
                    try:
                        status, text = self._record(descriptor, path)
                    except OSError as error:
                        whole = False
                        if not isinstance(error, FileNotFoundError):  # else it is being moved
                            self._say_once(f"{path}: cannot be read: {error.strerror}")
                        continue
                    if status is not None:
                        size += len(text)
                        reports += _pieces(reader, text)
                        newest = max(newest, status.st_mtime)
                        if len(reports) < MOST:  # else it stays, as not all of it was read
                            records[name] = _state(status)
        except OSError as error:
            whole = False
            if not isinstance(
                error, FileNotFoundError
            ):  # it is being moved; the next look finds what is left
                self._say_once(f"{error.filename or folder}: cannot be read: {error.strerror}")
        reports += reader.flush()
        origin = replace(
            self._feed.origin,
            provider="pstore",
            path=folder,
            host_stated=self._hosts.of(folder),
            own=is_own(f"{folder}/"),
            mtime=newest or None,
        )
        crashes = [Crash(report, origin) for report in reports]
        return _Folder(root, stamp, crashes, identity, records, whole)

    def _record(self, folder: int, path: str) -> tuple[os.stat_result | None, bytes]:
        """Return state and text of a record; no state where it is not one that can be read at any time.

        :raises OSError: it cannot be read now.
        """
        name = os.path.basename(path)  # noqa: PTH119
        if _UNDECODED.fullmatch(name):
            self._say_once(f"{path}: the kernel could not decompress it; it is left alone")
            return None, b""
        try:
            with open_beneath(folder, name) as file:
                return os.fstat(file.fileno()), file.read(LARGEST)
        except NotRegularFile as error:
            self._say_once(f"{path}: {error.strerror}, and is left alone")
            return None, b""

    def _refused(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a machine without pstore has no such folder
            self._say_once(f"{error.filename}: cannot be read: {error.strerror}")

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._feed.say(message)


def _pieces(reader: Reader, text: bytes) -> list[CrashReport]:
    """Return the crashes of a record that are complete, up to about :data:`MOST`."""
    reports: list[CrashReport] = []
    for at in range(0, len(text), PIECE):
        reports += reader.feed(text[at : at + PIECE])
        if len(reports) >= MOST:
            break
    return reports + reader.feed(b"\n")


@contextmanager
def _opened(root: str, folder: str) -> Iterator[int]:
    descriptor = open_folder_below(root, folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _state(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}"


def _state_of(path: str) -> str:
    try:
        return _state(os.stat(path))  # noqa: PTH116
    except OSError:
        return "-"
