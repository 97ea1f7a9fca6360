"""Where in a stream of bytes a kernel says something worth reading.

Hyperscan looks for all literals at once, at the speed of memory; nothing else touches the noise between
the hits. A hit makes its line worth reading, and as many lines of the same host after it (and a few before)
as its literal asks for; every further hit keeps the window open. What lies in a window goes through
:class:`grammars.lines.Reader`, which takes the transport's prefixes off.

Time is linear and memory bounded whatever the input: it is looked at in blocks of :data:`BLOCK` bytes, lines
are cut at :data:`LONGEST`, a window is a number of lines, and :data:`HOSTS` hosts at most have one.
"""

from __future__ import annotations

import functools
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import hyperscan

from grammars.lines import Reader
from grammars.transports import pstore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from grammars.model import Line

__all__ = ["BLOCK", "HISTORY", "HOSTS", "LONGEST", "Literal", "Scanner", "Search"]

BLOCK: Final = 256 * 1024
"""Bytes looked at in one go; a processor's cache holds them."""
LONGEST: Final = 8 * 1024
"""Bytes. A printk record has 1 KiB, in JSON or escaped 6; longer lines come in pieces ending in ``…``."""
HISTORY: Final = 256
"""Input lines before a hit that can still be reached."""
HOSTS: Final = 4096
"""Hosts with an open window; the one whose window opened first loses it."""
HELD: Final = 16 * 1024
"""Single lines that are held until their host crashes, of all hosts together."""
HELD_BY_HOST: Final = 64
"""And of one host since its boot."""
SPARSE: Final = 24
"""Input lines that a window may go through for each line it yields: other hosts', or of a journal's entry."""

_ESCAPE: Final = re.compile(
    rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)?|[@-Z\\^_])"
)
_LEADING_NULS: Final = re.compile(rb"\n\0+")
_HOST: Final = re.compile(
    rb"(?:<\d{1,3}>)?\[ *\d+\.\d+\](?! ?[^\s:]+ kernel[:\[])"
    rb"|(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} )?(?:[A-Z][a-z]{2} [ \d]\d|\d{4}-\d\d-\d\d[T ])[ \d:.+Z-]+ "
    rb"(?P<host>[^\s:\[]+) kernel[:\[]"
)
"""The beginning of lines that can be held: forms of one line that tell their host at once."""
_USUAL: Final = 256
"""Bytes of a line, enough for most: a run of lines is cut from so many times their number."""
_NEAR: Final = 256
"""Bytes within which hits are looked at for whether they share a line."""
_MORE: Final = "…".encode()
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
    """Lines worth reading before it, of its host, at most :data:`HISTORY`."""
    boot: bool = False
    """A boot begins with it: single lines of the same host before it are worth nothing any more."""
    header: bool = False
    """A record of pstore begins with it."""


class _Hit(NamedTuple):
    start: int
    literal: Literal


_HIT: Final = functools.partial(tuple.__new__, _Hit)
"""Its constructor, without the cost of a call in Python."""
_HEADERS: Final = tuple(Literal(f"{reason}#", header=True) for reason in pstore.REASONS)


class Search:
    """Literals, ready to be looked for; all scanners and all threads share one."""

    def __init__(self, literals: Iterable[Literal]) -> None:
        """Compile the literals; of the same text the ones that ask for more."""
        kept: dict[str, Literal] = {}
        for literal in (*literals, *_HEADERS):
            other = kept.get(literal.text, literal)
            kept[literal.text] = Literal(
                literal.text,
                max(literal.after, other.after),
                max(literal.before, other.before),
                boot=literal.boot or other.boot,
                header=literal.header or other.header,
            )
        self.literals = tuple(kept.values())
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[literal.text.encode("ascii") for literal in self.literals],
            ids=list(range(len(self.literals))),
            elements=len(self.literals),
            flags=[0] * len(self.literals),
            literal=True,
        )
        self._own = threading.local()

    def ends(self, data: bytes) -> list[tuple[int, int]]:
        """Return where a literal ends and its number, for each that is found, in the order of the ends."""
        scratch = getattr(self._own, "scratch", None)
        if scratch is None:  # a thread may not scan with another's
            scratch = self._own.scratch = hyperscan.Scratch(self._database)
        found: list[tuple[int, int]] = []

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((end, number))

        self._database.scan(data, match_event_handler=note, scratch=scratch)
        found.sort()  # Hyperscan promises no order
        return found


def _without_escapes(data: bytes) -> bytes:
    if data.count(b"\x1b") * _USUAL > len(data):
        return _ESCAPE.sub(b"", data)
    head, *pieces = data.split(b"\x1b")  # few: faster than to search with an expression
    return b"".join((head, *(_ESCAPE.sub(b"", b"\x1b" + piece, count=1) for piece in pieces)))


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
        yield line[at : at + LONGEST] + _MORE
        at += LONGEST
        while line[at : at + 1] == b"\0":
            at += 1
    yield line[at:]


