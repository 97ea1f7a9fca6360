"""The folders that kdump leaves, watched: ``type: kdump``. What their names say: :mod:`.kdump_names`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec.structs import replace

from kpanic.shipper.api import FilePath, PathSettings, Seconds, Unreadable
from kpanic.shipper.crashed_host import HOST, HostRules, glob_of
from kpanic.shipper.inputs.folder_watch import Watch, being_written
from kpanic.shipper.inputs.folders import walk
from kpanic.shipper.inputs.kdump_dumps import VmcoreConfig, dumps_below, opened
from kpanic.shipper.inputs.kdump_names import is_dump
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.inputs.memory_dump import PROGRAM
from kpanic.shipper.obstacles import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.api import Feed

__all__ = ["KdumpConfig", "KdumpInput"]

DUMP: Final = "vmcore:"
"""Prefix of a dump's path in the key of its state: the path alone is the key of the log in the dump."""
INCOMPLETE_PATIENCE: Final = 12
"""Factor of ``settle`` for files whose name says that they are incomplete."""


class KdumpConfig(PathSettings, frozen=True, kw_only=True):
    """``type: kdump``."""

    paths: list[FilePath] = msgspec.field(default_factory=lambda: ["/var/crash"])
    """Folders that hold kdump's folders; with ``{host}``, of many machines."""
    scan_interval: Seconds = 60.0
    """Seconds between two looks where nothing reports changes, as on a network file system."""
    settle: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """Seconds that a file must not have changed; twelve times as long where its name says incomplete."""
    vmcore: VmcoreConfig = VmcoreConfig()
    """Whether dumps are opened to answer questions that their logs leave open."""


class KdumpInput:
    """The kdump folders of one machine, or of many machines that send their dumps to one place."""

    Config = KdumpConfig
    name = "kdump"

    def __init__(self, config: KdumpConfig) -> None:
        self._config = config

    @property
    def paths(self) -> list[str]:
        """Folders that hold crashes now."""
        return self._config.folders()

    def obstacles(self) -> Iterator[str]:
        """Yield obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        yield from unreadable(self.paths)

    def run(self, feed: Feed) -> None:
        """Look at the folders whenever they change; a file is read once it is complete."""
        folders = _Folders(self._config, feed)
        with Watch(feed.say) as watch:
            while not feed.stop.is_set():
                due = folders.look(watch)
                watch.wait(feed.stop, due)


class _Folders:
    """What was read and logged, from one look at the folders to the next."""

    def __init__(self, config: KdumpConfig, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._origin = replace(feed.origin, hosts=HostRules(config.host_rules()))
        self._kept = feed.positions()
        """States of files that were read, by path."""
        self._said: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        """States of files that could not be read; the next start tries them again."""
        self._seen: dict[str, tuple[str, float]] = {}
        """States of files that may still grow, and since when, by this machine's clock: a file server has
        another.
        """

    def look(self, watch: Watch) -> float:
        """Read files that have become complete; return the seconds until another may be."""
        due = self._config.scan_interval
        present = set()
        for path, fault in self._found(watch):
            if self._feed.stop.is_set():
                return 0.0
            present.add(path)
            if fault:
                self._say_once(path, fault)
            else:
                due = min(due, self._look_at(path, path, self._read) or due)
        if self._config.vmcore.analyse:
            due = min(due, self._look_at_dumps(present) or due)
        if gone := self._kept.keys() - present:
            self._feed.keep((), dict.fromkeys(gone))
            for path in gone:
                del self._kept[path]
        for known in (self._seen, self._failed):
            for path in known.keys() - present:
                del known[path]
        return due

    def _look_at_dumps(self, present: set[str]) -> float:
        """Open the dumps that have become complete; return the seconds until one may be, 0 if none is due.

        :param present: receives the keys under which their states are kept.
        """
        due = 0.0
        for folder in self._config.folders():
            for path in dumps_below(folder):
                if self._feed.stop.is_set():
                    return 0.0
                key = f"{DUMP}{path}"
                present.add(key)
                left = self._look_at(path, key, self._open)
                due = min(due, left) if due and left else due or left
        return due

    def _look_at(self, path: str, key: str, reader: Callable[[str, str, str], bool]) -> float:
        """Read a file that has become complete; return the seconds until it may be, 0 if nothing is due.

        :param key: under which its state is kept.
        """
        try:
            status = os.stat(path)  # noqa: PTH116 - the path as the user wrote it
        except OSError:
            return 0.0  # gone since; else the walk reports it
        state = f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
        if self._kept.get(key) == state:
            return 0.0
        name = PurePath(path).name
        # includes the time of chmod and chown, and the program that was missing
        tried = f"{state}:{status.st_ctime_ns}:{shutil.which(PROGRAM) if is_dump(name) else ''}"
        if self._failed.get(key) == tried:
            return 0.0
        now = time.monotonic()
        known, since = self._seen.get(key, ("", now))
        if known != state:
            since = now
            self._seen[key] = state, since
        left = since + self._config.settle * (INCOMPLETE_PATIENCE if "incomplete" in name else 1) - now
        if left > 0:
            return left
        if not being_written(path):
            if reader(path, key, state):
                self._kept[key] = state
                self._failed.pop(key, None)
            else:
                self._failed[key] = tried
            self._seen.pop(key, None)
        return 0.0

    def _found(self, watch: Watch) -> Iterator[tuple[str, str]]:
        for pattern in self._config.paths:
            if HOST in pattern:  # where another host appears
                watch.add(os.path.dirname(glob_of(pattern).partition("*")[0]))  # noqa: PTH120
        for path in self._config.folders():
            if os.path.exists(path):  # noqa: PTH110 - paths stay as the user wrote them
                yield from ((found.path, found.fault) for found in walk(path, watch.add))
            else:
                yield path, "does not exist yet; nothing is read there until it does"

    def _say_once(self, path: str, fault: str) -> None:
        if self._said.get(path) != fault:
            self._feed.say(f"{path}: {fault}")
            self._said[path] = fault

    def _say_unreadable(self, path: str, key: str, error: Unreadable) -> None:
        """Log why a file cannot be read, unless it is gone: the next look finds it under its new name."""
        try:
            os.lstat(path)
        except FileNotFoundError:
            return
        except OSError:  # the error of a folder that may not be entered
            pass
        self._say_once(key, error.reason)

    def _open(self, path: str, key: str, state: str) -> bool:
        """Keep the document of a dump; return whether there is one."""
        try:
            found = opened(path, self._origin, self._config.vmcore, self._feed.stop)
        except Unreadable as error:
            self._say_unreadable(path, key, error)
            return False
        if self._feed.stop.is_set():
            return False
        self._feed.keep(found, {key: state})
        return True

    def _read(self, path: str, key: str, state: str) -> bool:
        """Keep the crashes of a file; return whether it was read to its end."""
        try:
            self._feed.keep(read(path, self._origin), {key: state})
        except Unreadable as error:
            self._say_unreadable(path, key, error)
            return False
        return not self._feed.stop.is_set()
