"""Blocks of whole lines, in which the input is scanned."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BLOCK", "LONGEST", "Block", "Numbered", "cut", "line_breaks", "overlong"]

BLOCK: Final = 256 * 1024
"""Maximum bytes of a block; they fit into a CPU's cache."""
LONGEST: Final = 8 * 1024
"""Maximum bytes of a line. A printk record has 1 KiB, up to 6 KiB in JSON; longer lines are cut in pieces
that end in ``…``."""

_ESCAPE: Final = regex(
    rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)?|[@-Z\\^_])"
)
_PASTED: Final = regex(rb"(\xc2\xa0|\xe2\x80[\x80-\x8a\xaf])|\xe2\x80[\x8b-\x8d]|\^M(?=\n)|<br ?/?>(?=\r?\n)")
"""Text that web pages and mail programs add: non-breaking and zero-width spaces, ``^M`` as two characters,
and the line break of HTML."""
_MARKS: Final = (b"\xc2\xa0", b"\xe2\x80", b"^M\n", b"<br")
"""Bytes of which each such text contains one."""
_USUAL: Final = 256
"""Bytes of most lines: a run of lines is cut from this many bytes for each line."""
_STAMP: Final = regex(rb"\[ {0,5}\d{1,7}\.\d{6}\]")
_RECORD: Final = 1024
"""Maximum bytes of a record of printk."""
_MORE: Final = "…".encode()


class Numbered(NamedTuple):
    """A line and its number in the input."""

    number: int
    line: bytes
    original: bytes | None
    """The line with its escape sequences; None if it had none."""


def _pasted(data: bytes) -> bool:
    return any(_holds(data, mark) for mark in _MARKS)


def _holds(data: bytes, text: bytes) -> bool:
    """Tell whether data contains a text; faster than ``in`` if the first byte of the text is rare."""
    at = data.find(text[0])
    while at >= 0:
        if data.startswith(text, at):
            return True
        at = data.find(text[0], at + 1)
    return False


def _without_pasted(data: bytes) -> bytes:
    return _PASTED.sub(lambda found: b" " if found[1] else b"", data)


def _without_escapes(data: bytes) -> bytes:
    kept: list[memoryview] = []  # for few escape sequences this is faster than an expression
    view, at, place, most = memoryview(data), 0, data.find(b"\x1b"), len(data) // _USUAL
    while place >= 0:
        end = place + 1
        if match := _ESCAPE.match(data, place):
            kept.append(view[at:place])
            at = end = match.end()
        most -= 1
        if most < 0:
            return _ESCAPE.sub(b"", data)
        place = data.find(b"\x1b", end)
    return b"".join((*kept, view[at:]))


def line_breaks(data: bytes) -> int:
    """Return the number of line breaks; faster than ``bytes.count``."""
    return len(data) - len(data.replace(b"\n", b""))


def overlong(block: bytes) -> bool:
    """Tell whether a line is longer than :data:`LONGEST`."""
    at = 0
    while at + LONGEST < len(block):
        at = block.rfind(b"\n", at, at + LONGEST + 1) + 1
        if not at:
            return True
    return False


def cut(line: bytes) -> Iterator[bytes]:
    """Yield a line in pieces of at most :data:`LONGEST` bytes; no piece but the first begins with NULs."""
    at = 0
    while len(line) - at > LONGEST:
        end = at + LONGEST
        stamp = max((found.start() for found in _STAMP.finditer(line, end - _RECORD, end)), default=-1)
        if stamp > at:  # a line with several records is cut between them
            yield line[at:stamp]
            at = stamp
            continue
        yield line[at:end] + _MORE
        at = end
        while line[at : at + 1] == b"\0":
            at += 1
    yield line[at:]


class Block:
    """Whole lines, with the place of the next line to read."""

    def __init__(self, data: bytes, number: int, numbers: Sequence[int] | None) -> None:
        """Take the lines' numbers from ``numbers``, or count from ``number`` on if it is None."""
        self.coloured = data if b"\x1b" in data else b""
        if self.coloured:  # an escape sequence may be inside a literal
            data = _without_escapes(data)
        if _pasted(data):
            self.coloured = self.coloured or data
            data = _without_pasted(data)
        self.data, self.number, self.numbers = data, number, numbers
        self.at = 0
        self.index = 0
        self._counted = 0, 0

    def index_of(self, start: int) -> int:
        """Return the index of the line at offset ``start``; ascending calls read each byte once."""
        at, index = self._counted if self.at <= self._counted[0] <= start else (self.at, self.index)
        self._counted = start, index + line_breaks(self.data[at:start])
        return self._counted[1]

    def line_at(self, start: int) -> Numbered:
        """Return the line at offset ``start``."""
        return self._numbered(self.index_of(start), start, self.data.index(b"\n", start))

    @functools.cached_property
    def originals(self) -> list[bytes]:
        """The lines with their escape sequences."""
        return self.coloured.split(b"\n")

    def _numbered(self, index: int, start: int, end: int) -> Numbered:
        number = self.number + index if self.numbers is None else self.numbers[index]
        return Numbered(number, self.data[start:end], self.originals[index] if self.coloured else None)

    def pass_over(self, offset: int) -> None:
        """Go to the line that contains the offset, without reading the lines before it."""
        start = self.data.rfind(b"\n", self.at, offset) + 1 or self.at
        self.index = self.index_of(start)
        self.at = start

    def back(self, start: int, most: int) -> list[Numbered]:
        """Return up to ``most`` lines directly before the current one, but none before offset ``start``."""
        lines: list[Numbered] = []
        end, index = self.at, self.index
        while end > start and len(lines) < most:
            index -= 1
            begin = self.data.rfind(b"\n", start, end - 1) + 1 or start
            lines.append(self._numbered(index, begin, end - 1))
            end = begin
        return lines[::-1]

    def line(self) -> Numbered:
        """Read the current line."""
        end = self.data.index(b"\n", self.at)
        line = self._numbered(self.index, self.at, end)
        self.at, self.index = end + 1, self.index + 1
        return line

    def run(self, before: int, most: int) -> bytes:
        """Read up to ``most`` whole lines that end before offset ``before``.

        The block must have consecutive numbers and no escape sequences.
        """
        stop = self.data.rfind(b"\n", self.at, min(before, self.at + most * _USUAL)) + 1
        lines = self.data[self.at : stop]
        count = line_breaks(lines)
        if count > most:
            lines = b"\n".join((*lines.split(b"\n", most)[:most], b""))
            count = most
        self.at, self.index = self.at + len(lines), self.index + count
        return lines
