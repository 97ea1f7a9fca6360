"""Log files that grow: ``type: file``.

A live file is read from its beginning at every start, because a crash is told with what its boot said before;
what is known already, the store's ledger passes over. So a kill between reading and keeping loses nothing and
sends nothing twice. A file that was rotated is read once, together with its successors: a crash may go from
one to the next. It is known again by its inode, size and time of change, never by its first bytes, which
every boot of a kernel has alike.

While it runs: a file that was renamed is read on until its writers have let go of it; one that was truncated
is read from its beginning, which shows in its size or in what stands before the place that was reached.
"""

from __future__ import annotations

import glob
import os
import re
import resource
import stat
import time
from collections import deque
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Annotated

import msgspec

from kpanic.shipper.api import Crash, FilePath, Reader, Settings, Unreadable
from kpanic.shipper.inputs.folder_watch import Watch, being_written
from kpanic.shipper.inputs.folders import entered
from kpanic.shipper.inputs.log_file import CHUNK, Chunks, grows, looks_binary, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["FileConfig", "FileInput", "expand"]

LINGER = 60.0
"""Seconds that a renamed file is read on: its writers go over to the new one when they are told to."""
HEAD = 8192
"""Bytes that tell what a file is."""
TAIL = 1 << 18
"""Bytes of a rotated file in which a crash begins that goes on in the next."""
PACKED = (".gz", ".xz", ".zst", ".bz2")
FOOTPRINT = 256
"""Bytes before the place that was reached, which must be there again."""

_ROTATED = re.compile(
    r"(?P<stem>.+?)(?:\.\d{1,5}|-\d{8}(?:[-T]\d{1,10})?|\.old)?(?:\.(?:gz|xz|zst|bz2))?", re.ASCII | re.DOTALL
)


class FileConfig(Settings, frozen=True, kw_only=True):
    """``type: file``."""

    paths: list[FilePath]
    """Files, with ``*``, ``?`` and ``**`` as shells know them; their rotated ones too: ``messages*``."""
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """Seconds between two looks where nothing tells of changes: on a network file system, from elsewhere."""
    close_quiet: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    """Seconds of silence after which a crash counts as complete."""


class FileInput:
    """Log files, followed."""

    Config = FileConfig
    name = "file"

    def __init__(self, config: FileConfig) -> None:
        self._config = config

    @property
    def paths(self) -> list[str]:
        """Files that hold crashes now; a pattern that matches none stands for itself."""
        return sorted({path for pattern in self._config.paths for path in list(expand(pattern)) or [pattern]})

    def run(self, feed: Feed) -> None:
        """Follow the files."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:  # each file that is followed is open
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        followed = _Files(self._config, feed)
        with Watch(feed.say, growth=True) as watch:
            grown: list[str] | None = None
            while not feed.stop.is_set():
                if grown is None:
                    followed.look(watch)
                else:
                    followed.grow(grown)
                grown = watch.wait(feed.stop, followed.wait)
        followed.close()


def expand(pattern: str) -> Iterator[str]:
    """Yield what a pattern matches; ``**`` goes through folders, but no links to them: they may loop."""
    if "**" not in pattern:
        yield from glob.iglob(pattern)  # noqa: PTH207 - paths stay as the user wrote them
        return
    head, _, tail = pattern.partition("**")
    for base in glob.iglob(head or "."):  # noqa: PTH207
        for folder, _ in entered(base):
            yield from expand(os.path.join(glob.escape(folder), tail.lstrip("/") or "*"))  # noqa: PTH118


def _families(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return each live file with its rotated ones; what has no live file is one itself."""
    present = set(paths)
    families: dict[str, list[str]] = {}
    for path in paths:
        found = _ROTATED.fullmatch(path)
        stem = found["stem"] if found else path
        if stem != path and stem in present:
            families.setdefault(stem, []).append(path)
        else:
            families.setdefault(path, [])
    return families


