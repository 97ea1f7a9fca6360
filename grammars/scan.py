"""Where in a stream of bytes a kernel says something worth reading.

Hyperscan looks for all literals at once, at the speed of memory; nothing else touches the noise between
the hits. A hit makes its line worth reading, and as many lines of the same host after it (and a few before)
as its literal asks for; every further hit keeps the window open. What lies in a window goes through
:class:`grammars.lines.Reader`, which takes the transport's prefixes off.

Time is linear and memory bounded whatever the input: it is looked at in blocks of :data:`BLOCK` bytes, lines
are cut at :data:`grammars.lines.LONGEST`, a window is a number of lines, and :data:`HOSTS` hosts at most have one.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import hyperscan

from grammars.lines import LONGEST, Reader
from grammars.transports import pstore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from grammars.model import Line

__all__ = ["BLOCK", "HISTORY", "HOSTS", "Literal", "Scanner"]

BLOCK: Final = 1024 * 1024
"""Bytes looked at in one go."""
HISTORY: Final = 32
"""Input lines before a hit that can still be reached."""
HOSTS: Final = 4096
"""Hosts with an open window; the one whose window opened first loses it."""
SPARSE: Final = 24
"""Input lines that a window may go through for each line it yields: of other hosts, or of a journal's entry."""

_ESCAPE: Final = re.compile(
    rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)?|[@-Z\\^_])"
)
_LEADING_NULS: Final = re.compile(rb"(?m)^\0+")
_WORD: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_ESCAPED: Final = (b"\\x0a", b"\\x09", b"#012", b"#011", b"\\n", b"\\t")
"""Line breaks and tabs as records write them; they end in what looks like a part of the next word."""


class Literal(NamedTuple):
    """Text whose appearance makes a line worth reading."""

    text: str
    """ASCII, as the kernel writes it; if it begins with a letter or digit, a word begins there."""
    after: int = 0
    """Lines worth reading after it; 0: only the line itself."""
    before: int = 0
    """Lines worth reading before it, at most :data:`HISTORY`."""
    caseless: bool = False


class _Hit(NamedTuple):
    start: int
    end: int
    literal: Literal


_HEADERS: Final = tuple(Literal(f"{reason}#") for reason in pstore.REASONS)


@functools.lru_cache(maxsize=8)
def _database(literals: tuple[Literal, ...]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[literal.text.encode("ascii") for literal in literals],
        ids=list(range(len(literals))),
        elements=len(literals),
        flags=[hyperscan.HS_FLAG_CASELESS if literal.caseless else 0 for literal in literals],
        literal=True,
    )
    return database


def _overlong(block: bytes) -> bool:
    """Say whether a line of the block is longer than LONGEST, looking at few of its bytes."""
    at = 0
    while at + LONGEST < len(block):
        at = block.rfind(b"\n", at, at + LONGEST + 1) + 1
        if not at:
            return True
    return False


def _cut(line: bytes) -> Iterator[bytes]:
    """Yield the line in pieces of LONGEST; the last one is what is left, none of them begins with NULs."""
    at = 0
    while len(line) - at > LONGEST:
        yield line[at : at + LONGEST]
        at += LONGEST
        while line[at : at + 1] == b"\0":
            at += 1
    yield line[at:]


