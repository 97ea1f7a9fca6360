"""Follows one log file while it grows, is renamed, truncated or deleted.

A renamed file is read on until its writers have surely closed it. A truncated one is read from its beginning:
its size shows the truncation, or the bytes before the offset that was reached.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.shipper.api import Crash, Reader, Unreadable
from kpanic.shipper.files import NotRegularFile, open_named
from kpanic.shipper.inputs.folder_watch import being_written
from kpanic.shipper.inputs.log_file import CHUNK, Chunks, grows, looks_binary, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed, Origin

__all__ = ["FollowedFile", "identify_path", "modified"]

LINGER: Final = 60.0
"""Seconds that a renamed file is read on, until its writers have been told to open the new one."""
TURN: Final = 64 << 20
"""Maximum bytes read from one file before the other files have their turn."""
HEAD: Final = 8192
"""First bytes of a file, which show its format."""
TAIL: Final = 1 << 18
"""Bytes at the end of a rotated file in which a crash may begin that continues in the next file."""
FOOTPRINT: Final = 256
"""Bytes before the offset that was reached; they are compared to notice a truncation."""
COMPRESSED: Final = (".gz", ".xz", ".zst", ".bz2")


def identify_path(path: str) -> tuple[str, str]:
    """Return what identifies the file at a path under any name, and its state; see :func:`_identify`."""
    try:
        return _identify(os.stat(path))  # noqa: PTH116
    except OSError:
        return path, "gone"


def _identify(status: os.stat_result) -> tuple[str, str]:
    """Return device and inode, and size and time of change."""
    return f"{status.st_dev}:{status.st_ino}", f"{status.st_size}:{status.st_mtime_ns}"


def modified(path: str) -> float:
    """Return when a file changed last, in seconds since 1970; 0.0 if it is gone."""
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except OSError:
        return 0.0


class FollowedFile:
    """One path: the file that has this name now, and the files that had it before.

    :param origin: what is known about every crash in the file.
    :param quiet: seconds of silence after which a crash is complete.
    :param kept: states of files that an earlier run has read, by device and inode.
    :ivar done: states of files that this run has read to their end, by device and inode.
    """

    def __init__(self, path: str, feed: Feed, origin: Origin, quiet: float, kept: Mapping[str, str]) -> None:
        self.done: dict[str, str] = {}
        self._path = path
        self._feed = feed
        self._origin = origin
        self._quiet = quiet
        self._kept = kept
        self._reader = self._new_reader(path)
        self._file: IO[bytes] | None = None
        self._footprint = b""
        self._former: list[tuple[IO[bytes], float]] = []
        self._begun = False
        """The live file was looked at: what is rotated from now on was read while it was live."""
        self._unread = False
        self._more = False
        """The last turn did not read all there is."""

    @property
    def open(self) -> bool:
        """Whether a report is incomplete."""
        return self._reader.open

    @property
    def size(self) -> int:
        """Bytes of memory that the file's text takes."""
        return self._reader.size

    @property
    def idle(self) -> bool:
        """Whether the file cannot grow any more."""
        return self._file is None and not self._former and self._reader.wait is None

    @property
    def wait(self) -> float | None:
        """Seconds until something is due; None: not before the file grows."""
        if self._more:
            return 0.0
        waits = [until - time.monotonic() for _, until in self._former]
        if self._reader.wait is not None:
            waits.append(self._reader.wait)
        return max(0.0, min(waits)) if waits else None

    def read(self) -> None:
        """Read up to :data:`TURN` new bytes.

        :raises OSError: it cannot be read now.
        :raises Unreadable: it cannot be read at all.
        """
        try:
            self._read()
        except FileNotFoundError:  # renamed just now
            raise
        except OSError:
            self.close()  # a stale handle of a file server: it is opened anew and read from its beginning
            self._reader = self._new_reader(self._path)
            raise
        finally:
            if not (self._more or self._feed.stop.is_set()):  # the unread text may belong to a crash
                self._keep(self._reader.settle())

    def flush(self) -> None:
        """Keep the reports that are incomplete, as they are."""
        self._keep(self._reader.flush())

    def read_rotated(self, path: str) -> None:
        """Read a file that does not grow any more, unless it is known.

        :raises OSError: it cannot be read.
        :raises Unreadable: it is damaged; what could be read of it was.
        """
        status = os.stat(path)  # noqa: PTH116
        key, state = _identify(status)
        held = [self._file, *(file for file, _ in self._former)]
        if any(file and os.path.samestat(status, os.fstat(file.fileno())) for file in held):
            return  # it may still grow
        if self._kept.get(key) == state or self.done.get(key) == state:
            return
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return
        if path.endswith(COMPRESSED) and being_written(path):
            return  # it is being compressed
        reader = self._new_reader(path) if self._begun else self._reader
        chunks = Chunks(path)
        try:
            for chunk in chunks:
                self._keep(reader.feed(chunk), path)
                if self._feed.stop.is_set():
                    return
        finally:
            chunks.close()
        self.done[key] = state  # damage does not mend by itself
        self._unread = not self._begun
        if self._begun:
            self._keep(reader.flush(), path)
        if chunks.fault:
            raise Unreadable(path, chunks.fault)

    def resume(self, path: str) -> None:
        """Read the end of the last rotated file again after a start: a crash may go on in the live one."""
        if self._begun or self._unread:
            return
        tail: deque[bytes] = deque(maxlen=2)
        try:
            chunks = Chunks(path)
            tail.extend(chunks)
            chunks.close()
        except (OSError, Unreadable):
            return  # the fault was logged when it was read
        self._keep(self._reader.feed(b"".join(tail)[-TAIL:]))

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, *(file for file, _ in self._former)):
            if file is not None:
                file.close()
        self._file, self._former = None, []

    def _new_reader(self, path: str) -> Reader:
        return Reader(lambda fault: self._feed.say(f"{path}: {fault}"), self._quiet)

    def _read(self) -> None:
        self._more = False
        for former in list(self._former):
            self._read_former(*former)
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

    def _read_former(self, file: IO[bytes], until: float) -> None:
        """Read a renamed or deleted file on until its writers have surely closed it."""
        self._read_turn(file)
        if time.monotonic() >= until and not self._more:
            key, state = _identify(os.fstat(file.fileno()))
            self.done[key] = state
            self._former.remove((file, until))
            file.close()

    def _open(self) -> None:
        try:
            file = open_named(self._path)
        except NotRegularFile as error:
            raise Unreadable(self._path, f"{error.strerror}, and is left alone") from None
        head = file.read(HEAD)
        if not grows(head):  # compressed, or a dump
            file.close()
            self._begun = True
            self.read_rotated(self._path)
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
        if size < reached or self._before(file, reached) != self._footprint:
            file.seek(0, os.SEEK_END)  # drops the buffer
            file.seek(0)
        self._read_turn(file)
        self._footprint = self._before(file, file.tell())

    @staticmethod
    def _before(file: IO[bytes], place: int) -> bytes:
        start = max(0, place - FOOTPRINT)
        return os.pread(file.fileno(), place - start, start)

    def _read_turn(self, file: IO[bytes]) -> None:
        """Read up to :data:`TURN` bytes."""
        for _ in range(TURN // CHUNK):
            if self._feed.stop.is_set() or not (chunk := file.read(CHUNK)):
                return
            self._keep(self._reader.feed(chunk))
        self._more = True

    def _replaced(self) -> bool:
        """Tell whether the file at the path was replaced or removed."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))  # noqa: PTH116
        except FileNotFoundError:
            return True

    def _keep(self, reports: list[CrashReport], path: str = "") -> None:
        if reports:
            # the file changed last at its last line, not at the crash
            origin = replace(origin_of(path or self._path, self._origin), mtime=None)
            self._feed.keep([Crash(report, origin) for report in reports])
