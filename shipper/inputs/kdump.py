"""The folders that kdump leaves.

=========================  =================================================================
Red Hat, Fedora, Amazon    ``<ip>-2021-04-29-20:32:26/vmcore-dmesg.txt`` and ``vmcore``
Debian, Ubuntu             ``202104292032/dmesg.202104292032`` and ``dump.202104292032``
… over NFS or SSH         ``<ip>-202104292032/…``, or the host's name
… over FTP                ``<ip>-dmesg.202104292032``, no folder
SUSE                       ``2021-04-29-20:32/dmesg.txt`` and ``vmcore``
… since kdump 2.0         ``2021-04-29-20-32/dmesg`` and ``vmcore``; ``<host>-…`` over a network
=========================  =================================================================

The time in the name is the host's local one. ``vmcore-dmesg-incomplete.txt`` is what was saved when the rest
was lost, renamed once all was saved; ``kexec-dmesg.log`` is the log of the capture kernel, not of the crash.
Where there is no log, it is taken out of the dump.

:see: kdump-lib-initramfs.sh of kdump-utils 1.0, kdump-config of Debian's kdump-tools 1.8, kdump-save of
    SUSE's kdump 2.0
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import msgspec

from shipper.inputs import Unreadable
from shipper.inputs._watch import Watch, being_written
from shipper.inputs.dump import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipper.inputs import Crash, Feed

__all__ = ["Folder", "KdumpConfig", "KdumpInput", "logs", "recognise"]

_DATED = re.compile(
    r"(?:(?P<host>[\w.:%-]{1,255}?)-)?"
    r"(?P<date>\d{4}-\d\d-\d\d)-(?P<hour>\d\d)[:.-](?P<minute>\d\d)(?:[:.-](?P<second>\d\d))?",
    re.ASCII,
)
_COMPACT = re.compile(r"(?:(?P<host>[\w.:%-]{1,255}?)-)?(?P<date>\d{12})(?P<second>\d\d)?", re.ASCII)
_PACKED = r"(?:\.(?:gz|xz|zst|bz2|lz4))"
_VMCORE_DMESG = re.compile(rf"vmcore-dmesg[\w.-]*\.txt{_PACKED}?", re.ASCII)
_STAMPED_DMESG = re.compile(
    rf"(?:(?P<host>[\w.:%-]{{1,255}})-)?dmesg\.(?P<stamp>\d{{12}}(?:\d\d)?){_PACKED}?", re.ASCII
)
_DUMP = re.compile(
    rf"(?:vmcore(?:-incomplete)?|dump-incomplete|dump\.\d{{12}})(?:\.\w{{1,32}})??(?P<packed>{_PACKED})?",
    re.ASCII,
)

_INCOMPLETE_PATIENCE = 12


class KdumpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``type: kdump``."""

    paths: list[str] = msgspec.field(default_factory=lambda: ["/var/crash"])
    """Folders that hold kdump's folders."""
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Seconds between two looks where nothing tells of changes: on a network file system, from elsewhere."""
    settle: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """Seconds that a file must not have changed; twelve times as long where its name says incomplete."""


class KdumpInput:
    """The folders of one machine, or of many where they are collected."""

    Config = KdumpConfig
    name = "kdump"

    def __init__(self, config: KdumpConfig) -> None:
        self.paths = config.paths
        self._config = config

    def run(self, feed: Feed) -> None:
        """Look at the folders whenever they change; a file is read once it is complete."""
        looks = _Looks(self._config, feed)
        with Watch(feed.say) as watch:
            while not feed.stop.is_set():
                due = looks.look(watch)
                watch.wait(feed.stop, due)


class _Looks:
    """What was read, and what was said, from one look at the folders to the next."""

    def __init__(self, config: KdumpConfig, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._read = feed.positions()
        self._told: dict[str, str] = {}
        """Faults, and states of files that could not be read: the next start tries those again."""
        self._seen: dict[str, tuple[str, float]] = {}
        """States of files that may still grow, since when: by our own clock, as a file server has another."""

    def look(self, watch: Watch) -> float:
        """Read what has become complete; return in how many seconds something may be."""
        due = self._config.scan_interval
        present = set()
        for path, fault in self._found(watch):
            if self._feed.stop.is_set():
                return 0.0
            present.add(path)
            if fault:
                self._tell(path, fault)
            else:
                due = min(due, self._at(path) or due)
        if gone := self._read.keys() - present:
            self._feed.keep((), dict.fromkeys(gone))
            for path in gone:
                del self._read[path]
        for path in self._seen.keys() - present:
            del self._seen[path]
        return due

    def _at(self, path: str) -> float:
        """Read a file that has become complete; return in how many seconds it may be, 0 if nothing is due."""
        try:
            status = os.stat(path)  # noqa: PTH116 - a path of os.walk
        except OSError:
            return 0.0  # gone since; otherwise the walk says so
        state = f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
        if self._read.get(path) == state:
            return 0.0
        name = PurePath(path).name
        tried = state + (shutil.which(PROGRAM) or "" if is_dump(name) else "")
        if self._told.get(path) == tried:
            return 0.0
        now = time.monotonic()
        known, since = self._seen.get(path, ("", now))
        if known != state:
            since = now
            self._seen[path] = state, since
        left = since + self._config.settle * (_INCOMPLETE_PATIENCE if "incomplete" in name else 1) - now
        if left > 0:
            return left
        if not being_written(path):
            if self._take(path, state):
                self._read[path] = state
            else:
                self._told[path] = tried
            self._seen.pop(path, None)
        return 0.0

    def _found(self, watch: Watch) -> Iterator[tuple[str, str]]:
        from shipper.inputs.folders import walk  # noqa: PLC0415 - it knows of us

        for path in self._config.paths:
            if os.path.exists(path):  # noqa: PTH110 - paths stay as the user wrote them
                yield from walk(path, watch.add)
            else:
                yield path, "does not exist yet; nothing is read there until it does"

    def _tell(self, path: str, fault: str) -> None:
        if self._told.get(path) != fault:
            self._feed.say(f"{path}: {fault}")
            self._told[path] = fault

    def _take(self, path: str, state: str) -> bool:
        from shipper.inputs.file import read  # noqa: PLC0415 - it knows of us

        crashes: list[Crash] = []
        try:
            crashes.extend(read(path, self._feed.origin))
        except Unreadable as error:
            self._feed.say(str(error))
            self._feed.keep(crashes)
            return False
        self._feed.keep(crashes, {path: state})
        return True


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder's name says: the host, unless it is the machine itself, and when it crashed."""

    ip: str = ""
    host: str = ""
    epoch: float | None = None
    """Seconds since 1970 UTC, of a local time read in this machine's zone."""


