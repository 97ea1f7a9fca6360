"""The folders that kdump leaves.

===========================  =================================================
Red Hat, Fedora, CentOS      ``/var/crash/<ip>-2021-04-29-20:32:26/vmcore-dmesg.txt``
Debian, Ubuntu               ``/var/crash/202104292032/dmesg.202104292032``
SUSE                         ``/var/crash/2021-04-29-20:32/dmesg.txt``
===========================  =================================================

The time in the name is the host's local one. ``vmcore-dmesg-incomplete.txt`` is what was saved when the rest
was lost; ``kexec-dmesg.log`` is the log of the capture kernel, not of the crash.
"""

from __future__ import annotations

import ipaddress
import os
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import msgspec

from shipper.inputs import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipper.inputs import Crash, Feed

__all__ = ["Folder", "KdumpConfig", "KdumpInput", "is_log", "logs", "recognise"]

_DATED = re.compile(
    r"(?:(?P<host>[\w.:%-]{1,255}?)-)?"
    r"(?P<date>\d{4}-\d\d-\d\d)-(?P<hour>\d\d)[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d))?",
    re.ASCII,
)
_COMPACT = re.compile(r"(\d{12})(\d\d)?", re.ASCII)
_VMCORE_DMESG = re.compile(r"vmcore-dmesg[\w.-]*\.txt(?:\.(?:gz|xz|zst|bz2))?", re.ASCII)
_STAMPED_DMESG = re.compile(r"dmesg\.\d{12}(?:\d\d)?(?:\.(?:gz|xz|zst|bz2))?", re.ASCII)


class KdumpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``type: kdump``."""

    paths: list[str] = msgspec.field(default_factory=lambda: ["/var/crash"])
    """Folders that hold kdump's folders."""
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """Seconds between two looks; a network file system tells nobody of changes made elsewhere."""
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
        """Look at the folders again and again; a file is read once it is complete."""
        read_before = feed.positions()
        told: dict[str, str] = {}
        while not feed.stop.is_set():
            present = set()
            for path, fault in self._found():
                present.add(path)
                if fault:
                    if told.get(path) != fault:
                        feed.say(f"{path}: {fault}")
                        told[path] = fault
                    continue
                stamp = self._complete(path)
                if stamp and stamp not in (read_before.get(path), told.get(path)):
                    if self._take(path, stamp, feed):
                        read_before[path] = stamp
                    else:
                        told[path] = stamp  # not kept as read: the next start tries again
                if feed.stop.is_set():
                    return
            gone = read_before.keys() - present
            if gone:
                feed.keep((), dict.fromkeys(gone))
                for path in gone:
                    del read_before[path]
            feed.stop.wait(self._config.scan_interval)

    def _found(self) -> Iterator[tuple[str, str]]:
        from shipper.inputs.folders import walk  # noqa: PLC0415 - it knows of us

        for path in self.paths:
            yield from walk(path)

    def _complete(self, path: str) -> str:
        """Return what tells this state of the file from any other; empty while it may still grow."""
        try:
            status = os.stat(path)  # noqa: PTH116 - a path of os.walk
        except OSError:
            return ""
        patience = self._config.settle * (12 if "incomplete" in PurePath(path).name else 1)
        if time.time() - status.st_mtime < patience:
            return ""
        return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"

    @staticmethod
    def _take(path: str, stamp: str, feed: Feed) -> bool:
        from shipper.inputs.file import read  # noqa: PLC0415 - it knows of us

        crashes: list[Crash] = []
        try:
            crashes.extend(read(path, feed.origin))
        except Unreadable as error:
            feed.say(str(error))
            feed.keep(crashes)
            return False
        feed.keep(crashes, {path: stamp})
        return True


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder's name says: the host, unless it is the machine itself, and when it crashed."""

    ip: str = ""
    host: str = ""
    epoch: float | None = None
    """Seconds since 1970 UTC, of a local time read in this machine's zone."""


def recognise(path: str) -> Folder | None:
    """Return what the name of a kdump log and of its folder say; None for any other file."""
    pure = PurePath(path)
    folder = _folder(pure.parent.name)
    if is_log(pure.name) or (folder and pure.name.split(".")[0] == "dmesg"):
        return folder or Folder()
    return None


def logs(folder: str, names: list[str]) -> list[str] | None:
    """Return the crash logs among the files of a folder; None if kdump did not make it.

    Nothing at all is left where there is a dump without a log.
    """
    dump = any(name == "vmcore" or name.startswith(("vmcore.", "dump.")) for name in names)
    if _folder(PurePath(folder).name) is None and not dump:
        return None
    found = sorted(name for name in names if is_log(name) or name.split(".")[0] == "dmesg")
    whole = [name for name in found if "incomplete" not in name]
    if not found and not dump:
        return None
    return whole or found


def is_log(name: str) -> bool:
    """Tell whether a file of this name is a kdump log, in whatever folder."""
    return bool(_VMCORE_DMESG.fullmatch(name) or _STAMPED_DMESG.fullmatch(name))


def _folder(name: str) -> Folder | None:
    if found := _DATED.fullmatch(name):
        stamp = f"{found['date']} {found['hour']}:{found['minute']}:{found['second'] or '00'}"
        epoch = _local(stamp, "%Y-%m-%d %H:%M:%S")
        return None if epoch is None else _with_host(found["host"] or "", epoch)
    if found := _COMPACT.fullmatch(name):
        epoch = _local(found[1] + (found[2] or "00"), "%Y%m%d%H%M%S")
        return None if epoch is None else Folder(epoch=epoch)
    return None


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
