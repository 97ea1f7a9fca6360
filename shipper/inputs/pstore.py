"""Records of pstore, in which firmware or reserved memory keeps a crash: ``type: pstore``.

The records of a folder (``dmesg-<backend>-<number>``) are one text in parts, which the grammar puts together.
They are left where they are; systemd-pstore moves them to /var/lib/systemd/pstore, one after the other. Some
of a crash's records alone read as another crash. So a folder is read once its records have stayed for
:data:`SETTLE` seconds. It is not read again when it merely loses records. A crash that was read while records
vanished is kept only if it is found nowhere else. With ``unlink`` records are removed once every output has
acknowledged their crash, which makes room in the firmware for the next one.

:see: pstore(8), systemd-pstore(8)
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec.structs import replace

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
"""Crashes of a folder after which no more of its records are read."""
DELIVERY: Final = 5.0
"""Seconds between two checks whether a crash has been delivered."""

SETTLE: Final = 2.0
"""Seconds for which the records of a folder must stay the same before it is read: they may be moving."""

MOVED: Final = 60.0
"""Seconds after which vanished records are no longer looked for in other folders."""

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
        """Yield the obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        yield from unreadable(self.paths)

    def run(self, feed: Feed) -> None:
        """Look at the folders at an interval; read a folder again when its records change."""
        folders = _Folders(self._config, feed)
        while not feed.stop.is_set():
            feed.stop.wait(min(self._config.scan_interval, folders.look()))


class _Folder(NamedTuple):
    """A folder as it was read."""

    root: str
    """The configured path above it."""
    crashes: list[Crash]
    identity: tuple[int, int]
    """Device and inode of the folder."""
    records: dict[str, str]
    """Names that the crashes were read from, with the state of each."""
    texts: set[bytes]
    """Digests of the records that were read."""
    whole: bool
    """Whether every record could be read."""
    moving: bool
    """Whether a record vanished before it was read."""