class Scanner:
    """Bytes in, lines worth reading out, in the order of the input.

    A line is yielded as soon as its newline was fed. The records of pstore, newest first in the input, are
    put in order and yielded when the last of them is over.
    """

    def __init__(self, literals: Iterable[Literal]) -> None:
        self._given = tuple(dict.fromkeys(literals))
        self._literals = self._given + _HEADERS
        self._database = _database(self._literals)
        self._scratch = hyperscan.Scratch(self._database)
        self._restart()

    def _restart(self) -> None:
        self._reader = Reader()
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 1  # of the next block's first line
        self._history: deque[tuple[int, bytes, bytes | None]] = deque(maxlen=HISTORY)
        self._windows: dict[str, int] = {}  # lines still wanted, by host
        self._due = 0  # lines wanted once the record being read is complete
        self._budget = 0  # input lines that the windows may still go through
        self._records: pstore.Records | None = None

    def feed(self, chunk: bytes) -> list[Line]:
        """Lines worth reading that ``chunk`` completes."""
        found: list[Line] = []
        for at in range(0, len(chunk), BLOCK):
            part = chunk if len(chunk) <= BLOCK else chunk[at : at + BLOCK]
            self._parts.append(part)
            self._size += len(part)
            if self._size > LONGEST or b"\n" in part:
                found += self._complete(b"".join(self._parts))
        return found

    def close(self) -> list[Line]:
        """Lines worth reading that the end completes; the scanner is as new after it."""
        found = self._complete(b"".join((*self._parts, b"\n"))) if self._parts else []
        if self._records is not None:
            found += self._reassemble()
        found += self._reader.flush()
        self._restart()
        return found

    def _complete(self, data: bytes) -> list[Line]:
        """Look at the lines that are complete; keep the rest."""
        end = data.rfind(b"\n") + 1
        block, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
        if b"\0" in data:  # a file that lost its blocks in the crash; the next line begins right after them
            block, rest = _LEADING_NULS.sub(b"", block), rest.lstrip(b"\0")
        numbers: list[int] | None = None
        number = self._number
        if len(rest) > LONGEST or _overlong(block):
            pieces: list[bytes] = []
            numbers = []
            for line in block.split(b"\n")[:-1]:
                for piece in _cut(line):
                    pieces.append(piece)
                    numbers.append(number)
                number += 1
            *more, rest = _cut(rest)
            pieces += more
            numbers += [number] * len(more)
            block = b"\n".join((*pieces, b""))
        self._parts = [rest] if rest else []
        self._size = len(rest)
        found, lines = self._scan(block, numbers)
        self._number = number if numbers is not None else number + lines
        return found

    def _scan(self, block: bytes, numbers: Sequence[int] | None = None) -> tuple[list[Line], int]:  # noqa: C901, PLR0912, PLR0915
        """Read the windows of a block of whole lines; also its number of lines.

        ``numbers`` are the lines' numbers in the input, where they do not simply follow each other.
        """
        originals: list[bytes] | None = None
        if b"\x1b" in block:
            originals = block.split(b"\n")
            block = _ESCAPE.sub(b"", block)
        hits = self._hits(block)
        hit = next(hits, None)
        found: list[Line] = []
        reader = self._reader
        first, at, index, end = self._number, 0, 0, len(block)
        while at < end:
            if not self._windows and not reader.pending and self._records is None:
                if hit is None:
                    break
                line = block.rfind(b"\n", at, hit.start) + 1 or at
                index += block.count(b"\n", at, line)
                context = self._before(block, at, line, index, hit, originals, numbers)
                reader.gap()
            else:
                line, context = at, []
            at = block.index(b"\n", line) + 1
            text = block[line : at - 1]
            number = first + index if numbers is None else numbers[index]
            original = None if originals is None else originals[index]
            index += 1
            wanted, header = 0, False
            while hit is not None and hit.start < at:
                wanted = max(wanted, 1 + hit.literal.after)
                header = header or hit.start == line and hit.literal in _HEADERS
                hit = next(hits, None)
            if self._records is not None or (
                header and pstore.HEADER.re_match(text.decode("latin-1").rstrip("\r"))
            ):
                if self._records is None:
                    self._records, self._windows = pstore.Records(), {}
                    found += reader.flush()
                if self._records.read(number, text):
                    continue
                found += self._reassemble()
                if header:
                    self._records = pstore.Records()
                    self._records.read(number, text)
                    continue
            earlier = [row for part in context for row in reader.read(*part)]
            rows = reader.read(number, text, original)
            if wanted:
                self._due = max(self._due, wanted)
                self._budget = max(self._budget, SPARSE * (wanted + 1))
            if rows:
                host = rows[-1].host
                found += [row for row in earlier if row.host == host]
                found += self._admit(rows)
                self._due = 0
            elif not reader.pending:
                self._due = 0
            self._budget -= 1
            if self._budget <= 0:
                self._windows.clear()
        lines = index + block.count(b"\n", at)
        self._remember(block, at, lines, originals, numbers)
        return found, lines

    def _hits(self, block: bytes) -> Iterator[_Hit]:
        """Where the literals are, in the order of their ends."""
        ends: list[tuple[int, int]] = []

        def note(which: int, _start: int, end: int, _flags: int, _context: object) -> None:
            ends.append((end, which))

        self._database.scan(block, match_event_handler=note, scratch=self._scratch)
        for end, which in ends:
            literal = self._literals[which]
            start = end - len(literal.text)
            if (
                start
                and block[start - 1] in _WORD
                and block[start] in _WORD
                and not block[max(start - 4, 0) : start].endswith(_ESCAPED)
            ):
                continue  # inside a word
            yield _Hit(start, end, literal)

    def _admit(self, rows: list[Line]) -> list[Line]:
        """Lines that a window wants; a due hit opens it."""
        windows = self._windows
        kept = []
        for row in rows:
            left = windows.get(row.host, 0)
            wanted = max(left, self._due)
            if wanted:
                kept.append(row)
                if wanted > 1:
                    if not left and len(windows) >= HOSTS:
                        del windows[next(iter(windows))]
                    windows[row.host] = wanted - 1
                elif left:
                    del windows[row.host]
            elif not row.host and windows:  # a line that lost its prefix
                kept.append(row)
        return kept

    def _before(
        self,
        block: bytes,
        at: int,
        line: int,
        index: int,
        hit: _Hit,
        originals: list[bytes] | None,
        numbers: Sequence[int] | None,
    ) -> list[tuple[int, bytes, bytes | None]]:
        """Input lines before the hit's that are wanted too: its literal's, and the beginning of its record."""
        wanted = hit.literal.before
        head = block[line : line + 32].lstrip()
        if head.startswith((b"MESSAGE", b"_", b"SYSLOG_")):
            wanted = HISTORY
        elif head.startswith(b'"msg"'):
            wanted = 4 * wanted + 3
        context: deque[tuple[int, bytes, bytes | None]] = deque()
        while len(context) < wanted and line > at:
            start = block.rfind(b"\n", at, line - 1) + 1 or at
            index -= 1
            number = self._number + index if numbers is None else numbers[index]
            context.appendleft(
                (number, block[start : line - 1], None if originals is None else originals[index])
            )
            line = start
        if line == 0:
            context.extendleft(entry for entry in list(self._history)[::-1][: wanted - len(context)])
        return list(context)

    def _remember(
        self, block: bytes, at: int, lines: int, originals: list[bytes] | None, numbers: Sequence[int] | None
    ) -> None:
        """Keep the last lines that were not read: the next block may begin with a hit."""
        if at:
            self._history.clear()
        last: list[tuple[int, bytes, bytes | None]] = []
        line, index = len(block), lines
        while line > at and len(last) < HISTORY:
            start = block.rfind(b"\n", at, line - 1) + 1 or at
            index -= 1
            number = self._number + index if numbers is None else numbers[index]
            last.append((number, block[start : line - 1], None if originals is None else originals[index]))
            line = start
        self._history.extend(reversed(last))

    def _reassemble(self) -> list[Line]:
        """The records of pstore that are complete, read in their right order."""
        lines = self._records.lines() if self._records else []
        self._records = None
        if not lines:
            return []
        inner = Scanner(self._given)
        block = b"".join(line + b"\n" for _, line in lines)
        return [*inner._scan(block, [number for number, _ in lines])[0], *inner.close()]  # noqa: SLF001
