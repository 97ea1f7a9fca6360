"""A file of newline delimited JSON, one document a line, durable before it counts as delivered."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shipper.outputs import Outcome, Unavailable, Verdict
from shipper.outputs._document import now, stamp
from shipper.outputs._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipper.outputs import Stored

__all__ = ["FileConfig", "FileOutput"]

TAIL_BYTES = 16_000_000  # more than one batch


class FileConfig(Settings, frozen=True, kw_only=True):
    """``output.file``."""

    path: str
    permissions: int = 0o600


class FileOutput:
    """Appends; a file that was moved away (logrotate) is started anew.

    A process that is killed between the write and the settling would write its last batch again, so
    the end of the file is read when it is opened.
    """

    Config = FileConfig
    name = "file"

    def __init__(self, config: FileConfig) -> None:
        self._path = Path(config.path)
        self._mode = config.permissions
        self._file = -1
        self._written: set[tuple[str, ...]] = set()

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Append what is not there yet, and sync.

        :raises Unavailable: nothing was written; half a batch is cut off again.
        """
        try:
            self._open()
            size = os.fstat(self._file).st_size
        except OSError as error:
            raise Unavailable(f"file: {self._path}: {error.strerror}; everything is kept") from error
        keys = [_key(stored.body) for stored in batch]
        moment = now()
        text = b"".join(
            stamp(stored.body, moment) + b"\n"
            for stored, key in zip(batch, keys, strict=True)
            if key not in self._written
        )
        try:
            while text:
                text = text[os.write(self._file, text) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next opening finds what is there
                os.ftruncate(self._file, size)
            self.close()
            raise Unavailable(f"file: {self._path}: {error.strerror}; everything is kept") from error
        return [Outcome(stored.id, Verdict.DELIVERED) for stored in batch]

    def check(self) -> str:
        """Open the file.

        :raises Unavailable: it cannot be written.
        """
        try:
            self._open()
        except OSError as error:
            raise Unavailable(f"file: {self._path}: {error.strerror}") from error
        return f"file {self._path}: writable"

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        """Open the file unless it is the one that is open; cut off a line that a crash left unfinished."""
        if self._file >= 0:
            try:
                if os.path.samestat(os.fstat(self._file), self._path.stat()):
                    return
            except FileNotFoundError:
                pass
            self.close()
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, self._mode)
        size = os.fstat(self._file).st_size
        tail = os.pread(self._file, TAIL_BYTES, max(0, size - TAIL_BYTES))
        complete = tail.rfind(b"\n") + 1
        if complete < len(tail) and (complete or size <= TAIL_BYTES):
            os.ftruncate(self._file, size - len(tail) + complete)
        self._written = {_key(line) for line in tail[:complete].split(b"\n")} - {()}


class _Event(msgspec.Struct, frozen=True):
    id: str = ""
    provider: str = ""
    hash: str = ""


class _Host(msgspec.Struct, frozen=True):
    name: str = ""


class _Identity(msgspec.Struct, frozen=True):
    """What a document's ``_id`` is made of: incident, way, words and host."""

    event: _Event = _Event()
    host: _Host = _Host()


_decode = msgspec.json.Decoder(_Identity).decode


def _key(body: bytes) -> tuple[str, ...]:
    """Name a document; empty for what is none."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeError):
        return ()
    event = found.event
    return (event.id, event.provider, event.hash, found.host.name) if event.id else ()