class _Folders:
    """What was read and logged, from one look at the folders to the next."""

    def __init__(self, config: PstoreConfig, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._hosts = HostRules(config.host_rules())
        self._kept = feed.positions()
        self._pending: dict[str, _Folder] = {}
        self._left: dict[str, str] = {}
        """States of folders whose records no longer change."""
        self._seen: dict[str, tuple[str, float]] = {}
        """States of folders that are to be read, and since when they last."""
        self._moving: dict[str, tuple[_Folder, float]] = {}
        """Folders that were read while records vanished, and when; their crashes are not kept yet."""
        self._found: set[bytes] = set()
        """Digests of the records that were read since then."""
        self._said: set[str] = set()

    def look(self) -> float:
        """Read new records and remove delivered ones; return the seconds until something may be due."""
        present = set()
        waits: list[float] = []
        for root, folder, names in self._folders():
            present.add(folder)
            stamp = " ".join(_state_of(os.path.join(folder, name)) for name in names)  # noqa: PTH118
            if left := self._look_at(root, folder, names, stamp):
                waits.append(left)
            elif self._feed.stop.is_set():
                return 0.0
            elif self._config.unlink and self._left.get(folder) != stamp:
                if folder not in self._pending:  # read by an earlier run
                    self._pending[folder] = self._read(root, folder, names)
                self._unlink(folder, stamp)
        self._forget(present)
        self._keep_vanished(all_settled=not waits)
        if self._moving:
            waits.append(SETTLE)
        if self._pending:
            waits.append(DELIVERY)
        return min(waits, default=self._config.scan_interval)

    def _look_at(self, root: str, folder: str, names: list[str], stamp: str) -> float:
        """Keep the crashes of a folder that has new records; return the seconds until it may be read."""
        kept = self._kept.get(folder, "")
        if kept == stamp:
            return 0.0
        if left := self._settles(folder, stamp):
            return left
        if Counter(stamp.split()) <= Counter(kept.split()):
            self._feed.keep((), {folder: stamp})
            self._kept[folder] = stamp
            return 0.0
        found = self._read(root, folder, names)
        if found.moving:
            self._hold(folder, found)
            return SETTLE
        found = self._completed(folder, found)
        self._feed.keep(found.crashes, {folder: stamp} if found.whole else None)
        if not self._feed.stop.is_set():
            self._pending[folder] = found
            if found.whole:
                self._kept[folder] = stamp
        return 0.0

    def _forget(self, present: set[str]) -> None:
        """Forget the folders that are gone."""
        if gone := self._kept.keys() - present:
            self._feed.keep((), dict.fromkeys(gone))
            for folder in gone:
                del self._kept[folder]
        for folder in self._seen.keys() - present:
            del self._seen[folder]
        if not self._config.unlink:
            self._pending.clear()

    def _settles(self, folder: str, stamp: str) -> float:
        """Return the seconds until the records of a folder have stayed the same for long enough."""
        now = time.monotonic()
        known, since = self._seen.get(folder, ("", now))
        if known != stamp:
            since = now
            self._seen[folder] = stamp, since
        return max(0.0, since + SETTLE - now)

    def _completed(self, folder: str, found: _Folder) -> _Folder:
        """Return the crashes of a folder, merged with those read before records vanished."""
        if self._moving:
            self._found |= found.texts
        before, _ = self._moving.get(folder, (None, 0.0))
        if before is None or not found.texts <= before.texts:
            return found
        del self._moving[folder]
        return found._replace(crashes=before.crashes)

    def _hold(self, folder: str, found: _Folder) -> None:
        """Hold the crashes that were read while records vanished, unless as many are held already."""
        before, _ = self._moving.get(folder, (None, 0.0))
        if before is None or not found.texts <= before.texts:
            self._moving[folder] = found, time.monotonic()

    def _keep_vanished(self, *, all_settled: bool) -> None:
        """Keep the crashes of records that have moved to no other folder.

        :param all_settled: every folder was read.
        """
        for folder, (before, since) in list(self._moving.items()):
            if all_settled or time.monotonic() - since >= MOVED:
                if not before.texts <= self._found:
                    self._feed.keep(before.crashes)
                del self._moving[folder]
        if not self._moving:
            self._found.clear()

    def _unlink(self, folder: str, stamp: str) -> None:
        """Remove the records of a folder if their crashes are delivered and folder and records are unchanged.

        :param stamp: state of the records.
        """
        found = self._pending[folder]
        if found.crashes and not self._feed.delivered(found.crashes):
            return
        del self._pending[folder]
        self._left[folder] = stamp
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
                    try:
                        if _state(os.stat(name, dir_fd=descriptor, follow_symlinks=False)) == state:
                            os.unlink(name, dir_fd=descriptor)
                    except FileNotFoundError:  # another process has removed it
                        continue
        except FileNotFoundError:  # all of it
            return
        except OSError as error:
            self._say_once(f"{folder}: records cannot be removed: {error.strerror}")

    def _folders(self) -> Iterator[tuple[str, str, list[str]]]:
        for root in self._config.folders():
            for folder, names in walk_folders(root, self._refused):
                records = sorted(name for name in names if re.fullmatch(PSTORE, name))
                if records:
                    yield root, folder, records

    def _read(self, root: str, folder: str, names: list[str]) -> _Folder:
        reader = Reader(lambda fault: self._feed.say(f"{folder}: {fault}"), self._config.scan_interval)
        reports: list[CrashReport] = []
        records: dict[str, str] = {}
        newest, size = 0.0, 0
        identity = (0, 0)
        texts: set[bytes] = set()
        whole, moving = True, False
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
                        if isinstance(error, FileNotFoundError):
                            moving = True
                        else:
                            self._say_once(f"{path}: cannot be read: {error.strerror}")
                        continue
                    if status is not None:
                        size += len(text)
                        texts.add(hashlib.sha256(text).digest())
                        reports += _pieces(reader, text)
                        newest = max(newest, status.st_mtime)
                        if len(reports) < MOST:  # else the folder stays, because not all of it was read
                            records[name] = _state(status)
        except OSError as error:
            whole = False
            if isinstance(error, FileNotFoundError):
                moving = True
            else:
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
        return _Folder(root, crashes, identity, records, texts, whole, moving)

    def _record(self, folder: int, path: str) -> tuple[os.stat_result | None, bytes]:
        """Return state and text of a record; no state for one that cannot ever be read.

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
