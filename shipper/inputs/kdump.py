"""The folders that kdump leaves, watched: ``type: kdump``. What their names say: :mod:`.kdump_names`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import msgspec

from kpanic.shipper.api import FilePath, Settings, Unreadable
from kpanic.shipper.inputs.folder_watch import Watch, being_written
from kpanic.shipper.inputs.folders import walk
from kpanic.shipper.inputs.kdump_names import is_dump
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.inputs.memory_dump import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.api import Crash, Feed

__all__ = ["KdumpConfig", "KdumpInput"]

_INCOMPLETE_PATIENCE = 12


class KdumpConfig(Settings, frozen=True, kw_only=True):
    """``type: kdump``."""

    paths: list[FilePath] = msgspec.field(default_factory=lambda: ["/var/crash"])
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
        crashes: list[Crash] = []
        try:
            crashes.extend(read(path, self._feed.origin))
        except Unreadable as error:
            self._feed.say(str(error))
            self._feed.keep(crashes)
            return False
        self._feed.keep(crashes, {path: state})
        return True
