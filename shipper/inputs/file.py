"""Log files that grow: ``type: file``.

A live file is read from its beginning at every start, because a document holds what the boot logged before
the crash. The store skips crashes that it has. So a kill between reading and keeping loses nothing and sends
nothing twice. A rotated file is read once, followed by its successors, because a crash may continue in the
next file. Files are recognised by inode, size and time of change, never by their first bytes, which are alike
in every boot of a kernel.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kpanic.shipper.api import MEMORY, FilePath, PathSettings, Seconds, Unreadable
from kpanic.shipper.crashed_host import HostRules, glob_of
from kpanic.shipper.inputs.file_patterns import expand, rotated_files
from kpanic.shipper.inputs.folder_watch import Watch
from kpanic.shipper.inputs.followed_file import FollowedFile, identify_path, modified
from kpanic.shipper.obstacles import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kpanic.shipper.api import Feed

__all__ = ["FileConfig", "FileInput"]


class FileConfig(PathSettings, frozen=True, kw_only=True):
    """``type: file``."""

    paths: list[FilePath]
    """Files, with ``*``, ``?`` and ``**`` as shells know them, and ``{host}`` for the name of the host that a
    file is of; their rotated ones too: ``messages*``."""
    scan_interval: Seconds = 10.0
    """Seconds between two looks where nothing reports changes, as on a network file system."""
    close_quiet: Seconds = 30.0
    """Seconds of silence after which a crash is complete."""


class FileInput:
    """Log files, followed."""

    Config = FileConfig
    name = "file"

    def __init__(self, config: FileConfig) -> None:
        self._config = config

    @property
    def paths(self) -> list[str]:
        """Files that hold crashes now; a pattern without a match is returned as it is."""
        return sorted({path for pattern in self._config.paths for path in list(expand(pattern)) or [pattern]})

    def obstacles(self) -> Iterator[str]:
        """Yield the obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        yield from unreadable(self.paths)

    def run(self, feed: Feed) -> None:
        """Follow the files until ``feed.stop`` is set; see :meth:`kpanic.shipper.api.Input.run`."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:  # each file that is followed is open
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        files = _Files(self._config, feed)
        with Watch(feed.say, growth=True) as watch:
            grown: list[str] | None = None
            while not feed.stop.is_set():
                if grown is None:
                    files.look(watch)
                else:
                    files.grow(grown)
                grown = watch.wait(feed.stop, files.wait)
        files.close()


class _Files:
    """All files of one input, and the messages that were logged about them."""

    def __init__(self, config: FileConfig, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._origin = replace(feed.origin, hosts=HostRules(config.host_rules()))
        self._followed: dict[str, FollowedFile] = {}
        self._said: dict[str, str] = {}
        self._matched: set[str] = set()
        self._kept = feed.positions()
        """States of files that were read to their end and do not grow, by device and inode."""
        self._share = MEMORY.share()
        self._sizes: dict[str, int] = {}

    @property
    def wait(self) -> float:
        """Seconds until something is due."""
        waits = [one.wait for one in self._followed.values()]
        return min([self._config.scan_interval, *(wait for wait in waits if wait is not None)])

    def look(self, watch: Watch) -> None:
        """Look at all files, and watch their folders."""
        paths = sorted({path for pattern in self._config.paths for path in self._matching(pattern)})
        for folder in {os.path.dirname(path) or "." for path in paths}:  # noqa: PTH120 - as the user wrote them
            watch.add(folder)
        for pattern in self._config.paths:
            watch.add(os.path.dirname(glob_of(pattern).partition("*")[0]) or ".")  # noqa: PTH120
        folders = {path for path in paths if os.path.isdir(path)}  # noqa: PTH112 - as the user wrote them
        for path in folders.intersection(self._config.paths):
            self._say_once(path, f"is a directory: name its files, such as {path}/*")
        files = rotated_files([path for path in paths if path not in folders])
        for live, rotated in files.items():
            if self._feed.stop.is_set():
                return
            self._read(live, rotated)
        for gone in self._followed.keys() - files.keys():
            self._read(gone, ())
            if self._followed[gone].idle:
                self._followed.pop(gone).close()
                self._share.change(-self._sizes.pop(gone, 0))
        self._note(paths)

    def grow(self, paths: Sequence[str]) -> None:
        """Read the changed files that are followed, and the files where something is due."""
        due = [path for path, one in self._followed.items() if one.wait is not None]
        for path in self._followed.keys() & {*paths, *due}:
            self._read(path, ())

    def close(self) -> None:
        """Close all files."""
        for one in self._followed.values():
            one.close()
        self._share.close()

    def _matching(self, pattern: str) -> list[str]:
        found = list(expand(pattern))
        if found:
            self._matched.add(pattern)
        elif pattern not in self._matched:
            self._say_once(pattern, "does not exist yet; nothing is read there until it does")
        return found

    def _read(self, live: str, rotated: Sequence[str]) -> None:
        """Read a file and its rotated files; a fault of a file is logged once."""
        one = self._followed.get(live)
        if one is None:
            one = FollowedFile(live, self._feed, self._origin, self._config.close_quiet, self._kept)
            self._followed[live] = one
        for path in sorted(rotated, key=modified):
            self._guarded(path, lambda path=path: one.read_rotated(path))  # type: ignore[misc]
        if rotated:
            one.resume(max(rotated, key=modified))
        self._guarded(live, one.read)
        self._weigh(live)
        while self._share.exceeded and len(self._sizes) > 1:
            largest = max(self._sizes, key=self._sizes.__getitem__)
            self._followed[largest].flush()
            if self._weigh(largest) == 0:
                break

    def _weigh(self, path: str) -> int:
        """Count the memory that the text of a file takes now; return by how much that changed."""
        size = self._followed[path].size
        change = size - self._sizes.get(path, 0)
        self._sizes[path] = size
        self._share.change(change)
        return change

    def _guarded(self, path: str, step: Callable[[], None]) -> None:
        try:
            step()
        except FileNotFoundError as error:
            if os.path.lexists(path):  # else it was renamed meanwhile: the next look finds it
                self._say_once(path, error.strerror or str(error))
        except (OSError, Unreadable) as error:
            reason = error.reason if isinstance(error, Unreadable) else error.strerror or str(error)
            self._say_once(path, reason)
        else:
            self._said.pop(path, None)

    def _say_once(self, path: str, reason: str) -> None:
        if self._said.get(path) != reason:
            self._feed.say(f"{path}: {reason}")
            self._said[path] = reason

    def _note(self, paths: Sequence[str]) -> None:
        """Keep the states of files that need not be read again, and forget files that are gone."""
        present = {identify_path(path)[0] for path in paths}
        moved: dict[str, str | None] = {}
        for one in self._followed.values():
            for key in one.done.keys() - present:
                del one.done[key]
            if not one.open:
                moved |= {key: state for key, state in one.done.items() if self._kept.get(key) != state}
        gone = self._kept.keys() - present
        for path in self._said.keys() - {*paths, *self._config.paths}:
            del self._said[path]
        if (moved or gone) and not self._feed.stop.is_set():
            self._feed.keep((), dict.fromkeys(gone) | moved)
            for key in gone:
                del self._kept[key]
            self._kept |= {key: state for key, state in moved.items() if state}
