"""What the firmware or reserved memory kept of a crash: the records of pstore (pstore(8), systemd-pstore(8)).

The records of a folder (``dmesg-<backend>-<number>``) are one text in parts, and put together by the
grammar. They are not removed here: systemd-pstore moves them to /var/lib/systemd/pstore.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import msgspec

from shipper.inputs import Crash
from shipper.inputs._reader import Reader
from shipper.inputs.file import PSTORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipper.inputs import Feed

__all__ = ["PstoreConfig", "PstoreInput"]

_UNPACKABLE = re.compile(r"dmesg-.*\.enc\.z", re.ASCII)


class PstoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``type: pstore``."""

    paths: list[str] = msgspec.field(default_factory=lambda: ["/sys/fs/pstore", "/var/lib/systemd/pstore"])
    """Folders of records, and those below them."""
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Seconds between two looks; records appear at boot."""


class PstoreInput:
    """Folders of records."""

    Config = PstoreConfig
    name = "pstore"

    def __init__(self, config: PstoreConfig) -> None:
        self._config = config
        self.paths = [path for path in config.paths if os.path.isdir(path)]  # noqa: PTH112

    def run(self, feed: Feed) -> None:
        """Look at the folders again and again; a folder is read again when its records change."""
        read_before = feed.positions()
        while not feed.stop.is_set():
            for folder, names in self._folders():
                try:
                    stamp = " ".join(_stamp(os.path.join(folder, name)) for name in names)  # noqa: PTH118
                    if read_before.get(folder) != stamp:
                        self._take(folder, names, stamp, feed)
                        read_before[folder] = stamp
                except OSError as error:
                    feed.say(f"{folder}: {error.strerror}")
            feed.stop.wait(self._config.scan_interval)

    def _folders(self) -> Iterator[tuple[str, list[str]]]:
        for path in self._config.paths:
            for folder, folders, names in os.walk(path):
                folders.sort()
                records = sorted(name for name in names if PSTORE.fullmatch(name))
                if records:
                    yield folder, records

    @staticmethod
    def _take(folder: str, names: list[str], stamp: str, feed: Feed) -> None:
        parser = Reader(lambda fault: feed.say(f"{folder}: {fault}"))
        reports = []
        newest = 0.0
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            if _UNPACKABLE.fullmatch(name):
                feed.say(f"{path}: is packed in a way that this kernel could not unpack; it is left alone")
                continue
            with open(path, "rb") as file:  # noqa: PTH123
                newest = max(newest, os.fstat(file.fileno()).st_mtime)
                reports += parser.feed(file.read() + b"\n")
        reports += parser.flush()
        origin = replace(feed.origin, provider="pstore", path=folder, mtime=newest or None)
        feed.keep([Crash(report, origin) for report in reports], {folder: stamp})


def _stamp(path: str) -> str:
    status = os.stat(path)  # noqa: PTH116
    return f"{status.st_size}:{status.st_mtime_ns}"
