"""The state of ``kpanic filter --state``: the text that it took, and the crashes that it handed over.

The folder holds a journal of the pipe's text, and the journal before it. Each is a stream of
MessagePack: ``[seconds, bytes]`` is text, without bytes where a run began, and ``[id, …]`` are the documents
and signatures that were written. A filter that starts again reads both with the clock of the first run, so
that an open crash continues; documents that were written before are known and not written again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgpack

from kpanic.shipper.inputs.listening_clock import ListeningClock
from kpanic.shipper.terminal import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Clock", "Known", "State", "StateError"]

JOURNAL_BYTES: Final = 2 << 20
"""Bytes after which a new journal begins, once no crash is open."""
MOST_BYTES: Final = 32 << 20
"""Bytes after which a new journal begins even if a crash is open."""
MOST_KNOWN: Final = 10_000
"""Maximum documents and signatures that are remembered as written."""


class StateError(OperatorError):
    """The state cannot be kept; the text is one line for the operator."""


class Known:
    """The ids of written documents and signatures, the newest :data:`MOST_KNOWN`."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def add(self, names: Iterable[str]) -> None:
        """Add ids."""
        self._ids |= dict.fromkeys(names)
        while len(self._ids) > MOST_KNOWN:
            del self._ids[next(iter(self._ids))]


class Clock(ListeningClock):
    """Seconds since the state was made, without the time in which no filter ran or the filter did not listen.

    :ivar at: the time during the reading of a journal; None while the clock runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at: float | None = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return super().__call__() if self.at is None else self.at

    def start(self) -> None:
        """Continue from the shown time."""
        self.begin(self.at or 0.0)
        self.at = None


class State:
    """A state folder, locked until the process ends.

    :param folder: is made if it is missing, for this user only.
    :ivar folder: the same.
    :raises StateError: it cannot be used, others may write to it, or another filter uses it.
    """

    def __init__(self, folder: str) -> None:
        from kpanic.shipper.store.errors import StoreError  # noqa: PLC0415 - few filters keep a state
        from kpanic.shipper.store.folder import own_folder  # noqa: PLC0415

        self.folder = Path(folder)
        self._journal, self._before = self.folder / "journal", self.folder / "journal.old"
        self.known = Known()
        self.last = b""
        """The last text that was taken."""
        try:
            with own_folder(self.folder, "set --state to a folder of your own") as descriptor:
                self._lock = os.dup(descriptor)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self._journal, flags, 0o600)
        except BlockingIOError:
            raise StateError(
                f"{folder}: another kpanic filter uses it; give each filter its own folder"
            ) from None
        except StoreError as error:
            raise StateError(str(error)) from None
        except OSError as error:
            raise StateError(f"{folder}: {error.strerror}") from None
        self._size = 0

    def read(self) -> Iterator[tuple[float, bytes]]:
        """Yield the text that was taken before, with the seconds of the clock; :attr:`known` is filled.

        An unfinished entry at the end of the journal is cut off.
        """
        with contextlib.suppress(FileNotFoundError):
            yield from self._entries(self._before.read_bytes())
        data = self._journal.read_bytes()
        yield from self._entries(data)
        if self._size < len(data):
            os.ftruncate(self._file, self._size)

    def take(self, seconds: float, chunk: bytes) -> None:
        """Keep text; it is durable on return.

        :raises StateError: it cannot be kept.
        """
        self._append([seconds, chunk])
        self.last = chunk or self.last

    def written(self, names: list[str]) -> None:
        """Keep that these documents and signatures were written.

        :raises StateError: it cannot be kept.
        """
        self.known.add(names)
        self._append(names)

    def trim(self, *, idle: bool) -> None:
        """Begin a new journal if the old one is long; the old one is kept until the next time.

        :param idle: no crash is open.
        :raises StateError: there is no room for another.
        """
        if self._size < (JOURNAL_BYTES if idle else MOST_BYTES):
            return
        new = self.folder / "journal.new"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(new, flags, 0o600)
            os.replace(self._journal, self._before)  # noqa: PTH105 - beside the calls of os
            os.replace(new, self._journal)  # noqa: PTH105
            os.fsync(self._lock)
        except OSError as error:
            raise StateError(f"{self.folder}: {error.strerror}") from None
        os.close(self._file)
        self._file, self._size = file, 0
        self._append(list(self.known))

    def _entries(self, data: bytes) -> Iterator[tuple[float, bytes]]:
        unpacker = msgpack.Unpacker(max_buffer_size=len(data) + 1, unicode_errors="replace")
        unpacker.feed(data)
        self._size = 0
        with contextlib.suppress(ValueError, msgpack.UnpackException):  # written when the power failed
            for entry in unpacker:
                match entry:
                    case [float(seconds), bytes(chunk)]:
                        self.last = chunk or self.last
                        yield seconds, chunk
                    case [*names] if all(isinstance(name, str) for name in names):
                        self.known.add(names)
                    case _:
                        return
                self._size = unpacker.tell()

    def _append(self, entry: Sequence[object]) -> None:
        data: bytes = msgpack.packb(entry)
        try:
            left = data
            while left:
                left = left[os.write(self._file, left) :]
            os.fdatasync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise StateError(f"{self.folder}: {error.strerror}") from None
        self._size += len(data)
