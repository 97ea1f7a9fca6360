"""Reads large files in parts: each part is a task, and together they give the result of one reading.

Only a plain log is read in parts: no compressed file, archive, memory dump or log of kdump.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from msgspec import Struct
from msgspec.structs import replace

from kpanic.shipper.api import Unreadable
from kpanic.shipper.batch import BYTES, DOCUMENTS
from kpanic.shipper.document import documented
from kpanic.shipper.files import is_url, open_named
from kpanic.shipper.inputs import archive, remote
from kpanic.shipper.inputs.log_file import (
    ConnectionBroken,
    explained,
    grows,
    looks_binary,
    origin_of,
    read_fault,
)
from kpanic.shipper.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.part import Border, Entry, Part
    from kpanic.shipper.packed import Packed

__all__ = ["SIZE", "Joined", "Piece", "Range", "local_size", "ranges", "read_range"]

SIZE = 32 << 20
"""Bytes of a part."""
LARGEST = 1 << 40
"""Maximum bytes of a file that is read in parts; a server may name any size."""
HEAD = 1 << 16
"""First bytes of a file, which show its format."""


class Range(Struct, frozen=True):
    """A part of a file: the boots that begin between two offsets."""

    path: str
    begin: int
    end: int | None
    """None is the end of the file."""


class Over(NamedTuple):
    """A crash of a part."""

    document: Packed
    at: int
    """Offset that was reached when the crash was complete."""


class Piece(Struct, frozen=True):
    """Some of the crashes of a part."""

    crashes: list[Over]
    mark: str
    """Prefix of the line numbers in the documents, which count from the beginning of the part."""
    entry: Entry | None
    part: Part | None = None
    """What was read; set in the last piece."""
    fault: str = ""


class _Marked(int):
    """A line number, written so that no text of a log can be mistaken for it."""

    mark = ""

    def __str__(self) -> str:
        return f"{self.mark}{int(self):d}"

    def __format__(self, _: str) -> str:
        return str(self)


def local_size(path: str) -> int:
    """Return the size of a regular file without holes; 0 for anything else."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # reported when it is read
        return 0
    whole = stat.S_ISREG(status.st_mode) and status.st_blocks * 512 >= status.st_size
    return status.st_size if whole else 0


def ranges(path: str, size: int) -> list[Range]:
    """Return the parts of a file; empty if it is read whole.

    :param size: bytes; 0 if it is not known.
    """
    if not 2 * SIZE <= size <= LARGEST or origin_of(path, Origin("file")).provider != "file":
        return []
    try:
        with _opened(path) as file:
            head = file.read(HEAD)
    except (Unreadable, OSError, ConnectionBroken):
        return []
    if not grows(head) or looks_binary(head) or archive.is_archive(head):
        return []
    borders = [*range(0, size - SIZE + 1, SIZE), None]
    return [Range(path, begin or 0, end) for begin, end in itertools.pairwise(borders)]


def _opened(path: str) -> BinaryIO:
    if is_url(path):
        return cast("BinaryIO", remote.open_url(path))
    with explained(path):
        return cast("BinaryIO", open_named(path))


def read_range(part: Range, base: Origin, *, kept: bool = True) -> Iterator[Piece]:
    """Yield the crashes of a part; the last item is the extent of the part.

    :param kept: whether the store takes the documents; else they are only printed.
    """
    from kpanic.grammars.parser import renumbered  # noqa: PLC0415 - the grammar is built on import
    from kpanic.grammars.part import read_part  # noqa: PLC0415 - as above

    over: list[Over] = []
    size = 0
    entry: Entry | None = None
    mark = f"{os.urandom(16).hex()}:" if part.begin else ""
    marked = type("_Marked", (_Marked,), {"mark": mark})
    origin = origin_of(part.path, base)
    try:
        with _opened(part.path) as file:
            if isinstance(file, remote.RemoteFile):
                origin = replace(origin, mtime=file.mtime)
            reading = read_part(file, part.begin, part.end)
            while True:
                try:
                    crash, at, entry = next(reading)
                except StopIteration as end:
                    done: Part = end.value
                    break
                if mark:  # the lines before the part are not counted
                    crash = renumbered(crash, marked)
                over.append(Over(documented(crash, origin, kept=kept), at))
                size += len(over[-1].document.body)
                if len(over) >= DOCUMENTS or size >= BYTES:
                    yield Piece(over, mark, entry)
                    over, size = [], 0
    except Unreadable as error:
        yield Piece(over, mark, entry, fault=error.reason)
    except (OSError, ConnectionBroken) as error:
        yield Piece(over, mark, entry, fault=read_fault(error))
    else:
        yield Piece(over, mark, done.entry, done)


