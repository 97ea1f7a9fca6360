"""Records of pstore: the ring buffer of a crashed kernel, in parts, the newest part first.

``Panic#1 Part1`` is the first line of a record; its other lines have the form ``<4>[   12.345678] text``. A
crash may be dumped twice (``Oops#1``, then ``Panic#2``): the later dump repeats lines of the earlier one, of
which only the lines before them are read. ramoops ends a record with a line about its error correction.

Sources: fs/pstore/platform.c (pstore_dump), fs/pstore/ram.c, kernel/printk/printk.c (kmsg_dump_reason_str).
"""

from __future__ import annotations

from typing import Final

from kpanic.grammars.lazy import regex
from kpanic.grammars.transport import Transport

_REASONS: Final = ("Panic", "Oops", "Emergency", "Shutdown", "Unknown", "Restart", "Halt", "Poweroff")
_HEADER: Final = regex(rf"(?P<reason>{'|'.join(_REASONS)})#(?P<count>\d{{1,9}}) Part(?P<part>\d{{1,9}})$")
"""``Oops#1 Part1``."""
_TRAILER: Final = regex(r"ECC: No errors detected|\d+ Corrected bytes, \d+ unrecoverable blocks|#### .*|$")
"""A line between two records, of ramoops or of a script that prints several files."""

_MOST: Final = 4 * 1024 * 1024
"""Maximum bytes kept of an incomplete dump; a ring buffer is smaller."""

_OVERHEAD: Final = 100
"""Bytes of memory that a line takes besides its text."""

_Numbered = tuple[int, bytes]


class _Records:
    """Collects the records of the dumps of one boot."""

    def __init__(self) -> None:
        self._dumps: dict[tuple[int, str], dict[int, list[_Numbered]]] = {}
        self._part: list[_Numbered] = []
        self._size = 0

    def read(self, number: int, line: bytes) -> bool:
        """Take a line; return False if it is not part of these records, which ends them."""
        text = line.rstrip(b"\r")
        self._size += len(text) + _OVERHEAD
        if self._size > _MOST:
            return False
        if text[:1].isalpha() and (header := _HEADER.match(text.decode("latin-1"))):
            parts = self._dumps.setdefault((int(header["count"]), header["reason"]), {})
            if int(header["part"]) in parts:  # of another boot
                return False
            self._part = parts[int(header["part"])] = []
        elif text[:1] == b"[":  # a line of a console: lines of records begin with a level
            return False
        elif text[:1] == b"<" or not _TRAILER.match(text.decode("latin-1")):
            self._part.append((number, line))
        return True

    def lines(self) -> list[_Numbered]:
        """Return all lines, oldest first, without duplicates."""
        merged: list[_Numbered] = []
        for key in sorted(self._dumps):
            parts = self._dumps[key]
            dump = [line for part in sorted(parts, reverse=True) for line in parts[part]]
            if merged and dump:
                first = dump[0][1]
                start = next((i for i, (_, line) in enumerate(merged) if line == first), None)
                if start is not None:
                    merged = merged[:start] + dump
                    continue
                held = {line for _, line in dump}
                merged = [line for line in merged if line[1] not in held] + dump
            else:
                merged = merged or dump
        return merged


def _begins(line: bytes) -> bool:
    return _HEADER.match(line.rstrip(b"\r").decode("latin-1")) is not None


PSTORE: Final = Transport(
    name="pstore",
    marks=tuple(f"{reason}#" for reason in _REASONS),
    begins=_begins,
    records=_Records,
)
