"""Log files that grow: ``type: file``.

A file that was renamed away is read to its end before its successor; one that was truncated is read from its
beginning. What is read is not noted: a start reads everything there is, at the speed of the scan, and the
store's ledger knows what it has. So a kill between reading and keeping loses nothing and sends nothing twice.
"""

from __future__ import annotations

import glob
import os
import stat
import time
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Annotated

import msgspec

from shipper.inputs import Crash, Unreadable
from shipper.inputs._reader import Reader
from shipper.inputs.file import CHUNK, origin_of, read

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from shipper.inputs import Feed

__all__ = ["FileConfig", "FileInput"]

_PACKED = (b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd")


class FileConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``type: file``."""

    paths: list[str]
    """Files, with ``*``, ``?`` and ``**`` as shells know them."""
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Seconds between two looks for what is new."""
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
        return sorted(
            path
            for pattern in self._config.paths
            for path in glob.glob(pattern, recursive=True) or [pattern]  # noqa: PTH207
        )

    def run(self, feed: Feed) -> None:
        """Follow the files."""
        followed: dict[str, _Followed] = {}
        told: dict[str, str] = {}
        try:
            while not feed.stop.is_set():
                for path in self.paths:
                    try:
                        one = followed.get(path)
                        if one is None:
                            one = followed[path] = _Followed(path, feed)
                        one.look(feed, self._config.close_quiet)
                        told.pop(path, None)
                    except (OSError, Unreadable) as error:
                        reason = (
                            error.reason if isinstance(error, Unreadable) else error.strerror or str(error)
                        )
                        if told.get(path) != reason:
                            feed.say(f"{path}: {reason}")
                            told[path] = reason
                feed.stop.wait(self._config.scan_interval)
        finally:
            for one in followed.values():
                one.close()


class _Followed:
    """One path, whichever file it is just now; a crash may go from one file to the next."""

    def __init__(self, path: str, feed: Feed) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._parser = Reader(lambda fault: feed.say(f"{path}: {fault}"))
        self._last = 0.0
        self._dirty = False

    def look(self, feed: Feed, quiet: float) -> None:
        """Read what is new."""
        if self._file is None:
            self._open(feed)
        if self._file is not None:
            self._read_on(feed)
            if self._replaced():
                self.close()
                self._open(feed)
                if self._file is not None:
                    self._read_on(feed)
        if self._dirty and time.monotonic() - self._last > quiet:
            self._keep(self._parser.flush(), feed)
            self._dirty = False

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, feed: Feed) -> None:
        if not stat.S_ISREG(os.stat(self._path).st_mode):  # noqa: PTH116 - opening a FIFO would wait
            raise Unreadable(self._path, "is no regular file and is left alone")
        file = open(self._path, "rb", buffering=0)  # noqa: PTH123, SIM115 - kept open
        head = file.read(6)
        if head.startswith(_PACKED):  # rotated and packed: it does not grow
            file.close()
            stamp = f"{os.stat(self._path).st_mtime_ns}"  # noqa: PTH116
            if feed.positions().get(self._path) != stamp:
                feed.keep(list(read(self._path, feed.origin)), {self._path: stamp})
            return
        file.seek(0)
        self._file = file

    def _read_on(self, feed: Feed) -> None:
        file = self._file
        if file is None:
            return
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
        while not feed.stop.is_set() and (chunk := file.read(CHUNK)):
            self._last = time.monotonic()
            self._dirty = True
            self._keep(self._parser.feed(chunk), feed)

    def _replaced(self) -> bool:
        """Tell whether the path is another file now."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))  # noqa: PTH116
        except FileNotFoundError:
            return False  # between the rename and the new file

    def _keep(self, reports: list[CrashReport], feed: Feed) -> None:
        if reports:
            origin = replace(
                origin_of(self._path, feed.origin), mtime=None
            )  # of the last line, not of the crash
            feed.keep([Crash(report, origin) for report in reports])
