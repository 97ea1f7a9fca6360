"""Reads rows from the pages of a damaged SQLite file, without its trees.

A leaf page of a table holds rows, or their beginnings and the pages where they continue. So a row is readable
even if the pages that lead to it are damaged.

:see: https://sqlite.org/fileformat2.html, 1.6 (B-tree pages), 1.7 (overflow pages), 2.1 (records)
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Row", "rows"]

LEAF = 0x0D
"""Type of a page with rows of a table."""
LEAVES = frozenset({LEAF, *(LEAF ^ 1 << bit for bit in range(8))})
"""The type, and its variants with one bit flipped."""
FILE_HEADER = 100
"""Bytes at the beginning of the first page."""
FIRST_BLOB = 12
"""First serial type of blobs (even) and texts (odd)."""
_NUMBER_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
"""Bytes of a number, by serial type."""


class Row(NamedTuple):
    """A row of any table."""

    rowid: int
    columns: tuple[bytes | str | None, ...]
    """Blobs and texts; None for numbers and for NULL."""


def rows(path: Path, page_size: int) -> Iterator[Row]:
    """Yield the rows of a file's pages, in the order of the pages, including unused pages."""
    with path.open("rb") as file:
        number = 0
        while len(page := _page(file, number, page_size)) == page_size:
            start = 0 if number else FILE_HEADER
            number += 1
            if page[start] not in LEAVES:
                continue
            for at in _places(page, start):
                try:
                    yield _row(file, page, at)
                except (IndexError, ValueError):
                    continue  # damaged


def _places(page: bytes, start: int) -> Iterator[int]:
    """Yield the offsets of rows on a leaf page, even if the number of rows is damaged.

    The offsets form an array, which only unused bytes separate from the first row.
    """
    count = int.from_bytes(page[start + 3 : start + 5])
    for number, pointer in enumerate(range(start + 8, len(page) - 1, 2)):
        at = int.from_bytes(page[pointer : pointer + 2])
        if number >= count and not at:
            return
        if pointer < at < len(page):
            yield at


def _page(file: IO[bytes], index: int, page_size: int) -> bytes:
    """Return a page, counted from 0; empty if the file has no such page."""
    if not 0 <= index * page_size < file.seek(0, os.SEEK_END):
        return b""
    file.seek(index * page_size)
    return file.read(page_size)


def _row(file: IO[bytes], page: bytes, at: int) -> Row:
    """Read the row that begins at ``at``.

    :raises IndexError, ValueError: the row is damaged.
    """
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if size > file.seek(0, os.SEEK_END):
        raise ValueError("a row is larger than the file")
    record = _payload(file, page, at, size)
    head, place = _varint(record, 0)
    types = []
    while place < head:
        kind, place = _varint(record, place)
        types.append(kind)
    columns: list[bytes | str | None] = []
    for kind in types:
        length = (kind - FIRST_BLOB) // 2 if kind >= FIRST_BLOB else _NUMBER_SIZES[kind]
        value = record[place : place + length]
        if len(value) < length:
            raise ValueError("a value is cut off")
        place += length
        columns.append(None if kind < FIRST_BLOB else value.decode() if kind % 2 else value)
    return Row(rowid, tuple(columns))


def _payload(file: IO[bytes], page: bytes, at: int, size: int) -> bytes:
    """Return ``size`` bytes that begin on a page and may continue on overflow pages.

    :raises ValueError: an overflow page is missing.
    """
    usable = len(page)
    local = size
    if size > usable - 35:
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        if local > usable - 35:
            local = least
    parts = [page[at : at + local]]
    following = int.from_bytes(page[at + local : at + local + 4])
    left = size - local
    while left > 0:
        more = _page(file, following - 1, usable)
        if len(more) < usable:
            raise ValueError("an overflow page is missing")
        parts.append(more[4 : 4 + left])
        left -= usable - 4
        following = int.from_bytes(more[:4])
    return b"".join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and the offset of its end."""
    value = 0
    for count in range(8):
        byte = data[at + count]
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9