class Joined:
    """Joins the documents of a file's parts, which come in their order.

    Where two parts do not join, the first one is read again with twice its size.

    :ivar fault: why the file was not read to its end.
    :ivar read: bytes of the parts that were read.
    :ivar ended: whether further parts are useless.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fault = ""
        self.read = 0
        self._again: Range | None = None
        self._current: Range | None = None
        self._border: Border | None = None
        self._lines = self._given = self._before = self._skipped = 0
        self._behind = -1
        self._loose = False  # the part before and this one do not hold the same lines, and there was no crash
        self.ended = False

    def documents(self, part: Range, piece: Piece) -> list[Packed]:
        """Return the documents of a piece that belong to the file."""
        if self.ended or self._again is not None or not self._takes(part, piece):
            return []
        found = [document for document, at in piece.crashes if at > self._behind]
        new = found[min(self._skipped, len(found)) :]
        self._skipped -= len(found) - len(new)
        self._given += len(new)
        documents = [self._numbered(document, piece.mark) for document in new]
        if piece.part is not None:
            self._border = piece.part.border
            border = self._border
            swallowed = border is not None and border.begin >= 0 and border.end < self._behind
            if piece.part.odd or swallowed:
                self._lines, self._behind, self._given = 0, -1, self._given + self._before
                self._repeat(Range(self.path, 0, None))
            else:
                self.ended = border is None
                self.read = max(self.read, border.begin if border else 0)
        elif piece.fault:
            self.fault, self.ended = piece.fault, True
        return documents

    def _numbered(self, document: Packed, mark: str) -> Packed:
        """Return a document with the numbers of the file's lines."""
        if not mark:
            return document
        numbers = re.compile(mark.encode() + rb"(\d+)")
        return document._replace(
            body=numbers.sub(lambda found: b"%d" % (int(found[1]) + self._lines), document.body)
        )

    def end(self) -> None:
        """Read on if the parts did not reach the end of the file."""
        if not self.ended and self._again is None and self._current is not None:
            self._repeat(replace(self._current, end=None))

    def fail(self, fault: str) -> None:
        """Leave out the rest of the file."""
        self.fault, self.ended = fault, True

    def repeated(self) -> Range | None:
        """Return the part to read now, before the planned ones; None to go on with those."""
        part, self._again = self._again, None
        self._current = part or self._current
        return part

    def _takes(self, part: Range, piece: Piece) -> bool:
        """Tell whether a part is the next one."""
        if part is self._current:
            return True
        if piece.entry is None:
            if piece.fault:
                self.fail(piece.fault)
            return False
        if self._current is None:
            self._current = part
            return True
        border = self._border
        if border is not None and piece.entry.begin < border.begin:
            return False  # the part before was read again and beyond it
        if border is not None and self._loose:
            border = border._replace(held=False)
        if border is None or not border.joins(piece.entry):
            size = (self._current.end or 0) - self._current.begin
            wide = max(self._current.begin + 2 * size, part.end or 0)
            self._repeat(replace(self._current, end=None if part.end is None else wide))
            return False
        self._lines += border.lines
        self._behind = max(self._behind, border.end)
        self._before += self._given
        self._given = 0
        self._loose = not border.held and not piece.entry.crashed
        self._current = part
        return True

    def _repeat(self, part: Range) -> None:
        self._skipped = self._given
        self._again = part