class _Files:
    """All files of one input, and what was said of them."""

    def __init__(self, config: FileConfig, feed: Feed) -> None:
        self._config = config
        self._feed = feed
        self._followed: dict[str, _Followed] = {}
        self._told: dict[str, str] = {}
        self._matched: set[str] = set()
        self._seen = feed.positions()
        """States of files that were read to their end and do not grow, by device and inode."""

    @property
    def wait(self) -> float:
        """Seconds until something is due."""
        waits = [one.wait for one in self._followed.values()]
        return min([self._config.scan_interval, *(wait for wait in waits if wait is not None)])

    def look(self, watch: Watch) -> None:
        """Look at all of them, and watch the folders that they are in."""
        paths = sorted({path for pattern in self._config.paths for path in self._matching(pattern)})
        for folder in {os.path.dirname(path) or "." for path in paths}:  # noqa: PTH120 - as the user wrote them
            watch.add(folder)
        for pattern in self._config.paths:
            watch.add(os.path.dirname(pattern.partition("*")[0]) or ".")  # noqa: PTH120
        folders = {path for path in paths if os.path.isdir(path)}  # noqa: PTH112 - as the user wrote them
        for path in folders.intersection(self._config.paths):
            self._tell(path, f"is a directory: name its files, such as {path}/*")
        families = _families([path for path in paths if path not in folders])
        for live, rotated in families.items():
            if self._feed.stop.is_set():
                return
            self._look(live, rotated)
        for gone in self._followed.keys() - families.keys():
            self._look(gone, ())
            if self._followed[gone].idle:
                self._followed.pop(gone).close()
        self._note(paths)

    def _matching(self, pattern: str) -> list[str]:
        found = list(expand(pattern))
        if found:
            self._matched.add(pattern)
        elif pattern not in self._matched:
            self._tell(pattern, "does not exist yet; nothing is read there until it does")
        return found

    def grow(self, paths: Sequence[str]) -> None:
        """Look at those of these that are followed, and at what is due."""
        due = [path for path, one in self._followed.items() if one.wait is not None]
        for path in self._followed.keys() & {*paths, *due}:
            self._look(path, ())

    def close(self) -> None:
        """Let go of all."""
        for one in self._followed.values():
            one.close()

    def _look(self, live: str, rotated: Sequence[str]) -> None:
        """Look at a file and at what was rotated; what is wrong with one is said once."""
        one = self._followed.get(live)
        if one is None:
            one = self._followed[live] = _Followed(live, self._feed, self._config.close_quiet, self._seen)
        for path in sorted(rotated, key=_changed):
            self._guarded(path, lambda path=path: one.archive(path))  # type: ignore[misc]
        if rotated:
            one.resume(max(rotated, key=_changed))
        self._guarded(live, one.look)

    def _guarded(self, path: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, Unreadable) as error:
            self._tell(path, error.reason if isinstance(error, Unreadable) else error.strerror or str(error))
        else:
            self._told.pop(path, None)

    def _tell(self, path: str, reason: str) -> None:
        if self._told.get(path) != reason:
            self._feed.say(f"{path}: {reason}")
            self._told[path] = reason

    def _note(self, paths: Sequence[str]) -> None:
        """Keep which files need not be read again, and forget those that are gone."""
        present = {_identity(path)[0] for path in paths}
        moved: dict[str, str | None] = {}
        for one in self._followed.values():
            for key in one.done.keys() - present:
                del one.done[key]
            if not one.open:
                moved |= {key: state for key, state in one.done.items() if self._seen.get(key) != state}
        gone = self._seen.keys() - present
        for path in self._told.keys() - {*paths, *self._config.paths}:
            del self._told[path]
        if (moved or gone) and not self._feed.stop.is_set():
            self._feed.keep((), dict.fromkeys(gone) | moved)
            for key in gone:
                del self._seen[key]
            self._seen |= {key: state for key, state in moved.items() if state}


def _identity(path: str) -> tuple[str, str]:
    """Return what names a file whatever its path, and what tells its state from any other."""
    try:
        return _named(os.stat(path))  # noqa: PTH116
    except OSError:
        return path, "gone"


def _named(status: os.stat_result) -> tuple[str, str]:
    return f"{status.st_dev}:{status.st_ino}", f"{status.st_size}:{status.st_mtime_ns}"


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except OSError:
        return 0.0