class _Numbered(NamedTuple):
    number: int
    line: bytes
    original: bytes | None
    """The line with its escape sequences, if it had some."""


class _Block:
    """Whole lines, and how far they have been read or passed over."""

    def __init__(self, data: bytes, number: int, numbers: Sequence[int] | None) -> None:
        """Of lines numbered ``numbers``, or from ``number`` on."""
        self.coloured = data if b"\x1b" in data else b""
        if self.coloured:  # a literal may be coloured in its midst
            data = _without_escapes(data)
        self.data, self.number, self.numbers = data, number, numbers
        self.at = 0
        self.index = 0
        self._counted = 0, 0

    def index_of(self, start: int) -> int:
        """Count the lines before the one that starts there; going forward, each byte is counted once."""
        at, index = self._counted if self.at <= self._counted[0] <= start else (self.at, self.index)
        self._counted = start, index + self.data.count(b"\n", at, start)
        return self._counted[1]

    def line_at(self, start: int) -> _Numbered:
        """Look at the line that starts there; its escape sequences are not worth a split of all lines."""
        index = self.index_of(start)
        number = self.number + index if self.numbers is None else self.numbers[index]
        return _Numbered(number, self.data[start : self.data.index(b"\n", start)], None)

    @functools.cached_property
    def originals(self) -> list[bytes]:
        """Lines with their escape sequences."""
        return self.coloured.split(b"\n")

    def _numbered(self, index: int, start: int, end: int) -> _Numbered:
        number = self.number + index if self.numbers is None else self.numbers[index]
        return _Numbered(number, self.data[start:end], self.originals[index] if self.coloured else None)

    def pass_over(self, offset: int) -> None:
        """Go to the line that holds the offset."""
        start = self.data.rfind(b"\n", self.at, offset) + 1 or self.at
        self.index = self.index_of(start)
        self.at = start

    def back(self, start: int, most: int) -> list[_Numbered]:
        """At most so many lines right before the current one, none of them before ``start``."""
        lines: list[_Numbered] = []
        end, index = self.at, self.index
        while end > start and len(lines) < most:
            index -= 1
            begin = self.data.rfind(b"\n", start, end - 1) + 1 or start
            lines.append(self._numbered(index, begin, end - 1))
            end = begin
        return lines[::-1]

    def line(self) -> _Numbered:
        """Read the current line."""
        end = self.data.index(b"\n", self.at)
        line = self._numbered(self.index, self.at, end)
        self.at, self.index = end + 1, self.index + 1
        return line

    def run(self, before: int, most: int) -> bytes:
        """Read at most so many whole lines that end before an offset.

        Only for lines that have no originals and whose numbers follow each other.
        """
        stop = self.data.rfind(b"\n", self.at, min(before, self.at + most * _USUAL)) + 1
        lines = self.data[self.at : stop]
        count = lines.count(b"\n")
        if count > most:
            lines = b"\n".join((*lines.split(b"\n", most)[:most], b""))
            count = most
        self.at, self.index = self.at + len(lines), self.index + count
        return lines


class _Unread(NamedTuple):
    block: _Block
    start: int
    """Offset of the first line that was not read."""
    lines: int


