"""A file of newline delimited JSON, one document a line, durable before it counts as delivered."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from kpanic.shipper.api import (
    ALREADY_THERE,
    DeliveryStatus,
    FilePath,
    Outcome,
    Settings,
    Unavailable,
    timestamp,
    with_delivery_fields,
)
from kpanic.shipper.obstacles import unwritable
from kpanic.shipper.signature_document import outline, signature_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpanic.shipper.api import Stored

__all__ = ["FileConfig", "FileOutput"]

TAIL_BYTES: Final = 16_000_000
"""Bytes at the end of the file that are read when it is opened; at most half as many are written at once."""


class FileConfig(Settings, frozen=True, kw_only=True):
    """``output.file``."""

    path: FilePath
    """The file; its folder is made."""
    permissions: int = 0o600
    signatures: bool = False
    """Write a document for each new signature too."""


class FileOutput:
    """``output.file``: appends, and starts a new file when logrotate moves the old one away.

    After a kill between the write and the settling, the last batch would be written again. So the end of the
    file is read at its opening, and the end of the file that was moved away before it.
    """

    Config = FileConfig
    name = "file"

    def __init__(self, config: FileConfig) -> None:
        self._path = Path(config.path)
        self._mode = config.permissions
        self._file = -1
        self._signatures = config.signatures
        self._written: set[str] = set()

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Append the documents that the file lacks, and sync.

        :raises Unavailable: nothing was written; an incomplete batch is cut off again.
        """
        try:
            self._open()
            size = os.fstat(self._file).st_size
        except OSError as error:
            raise Unavailable(f"file: {self._path}: {error.strerror}") from error
        moment, text, outcomes = timestamp(), bytearray(), []
        for stored in batch:
            if len(text) > TAIL_BYTES // 2:
                outcomes.append(Outcome(stored.id, DeliveryStatus.RETRY, "the batch is long"))
                continue
            there = stored.id in self._written
            if not there:
                text += with_delivery_fields(stored.body, moment, document_id=stored.id) + b"\n"
                if self._signatures:
                    text += self._signature(stored, moment)
            outcomes.append(Outcome(stored.id, DeliveryStatus.DELIVERED, ALREADY_THERE if there else ""))
        try:
            while text:
                del text[: os.write(self._file, text)]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next opening finds the written part
                os.ftruncate(self._file, size)
            self.close()
            raise Unavailable(f"file: {self._path}: {error.strerror}") from error
        return outcomes

    def _signature(self, stored: Stored, moment: str) -> bytes:
        """Return the line of the document's signature, unless the file has that line."""
        name, document = signature_document(outline(stored.body), moment, seeded=False)
        if not name or name in self._written:
            return b""
        self._written.add(name)
        return with_delivery_fields(msgspec.json.encode(document), moment, document_id=name) + b"\n"

    def check(self) -> str:
        """Open the file.

        :raises Unavailable: it cannot be written.
        """
        try:
            self._open()
        except OSError as error:
            raise Unavailable(f"file: {self._path}: {error.strerror}") from error
        return f"file {self._path}: writable"

    def obstacles(self) -> Iterator[str]:
        """Yield the obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        yield from unwritable(self._path)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        """Open the file unless it is open already; cut off a line that a kill left unfinished."""
        if self._file >= 0:
            try:
                if os.path.samestat(os.fstat(self._file), self._path.stat()):
                    return
            except FileNotFoundError:
                pass
            self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, self._mode)
        try:
            self._look()
        except OSError:
            self.close()  # documents outside the part that is read would be written again
            raise

    def _look(self) -> None:
        """Cut off an unfinished line, and collect the documents of the file's end.

        :raises OSError: the file cannot be read, or is a pipe.
        """
        status = os.fstat(self._file)
        if stat.S_ISFIFO(status.st_mode):
            raise OSError(
                errno.ESPIPE, "is a named pipe: nothing in it is durable; output.stdout writes to one"
            )
        size = status.st_size
        tail = os.pread(self._file, TAIL_BYTES, max(0, size - TAIL_BYTES))
        complete = tail.rfind(b"\n") + 1
        if complete < len(tail) and (complete or size <= TAIL_BYTES):
            os.ftruncate(self._file, size - len(tail) + complete)
        self._written = _document_ids(tail[:complete])
        if not size:
            self._written |= _document_ids(self._before())
            _sync(self._path.parent)

    def _before(self) -> bytes:
        """Return the end of the file that was moved away last, if it is in the same folder."""
        moved = []
        for path in self._path.parent.glob(f"{glob.escape(self._path.name)}?*"):
            if path.is_symlink() and not path.exists():
                continue
            status = path.stat()  # raises if it is moved again meanwhile: the next try looks again
            if stat.S_ISREG(status.st_mode):
                moved.append((status.st_mtime, path))
        if not moved:
            return b""
        with max(moved)[1].open("rb") as last:
            size = last.seek(0, os.SEEK_END)
            last.seek(max(0, size - TAIL_BYTES))
            return last.read()


def _sync(folder: Path) -> None:
    """Make the name of a new file durable; fsync(2) of the file covers its content only."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Labels(msgspec.Struct):
    document_id: str = ""


class _Line(msgspec.Struct):
    labels: _Labels = msgspec.field(default_factory=_Labels)


_decode = msgspec.json.Decoder(_Line).decode


def _document_ids(lines: bytes) -> set[str]:
    """Return the IDs of the documents in some lines; other lines are ignored."""
    ids = set()
    for line in io.BytesIO(lines):
        with contextlib.suppress(msgspec.DecodeError, UnicodeError):
            ids.add(_decode(line).labels.document_id)
    return ids - {""}
