"""Reassembles a flattened dump that is cut off, such as kdump's over ssh, as far as it goes.

    python -I -S flattened.py ROOM < DUMP > FILE

A flattened dump is a sequence of blocks, each with its place in the dump (makedumpfile.h). drgn reads one
that is whole, of which nothing is written here, and refuses one without its end mark. Zeros become holes.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BEGIN", "MAGIC", "Block", "blocks", "put_together"]

MAGIC: Final = b"makedumpfile"
BEGIN: Final = 4096
"""Place of the first block."""
END: Final = -1
"""Offset that marks the end, after the last block."""
CHUNK: Final = 1 << 16
"""Bytes that are copied at a time."""
_HEADER: Final = struct.Struct(">qq")
"""``struct makedumpfile_data_header``."""


class Block(NamedTuple):
    """A part of a dump.

    :ivar offset: where it belongs; ``END`` for the mark behind the last one.
    :ivar place: where its bytes are in the file.
    :ivar size: bytes that the file states, even if some are missing.
    """

    offset: int
    place: int
    size: int


def blocks(source: int) -> Iterator[Block]:
    """Yield the blocks of a file, up to its end or the first invalid one."""
    place = BEGIN
    while len(head := os.pread(source, _HEADER.size, place)) == _HEADER.size:
        offset, size = _HEADER.unpack(head)
        place += _HEADER.size
        if offset == END:
            yield Block(END, place, 0)
        if offset < 0 or size <= 0:
            return
        yield Block(offset, place, size)
        place += size
        if place > sys.maxsize:
            return


def put_together(source: int, target: int, room: int) -> None:
    """Write the blocks of a file to where they belong.

    :param room: maximum bytes that are written, and of the size of the dump.
    """
    end = written = 0
    for offset, place, size in blocks(source):
        done, length = 0, min(size, room - offset)
        while done < length:
            data = os.pread(source, min(CHUNK, length - done), place + done)
            if not data:
                return
            if offset + done < end or data.count(0) < len(data):
                written += len(data)
                if written > room:
                    return
                os.pwrite(target, data, offset + done)
                end = max(end, offset + done + len(data))
            done += len(data)


def _main(room: int) -> None:
    if any(block.offset == END for block in blocks(0)):
        return
    free = os.fstatvfs(1)
    with contextlib.suppress(OSError):  # the disk is full: the written part counts
        put_together(0, 1, min(room, free.f_bavail * free.f_frsize // 2))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