class Scanner:
    """Bytes in, lines worth reading out, those of a host in the order of the input.

    A line of a window is yielded as soon as its newline was fed. What a boot says of itself is held until its
    host crashes, and dropped when that boots again; :meth:`close` yields what is held. The records of pstore,
    newest first in the input, are put in order and yielded when the last of them is over.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._restart()

    def _restart(self) -> None:
        self._reader = Reader()
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 1  # of the next block's first line
        self._history: deque[_Unread] = deque()
        self._remembered = 0  # lines of it
        self._windows: dict[str, int] = {}  # lines still wanted, by host
        self._due: dict[int, int] = {}  # lines that hits want, by the number of their line
        self._earlier: list[Line] = []  # what was read before a hit whose record is not yet complete
        self._before = 0  # and how much of it is wanted
        self._budget = 0  # input lines that the windows may still go through
        self._records: pstore.Records | None = None
        self._held: dict[bytes, deque[_Numbered]] = {}  # single lines of hosts that did not crash
        self._holding = 0
        self._crashed: dict[bytes, None] = {}  # hosts of which all single lines are worth reading

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
        found += self._admit(self._reader.flush())
        for host in list(self._held):
            found += self._release(host.decode("utf-8", "replace"), self._number)
        self._restart()
        return found

    def _complete(self, data: bytes) -> list[Line]:
        """Look at the lines that are complete; keep the rest."""
        end = data.rfind(b"\n") + 1
        block, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
        if b"\0" in data:  # a file that lost its blocks in the crash; the next line begins right after them
            block, rest = _LEADING_NULS.sub(b"\n", block.lstrip(b"\0")), rest.lstrip(b"\0")
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
        found, lines = self._scan(_Block(block, self._number, numbers))
        self._number = number if numbers is not None else number + lines
        return found

    def _scan(self, block: _Block) -> tuple[list[Line], int]:
        """Read the windows of a block; also its number of lines."""
        hits = self._hits(block.data)
        heads = deque(hit.start for hit in hits if hit.literal.header)
        found: list[Line] = []
        end = len(block.data)
        plain = not block.coloured and block.numbers is None
        while block.at < end:
            context: list[_Numbered] = []
            if self._records is None and not self._reader.pending:
                if not self._windows:
                    self._hold(block, hits)
                    if not hits:
                        break
                    context = self._reach(block, hits[0])
                elif plain and (lines := block.run(heads[0] if heads else end, self._most())):
                    first = block.number + block.index - lines.count(b"\n")
                    self._expect(block, hits, block.at - len(lines), first)
                    found += self._admit(self._reader.run(first, lines))
                    continue
            start = block.at
            line = block.line()
            self._expect(block, hits, start, line.number)
            header = bool(heads) and heads[0] < block.at
            while heads and heads[0] < block.at:
                heads.popleft()
            if self._records is not None or header:
                rows, taken = self._record(line, header=header)
                found += rows
                if taken:
                    continue
            for part in context:
                self._earlier += self._reader.read(*part)
            found += self._admit(self._reader.read(*line))
        self._remember(block)
        return found, block.index

    def _hits(self, data: bytes) -> deque[_Hit]:
        """Where the literals are, in the order of their ends."""
        hits: deque[_Hit] = deque()
        literals = self._search.literals
        last, most = -_NEAR, 0  # the hit before; a further one on its line may ask no more
        for end, which in self._search.ends(data):
            literal = literals[which]
            if (
                end - last < _NEAR
                and literal.after <= most
                and not literal.header
                and b"\n" not in data[last:end]
            ):
                last = end
                continue
            start = end - len(literal.text)
            if (
                start
                and data[start - 1] in _WORD
                and data[start] in _WORD
                and not data[max(start - 4, 0) : start].endswith(_ESCAPED)
            ):
                continue  # inside a word
            hits.append(_HIT((start, literal)))
            last, most = end, literal.after
        return hits

    def _hold(self, block: _Block, hits: deque[_Hit]) -> None:
        """Hold single lines back until their host crashes: few boots do, and the next one makes them void."""
        data = block.data
        held: dict[bytes, list[int]] = {}
        while hits:
            start, literal = hits[0]
            line = data.rfind(b"\n", block.at, start) + 1 or block.at
            match = None if literal.after or literal.header else _HOST.match(data, line)
            if match is None:
                break
            host = match[1] or b""
            if host in self._crashed:
                if literal.boot:
                    del self._crashed[host]
                break
            if literal.boot:
                self._void(host)
                held[host] = []
            lines = held.setdefault(host, [])
            if not lines or lines[-1] != line:
                lines.append(line)
            hits.popleft()
        half = HELD_BY_HOST // 2
        for line, host in sorted(
            (line, host) for host, at in held.items() for line in {*at[:half], *at[-half:]}
        ):
            queue = self._held.setdefault(host, deque())
            queue.append(block.line_at(line))
            self._holding += 1
            if len(queue) > HELD_BY_HOST:
                del queue[half]  # the banner is among the first, and the last are nearest to the crash
                self._holding -= 1
            if self._holding > HELD:
                self._void(next(iter(self._held)))

    def _void(self, host: bytes) -> deque[_Numbered]:
        """Hold a host's lines no longer."""
        lines = self._held.pop(host, deque())
        self._holding -= len(lines)
        return lines

    def _release(self, host: str, before: int) -> list[Line]:
        """Read the lines that are held of a host; only those before a line's number."""
        reader = Reader()
        return [
            row
            for line in self._void(host.encode("utf-8", "replace"))
            if line.number < before
            for row in reader.read(*line)
        ]

    def _most(self) -> int:
        """Lines that can be read before the last window closes."""
        return min(max(self._windows.values()), self._budget)

    def _reach(self, block: _Block, hit: _Hit) -> list[_Numbered]:
        """Go to the hit's line; the lines before it that its literal or its record wants too."""
        start = block.at
        block.pass_over(hit.start)
        self._reader.gap()
        self._earlier = []
        wanted = self._before = hit.literal.before
        head = block.data[block.at : block.at + 32].lstrip()
        if head.startswith((b"MESSAGE", b"SYSLOG_", b"_")):
            wanted = min(SPARSE * (wanted + 1), HISTORY)
        elif not head.startswith((b"[", b"<")):  # a record of several lines, perhaps
            wanted = 4 * wanted + 3
        context = block.back(start, wanted)
        if start == 0:
            for past in reversed(self._history):
                if len(context) >= wanted:
                    break
                context = [*past.block.back(past.start, wanted - len(context)), *context]
        return context

    def _expect(self, block: _Block, hits: deque[_Hit], at: int, number: int) -> None:
        """Note what the hits in the lines just read want: from offset ``at``, line ``number``, on."""
        last = number + block.data.count(b"\n", at, block.at)
        self._budget -= last - number
        while hits and hits[0].start < block.at:
            hit = hits.popleft()
            if hit.start > at:
                number += block.data.count(b"\n", at, hit.start)
                at = hit.start
            wanted = 1 + hit.literal.after
            self._due[number] = max(self._due.get(number, 0), wanted)
            self._budget = max(self._budget, SPARSE * (wanted + 1) - (last - number))

    def _admit(self, rows: list[Line]) -> list[Line]:
        """Lines that a window wants; one with a hit on it opens it, or keeps it open."""
        kept = rows if self._usual(rows) else [line for row in rows for line in self._window(row)]
        if not self._reader.pending:
            self._due.clear()
            if self._budget <= 0:
                self._windows.clear()
        return kept

    def _window(self, row: Line) -> list[Line]:
        """Give a line to its host's window: the line, if that wants it, and what opens with it."""
        windows = self._windows
        left = windows.get(row.host, 0)
        wanted = max(left, self._due.get(row.number, 0))
        if not wanted:
            return [row] if windows and not row.host else []  # without a host it may have lost its prefix
        if wanted > 1:
            if not left and len(windows) >= HOSTS:
                del windows[next(iter(windows))]
            windows[row.host] = wanted - 1
            self._crashed[row.host.encode()] = None
            if len(self._crashed) > HOSTS:
                del self._crashed[next(iter(self._crashed))]
        elif left:
            del windows[row.host]
        return [row] if left else [*self._leading(row), row]

    def _leading(self, row: Line) -> list[Line]:
        """Lines that come before one that opens a window: those that were held, and the context."""
        context = [line for line in self._earlier if line.host == row.host]
        context = context[max(len(context) - self._before, 0) :]
        self._earlier = []
        return [*self._release(row.host, (context or [row])[0].number), *context]

    def _usual(self, rows: list[Line]) -> bool:
        """Admit lines that all belong to the one window there is; False: they do not."""
        if len(self._windows) != 1 or not rows:
            return False
        ((host, left),) = self._windows.items()
        size, first = len(rows), rows[0].number
        if size > left or rows[-1].number != first + size - 1 or {row.host for row in rows} != {host}:
            return False
        left -= size
        for number, wanted in self._due.items():
            if first <= number < first + size:
                left = max(left, wanted - (size - (number - first)))
        if left:
            self._windows[host] = left
        else:
            del self._windows[host]
        return True

    def _remember(self, block: _Block) -> None:
        """Keep what was not read: the next block may begin with a hit that wants lines before it."""
        start, index = block.at, block.index
        block.pass_over(len(block.data))
        if start:
            self._history.clear()
            self._remembered = 0
        if block.index > index:
            self._history.append(_Unread(block, start, block.index - index))
            self._remembered += block.index - index
        while self._remembered > HISTORY and self._remembered - HISTORY >= self._history[0].lines:
            self._remembered -= self._history.popleft().lines

    def _record(self, line: _Numbered, *, header: bool) -> tuple[list[Line], bool]:
        """Give a line to the records of pstore; what it completes, and whether it was one of theirs."""
        text = line.line.rstrip(b"\r").decode("latin-1")
        header = header and pstore.HEADER.re.match(text) is not None
        found: list[Line] = []
        if self._records is not None:
            if self._records.read(line.number, line.line):
                return found, True
            found = self._reassemble()
        elif header:
            found = self._admit(self._reader.flush())
            self._windows.clear()
        if header:
            self._records = pstore.Records()
            self._records.read(line.number, line.line)
        return found, header

    def _reassemble(self) -> list[Line]:
        """Read the collected records of pstore in their right order."""
        lines = self._records.lines() if self._records else []
        self._records = None
        if not lines:
            return []
        inner = Scanner(self._search)
        block = _Block(b"".join(line + b"\n" for _, line in lines), 1, [number for number, _ in lines])
        return [*inner._scan(block)[0], *inner.close()]