class _Followed:
    """One path, whichever file it is just now, and those that it was."""

    def __init__(self, path: str, feed: Feed, quiet: float, seen: Mapping[str, str]) -> None:
        self.done: dict[str, str] = {}
        """States of files that were read to their end by now, by device and inode."""
        self._path = path
        self._feed = feed
        self._quiet = quiet
        self._seen = seen
        self._reader = self._new_reader(path)
        self._file: IO[bytes] | None = None
        self._footprint = b""
        self._former: list[tuple[IO[bytes], float]] = []
        self._begun = False
        """The live file was looked at: what is rotated from now on was read while it was live."""
        self._unread = False

    @property
    def open(self) -> bool:
        """Whether a crash is being read."""
        return self._reader.open

    @property
    def idle(self) -> bool:
        """Whether there is nothing that could still come."""
        return self._file is None and not self._former and self._reader.wait is None

    @property
    def wait(self) -> float | None:
        """Seconds until something is due."""
        waits = [until - time.monotonic() for _, until in self._former]
        if self._reader.wait is not None:
            waits.append(self._reader.wait)
        return max(0.0, min(waits)) if waits else None

    def look(self) -> None:
        """Read what is new.

        :raises OSError: it cannot be read now.
        :raises Unreadable: it cannot be read at all.
        """
        try:
            self._look()
        except OSError:
            self.close()  # a file server's handle that is stale: it is opened anew
            raise
        finally:
            self._keep(self._reader.settle())

    def archive(self, path: str) -> None:
        """Read a file that does not grow any more, unless it is known.

        :raises OSError: it cannot be read.
        :raises Unreadable: it is damaged; what could be read of it was.
        """
        status = os.stat(path)  # noqa: PTH116
        key, state = _named(status)
        held = [self._file, *(file for file, _ in self._former)]
        if any(file and os.path.samestat(status, os.fstat(file.fileno())) for file in held):
            return  # it still grows, perhaps
        if self._seen.get(key) == state or self.done.get(key) == state:
            return
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return
        if path.endswith(PACKED) and being_written(path):
            return  # it is being packed
        reader = self._new_reader(path) if self._begun else self._reader
        chunks = Chunks(path)
        try:
            for chunk in chunks:
                self._keep(reader.feed(chunk), path)
                if self._feed.stop.is_set():
                    return
        finally:
            chunks.close()
        self.done[key] = state  # what is damaged does not mend by itself
        self._unread = not self._begun
        if self._begun:
            self._keep(reader.flush(), path)
        if chunks.fault:
            raise Unreadable(path, chunks.fault)

    def resume(self, path: str) -> None:
        """Read the end of the last rotated file again at the start: a crash may go on in the live one."""
        if self._begun or self._unread:
            return
        tail: deque[bytes] = deque(maxlen=2)
        try:
            chunks = Chunks(path)
            tail.extend(chunks)
            chunks.close()
        except (OSError, Unreadable):
            return  # it was told when it was read
        self._keep(self._reader.feed(b"".join(tail)[-TAIL:]))

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._file, *(file for file, _ in self._former)):
            if file is not None:
                file.close()
        self._file, self._former = None, []

    def _new_reader(self, path: str) -> Reader:
        return Reader(lambda fault: self._feed.say(f"{path}: {fault}"), self._quiet)

    def _look(self) -> None:
        for former in list(self._former):
            self._leave(*former)
        if self._file is not None:
            self._read_on()
            if self._replaced():
                self._former.append((self._file, time.monotonic() + LINGER))
                if not self._footprint.endswith(b"\n"):
                    self._keep(self._reader.feed(b"\n"))
                self._file = None
        if self._file is None and (not self._begun or os.path.exists(self._path)):  # noqa: PTH110
            self._open()
            self._begun = True
            self._read_on()

    def _leave(self, file: IO[bytes], until: float) -> None:
        """Read a renamed or deleted file on until its writers have surely left it."""
        while chunk := file.read(CHUNK):
            self._keep(self._reader.feed(chunk))
        if time.monotonic() >= until:
            key, state = _named(os.fstat(file.fileno()))
            self.done[key] = state
            self._former.remove((file, until))
            file.close()

    def _open(self) -> None:
        if not stat.S_ISREG(os.stat(self._path).st_mode):  # noqa: PTH116 - opening a FIFO would wait
            raise Unreadable(self._path, "is no regular file and is left alone")
        file = open(self._path, "rb", buffering=0)  # noqa: PTH123, SIM115 - kept open
        head = file.read(HEAD)
        if not grows(head):  # packed, or a dump
            file.close()
            self._begun = True
            self.archive(self._path)
            return
        if head and looks_binary(head):
            self._feed.say(f"{self._path}: is binary; it is searched all the same")
        file.seek(0)
        self._file, self._footprint = file, b""

    def _read_on(self) -> None:
        file = self._file
        if file is None:
            return
        reached, size = file.tell(), os.fstat(file.fileno()).st_size
        start = reached - len(self._footprint)
        if size < reached or os.pread(file.fileno(), len(self._footprint), start) != self._footprint:
            file.seek(0)
            self._footprint = b""
        while not self._feed.stop.is_set() and (chunk := file.read(CHUNK)):
            self._keep(self._reader.feed(chunk))
            self._footprint = (self._footprint + chunk)[-FOOTPRINT:]

    def _replaced(self) -> bool:
        """Tell whether the path is another file now, or none."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))  # noqa: PTH116
        except FileNotFoundError:
            return True

    def _keep(self, reports: list[CrashReport], path: str = "") -> None:
        if reports:
            # the time of change is that of the last line, not of the crash
            origin = replace(origin_of(path or self._path, self._feed.origin), mtime=None)
            self._feed.keep([Crash(report, origin) for report in reports])