def recognise(path: str) -> Folder | None:
    """Return what the name of a log or dump of kdump's and of its folder say; None for any other file."""
    where, name = os.path.split(path)
    folder = _folder(os.path.basename(where))  # noqa: PTH119
    if found := _STAMPED_DMESG.fullmatch(name):
        return folder or _folder(f"{found['host'] or 'localhost'}-{found['stamp']}") or Folder()
    if _is_log(name) or is_dump(name) or (folder and name.split(".")[0] == "dmesg"):
        return folder or Folder()
    return None


def logs(folder: str, names: list[str]) -> list[str] | None:
    """Return what holds the crash's log among the files of a folder; None if kdump did not make it.

    A dump stands in for its log; nothing at all is left where that is packed.
    """
    dumps = sorted(name for name in names if is_dump(name))
    if _folder(PurePath(folder).name) is None and not dumps:
        return None
    found = sorted(name for name in names if _is_log(name) or name.split(".")[0] == "dmesg")
    if not found and not dumps:
        return None
    readable = [name for name in dumps if not _packed(name)]
    if found and not shutil.which(PROGRAM):
        readable = []
    for some in (found, readable):
        if whole := [name for name in some if "incomplete" not in name]:
            return whole
    return found or readable


def is_dump(name: str) -> bool:
    """Tell whether a file of this name is a dump of kdump's, in whatever folder."""
    return bool(_DUMP.fullmatch(name))


def _packed(name: str) -> bool:
    found = _DUMP.fullmatch(name)
    return bool(found and found["packed"])


def _is_log(name: str) -> bool:
    return bool(_VMCORE_DMESG.fullmatch(name) or _STAMPED_DMESG.fullmatch(name))


def _folder(name: str) -> Folder | None:
    if found := _DATED.fullmatch(name):
        stamp = f"{found['date']} {found['hour']}:{found['minute']}:{found['second'] or '00'}"
        epoch = _local(stamp, "%Y-%m-%d %H:%M:%S")
    elif found := _COMPACT.fullmatch(name):
        epoch = _local(found["date"] + (found["second"] or "00"), "%Y%m%d%H%M%S")
    else:
        return None
    return None if epoch is None else _with_host(found["host"] or "", epoch)


def _with_host(host: str, epoch: float) -> Folder:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Folder(host="" if host == "localhost" else host, epoch=epoch)
    own = address.is_loopback or address.is_unspecified
    return Folder(ip="" if own else str(address), epoch=epoch)


def _local(stamp: str, form: str) -> float | None:
    try:
        return datetime.strptime(stamp, form).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        return None
