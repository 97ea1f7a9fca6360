"""Where in a stream of bytes a kernel says something worth reading.

Hyperscan looks for all literals at once, at the speed of memory; nothing else touches the noise between
the hits but the count of its lines. A hit makes its line worth reading, and as many lines of the same host
after it (and a few before) as its literal asks for; every further hit keeps the window open. What lies in a
window goes through :class:`kpanic.grammars.lines.Reader`, which takes the transport's prefixes off.

Of most boots, and so of most blocks, it is enough to know that some single line in them is worth reading:
they are put aside, and where the lines are is looked up once their host crashes, unless it booted since.

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

from kpanic.grammars.lines import Reader
from kpanic.grammars.transports import pstore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.grammars.model import Line

__all__ = ["BLOCK", "HISTORY", "HOSTS", "LONGEST", "Literal", "Scanner", "Search"]

BLOCK: Final = 256 * 1024
"""Bytes looked at in one go; a processor's cache holds them."""
SHORT: Final = BLOCK // 2
"""Bytes that are read at once, whatever is in them: most logs are one such block."""
LONGEST: Final = 8 * 1024
"""Bytes. A printk record has 1 KiB, in JSON or escaped 6; longer lines come in pieces ending in ``…``."""
HISTORY: Final = 256
"""Input lines before a hit that can still be reached."""
HOSTS: Final = 4096
"""Hosts with an open window; the one whose window opened first loses it."""
HELD: Final = 4 * 1024 * 1024
"""Bytes of single lines that are held until their host crashes, of all hosts together."""
HELD_LINE: Final = 256
"""Bytes that holding a line costs beside its own."""
HELD_BY_HOST: Final = 64
"""And of one host since its boot."""
ASIDE: Final = 16
"""Blocks of which the single lines are not yet looked at."""
SPARSE: Final = 24
"""Input lines that a window may go through for each line it yields: other hosts', or of a journal's entry."""

_ESCAPE: Final = re.compile(
    rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)?|[@-Z\\^_])"
)
_LEADING_NULS: Final = re.compile(rb"\n\0+")
_HOST: Final = re.compile(
    rb"(?:<\d{1,3}>)?\[ *+\d++\.\d++\](?! ?[^\s:]{1,255}+ kernel[:\[])"
    rb"|(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} )?(?:[A-Z][a-z]{2} [ \d]\d|\d{4}-\d\d-\d\d[T ])[ \d:.+Z-]+ "
    rb"(?P<host>[^\s:\[]{1,255}) kernel[:\[]"
)
"""The beginning of lines that can be held: forms of one line that tell their host at once."""
_TOLD: Final = (b" kernel:", b" kernel[", b">1 ", b"_HOSTNAME", b"MESSAGE", b'"msg":', b",ncfrag=")
"""Without any of these a line is whole and names no host: syslog, RFC 5424, the journal, JSON, netconsole."""
_TELLS: Final = re.compile(b"|".join(map(re.escape, _TOLD)))
_USUAL: Final = 256
"""Bytes of a line, enough for most: a run of lines is cut from so many times their number."""
_MORE: Final = "…".encode()
_WORD: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_ESCAPED: Final = (b"\\x0a", b"\\x09", b"#012", b"#011", b"\\n", b"\\t")
"""Line breaks and tabs as records write them; they end in what looks like a part of the next word."""


_NUMBERS: Final = '"MESSAGE":['
"""In JSON, journalctl writes a message that holds control codes as the numbers of its bytes."""
_BYTES: Final = re.compile(rb"(\d{1,3}+(?>(?:,\d{1,3}+)*))\]")


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

    @property
    def opens(self) -> bool:
        """Whether more than its line is worth reading."""
        return bool(self.after or self.before or self.header)


_Hit = tuple[int, int]
"""Where a literal ends, and its number."""
_SHORTEST: Final = b"\xff\xfe"
"""Looked for with the literals, in vain: Hyperscan steps through the text by a little less than the shortest
of them is long, and by shorter steps it is twice as fast here, since fewer places look like a literal."""
WINDOW, SINGLE, TOLD = range(3)
"""Kinds of literals: those that ask for more lines than theirs, those that do not, and _TOLD."""
_HEADERS: Final = tuple(Literal(f"{reason}#", header=True) for reason in pstore.REASONS)


class _Matcher:
    """Literals with numbers, compiled; all threads may scan with it."""

    def __init__(self, texts: Sequence[bytes], numbers: Iterable[int], flags: int) -> None:
        numbers = [*numbers, len(texts)]
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[*texts, _SHORTEST],
            ids=numbers,
            elements=len(numbers),
            flags=[flags] * len(texts) + [hyperscan.HS_FLAG_SINGLEMATCH],
            literal=True,
        )
        self._own = threading.local()

    def scan(self, data: bytes, note: Callable[[int, int, int, int, object], None]) -> None:
        """Call ``note`` with the number of each literal that is found, and as third where it ends."""
        scratch = getattr(self._own, "scratch", None)
        if scratch is None:  # a thread may not scan with another's
            scratch = self._own.scratch = hyperscan.Scratch(self._database)
        self._database.scan(data, match_event_handler=note, scratch=scratch)


class Search:
    """Literals, ready to be looked for; all scanners and all threads share one.

    Those of the records of pstore have the lowest numbers; then come the others that ask for more than their
    line, up to ``windows``; then those that do not. ``boots`` are the numbers of those that begin a boot.
    """

    def __init__(self, literals: Iterable[Literal]) -> None:
        """Compile the literals; of the same text the ones that ask for more."""
        kept: dict[str, Literal] = {}
        for literal in (*literals, *_HEADERS, Literal(_NUMBERS, after=1)):
            other = kept.get(literal.text, literal)
            kept[literal.text] = Literal(
                literal.text,
                max(literal.after, other.after),
                max(literal.before, other.before),
                boot=literal.boot or other.boot,
                header=literal.header or other.header,
            )
        self.literals = tuple(
            sorted(kept.values(), key=lambda literal: (not literal.header, not literal.opens))
        )
        self.headers = sum(literal.header for literal in self.literals)
        self.windows = sum(literal.opens for literal in self.literals)
        self.texts = texts = [literal.text.encode("ascii") for literal in self.literals]
        self.lengths = [len(text) for text in texts]
        self._numbers = [literal.text for literal in self.literals].index(_NUMBERS)
        self.boots = frozenset(number for number, literal in enumerate(self.literals) if literal.boot)
        self._all = _Matcher(texts, range(len(texts)), 0)

    @functools.cached_property
    def _kinds(self) -> _Matcher:
        """The literals and _TOLD by their kinds: 20 ms to compile, five times as long as ``_all``."""
        singles = len(self.texts) - self.windows
        return _Matcher(
            (*self.texts, *_TOLD),
            (*[WINDOW] * self.windows, *[SINGLE] * singles, *[TOLD] * len(_TOLD)),
            hyperscan.HS_FLAG_SINGLEMATCH,
        )

    def kinds(self, data: bytes) -> set[int]:
        """Tell which kinds of literals are found: WINDOW, SINGLE and TOLD; sooner done than :meth:`ends`."""
        found: set[int] = set()

        def note(kind: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            found.add(kind)

        self._kinds.scan(data, note)
        return found

    def begins(self, data: bytes, hit: _Hit) -> int:
        """Return where a literal begins; -1 if it does so inside a word."""
        start = hit[0] - self.lengths[hit[1]]
        inside = (
            start
            and data[start - 1] in _WORD
            and data[start] in _WORD
            and not data[max(start - 4, 0) : start].endswith(_ESCAPED)
        )
        return -1 if inside else start

    def ends(self, data: bytes) -> list[_Hit]:
        """Return where a literal ends and its number, for each that is found, in the order of the ends."""
        found: list[_Hit] = []
        written: list[int] = []
        none, numbers = len(self.literals), self._numbers

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            if number == numbers:
                written.append(end)
            elif number != none:
                found.append((end, number))

        self._all.scan(data, note)
        for end in written:
            found += self._inside(data, end)
        found.sort()  # Hyperscan promises no order
        return found

    def _inside(self, data: bytes, at: int) -> Iterator[_Hit]:
        """Yield the literals in a message that is written in numbers, as if they stood where these begin."""
        numbers = _BYTES.match(data, at, at + LONGEST)
        if numbers is None:
            return
        message = bytes(int(number) & 0xFF for number in numbers[1].split(b","))
        for _, number in self.ends(message):
            if number >= self.headers:
                yield at - 1 + self.lengths[number], number


def _without_escapes(data: bytes) -> bytes:
    if data.count(b"\x1b") * _USUAL > len(data):
        return _ESCAPE.sub(b"", data)
    kept: list[memoryview] = []  # few: faster than to search with an expression
    view, at, place = memoryview(data), 0, data.find(b"\x1b")
    while place >= 0:
        end = place + 1
        if match := _ESCAPE.match(data, place):
            kept.append(view[at:place])
            at = end = match.end()
        place = data.find(b"\x1b", end)
    return b"".join((*kept, view[at:]))


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
        """Look at the line that starts there."""
        return self._numbered(self.index_of(start), start, self.data.index(b"\n", start))

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
        self._aside: deque[_Block] = deque()  # of which the single lines are not yet held
        self._timed = False  # the banner had a time stamp after which they are held that name no host
        self._crashed: dict[bytes, None] = {}  # hosts of which all single lines are worth reading

    def feed(self, chunk: bytes, count: int | None = None) -> list[Line]:
        """Lines worth reading that ``chunk`` completes; ``count`` of them there are, if that is known."""
        found: list[Line] = []
        if len(chunk) > BLOCK:
            count = None
        for at in range(0, len(chunk), BLOCK):
            part = chunk if len(chunk) <= BLOCK else chunk[at : at + BLOCK]
            if end := part.rfind(b"\n") + 1:
                block = b"".join((*self._parts, memoryview(part)[:end]))
                found += self._complete(block, part[end:], count)
            else:
                self._parts.append(part)
                self._size += len(part)
                if self._size > LONGEST:
                    found += self._complete(b"", b"".join(self._parts))
        return found

    def close(self) -> list[Line]:
        """Lines worth reading that the end completes; the scanner is as new after it."""
        found = self._complete(b"".join((*self._parts, b"\n")), b"") if self._parts else []
        if self._records is not None:
            found += self._reassemble()
        found += self._admit(self._reader.flush())
        self._hold_aside()
        for host in list(self._held):
            found += self._release(host.decode("utf-8", "replace"), self._number)
        self._restart()
        return found

    def _complete(self, block: bytes, rest: bytes, count: int | None = None) -> list[Line]:
        """Look at whole lines; keep the rest, the beginning of the next one."""
        if b"\0" in block or b"\0" in rest:
            # a file that lost its blocks in the crash; the next line begins right after them
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
            block, count = b"\n".join((*pieces, b"")), None
        self._parts = [rest] if rest else []
        self._size = len(rest)
        found, lines = self._scan(_Block(block, self._number, numbers), count)
        self._number = number if numbers is not None else number + lines
        return found

    def _scan(self, block: _Block, count: int | None = None) -> tuple[list[Line], int]:
        """Read the windows of a block; also its number of lines, which is counted if it is not given."""
        found: list[Line] = []
        kinds = {WINDOW} if len(block.data) < SHORT else self._search.kinds(block.data)
        if (
            self._windows
            or self._records is not None
            or self._reader.pending
            or WINDOW in kinds
            or (SINGLE in kinds and not self._put_aside(block, kinds))
        ):
            self._hold_aside()
            found = self._read(block)
        self._remember(block, count)
        return found, block.index

    def _read(self, block: _Block) -> list[Line]:
        search = self._search
        hits = deque(search.ends(block.data))
        heads = deque(
            hit[0] - search.lengths[hit[1]]
            for hit in hits
            if hit[1] < search.headers and search.begins(block.data, hit) >= 0
        )
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
                    context = self._reach(block, *hits[0])
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
        return found

    def _put_aside(self, block: _Block, kinds: set[int]) -> bool:
        """Leave the single lines of a block until a host crashes; False: they must be looked at now."""
        if TOLD in kinds or b"" in self._crashed:
            return False
        data = block.data
        search = self._search
        for boot in search.boots:
            end = data.rfind(search.texts[boot]) + search.lengths[boot]
            if (
                end >= search.lengths[boot]
                and search.begins(data, (end, boot)) >= 0
                and _HOST.match(data, data.rfind(b"\n", 0, end) + 1)
            ):
                self._boot(b"", timed=True)
        self._aside.append(_Block(block.coloured or data, block.number, block.numbers))
        if len(self._aside) > ASIDE:
            self._hold_aside()
        return True

    def _hold_aside(self) -> None:
        """Hold the single lines of blocks that were put aside."""
        aside, self._aside = self._aside, deque()
        for block in aside:
            self._hold(block, deque(self._search.ends(block.data)))

    def _hold(self, block: _Block, hits: deque[_Hit]) -> None:
        """Hold single lines back until their host crashes: few boots do, and the next one makes them void.

        The first of the hits that are left is one whose line is to be read.
        """
        held = self._single(block, hits)
        half = HELD_BY_HOST // 2
        for line, host in sorted(
            (line, host) for host, at in held.items() for line in {*at[:half], *at[-half:]}
        ):
            queue = self._held.setdefault(host, deque())
            queue.append(block.line_at(line))
            self._holding += HELD_LINE + len(queue[-1].line)
            if len(queue) > HELD_BY_HOST:
                self._holding -= HELD_LINE + len(queue[half].line)
                del queue[half]  # the banner is among the first, and the last are nearest to the crash
            if self._holding > HELD:
                self._void(next(iter(self._held)))

    def _single(self, block: _Block, hits: deque[_Hit]) -> dict[bytes, list[int]]:
        """Take hits whose lines can be held; where these begin, by host, since its last boot.

        A line that names no host is held if it is whole. A banner without a time stamp is only quoted where
        the kernel stamps its lines.
        """
        data, search = block.data, self._search
        begins, host_of = search.begins, _HOST.match
        held: dict[bytes, list[int]] = {}
        while hits:
            hit = hits[0]
            start = begins(data, hit)
            if start >= 0:
                if hit[1] < search.windows:
                    break
                line = data.rfind(b"\n", block.at, start) + 1 or block.at
                match = host_of(data, line)
                if match is None and _TELLS.search(data, line, data.index(b"\n", line)):
                    break
                host = (match and match[1]) or b""
                if hit[1] in search.boots and not (match is None and self._timed):
                    crashed = host in self._crashed
                    self._boot(host, timed=match is not None)
                    if crashed:
                        break
                    held[host] = [line]
                elif host in self._crashed:
                    break
                else:
                    lines = held.setdefault(host, [])
                    if not lines or lines[-1] != line:
                        lines.append(line)
            hits.popleft()
        return held

    def _boot(self, host: bytes, *, timed: bool) -> None:
        """Forget what a host said before it booted."""
        self._void(host)
        self._crashed.pop(host, None)
        if not host:
            self._timed = timed
            self._aside.clear()

    def _void(self, host: bytes) -> deque[_Numbered]:
        """Hold a host's lines no longer."""
        lines = self._held.pop(host, deque())
        self._holding -= sum(HELD_LINE + len(line.line) for line in lines)
        return lines

    def _release(self, host: str, before: int) -> list[Line]:
        """Read the lines that are held of a host; only those before a line's number."""
        reader = Reader()
        return [
            row
            for line in self._void(host.encode("utf-8", "replace"))
            if line.number < before
            for row in reader.alone(*line)
        ]

    def _most(self) -> int:
        """Lines that can be read before the last window closes."""
        return min(max(self._windows.values()), self._budget)

    def _reach(self, block: _Block, end: int, which: int) -> list[_Numbered]:
        """Go to the hit's line; the lines before it that its literal or its record wants too."""
        start = block.at
        block.pass_over(end - 1)
        self._reader.gap()
        self._earlier = []
        wanted = self._before = self._search.literals[which].before
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
        data, search = block.data, self._search
        last = number + data.count(b"\n", at, block.at)
        self._budget -= last - number
        stop = most = 0  # of the line of the hit before: a further one there may ask no more
        while hits and hits[0][0] < block.at:
            hit = hits.popleft()
            wanted = 1 + search.literals[hit[1]].after
            if (hit[0] <= stop and wanted <= most) or (start := search.begins(data, hit)) < 0:
                continue
            if hit[0] > stop:
                number += data.count(b"\n", at, start)
                at, stop = start, data.index(b"\n", start)
            most = self._due[number] = max(self._due.get(number, 0), wanted)
            self._budget = max(self._budget, SPARSE * (wanted + 1) - (last - number))

    def _admit(self, rows: list[Line]) -> list[Line]:
        """Lines that a window wants; one with a hit on it opens it, or keeps it open."""
        kept = rows if self._usual(rows) else [line for row in rows for line in self._window(row)]
        if not self._reader.pending:
            self._due.clear()
            if self._budget <= 0:
                self._windows.clear()
        while len(self._due) > HISTORY:  # no record has more lines
            del self._due[next(iter(self._due))]
        return kept

    def _window(self, row: Line) -> list[Line]:
        """Give a line to its host's window: the line, if that wants it, and what opens with it."""
        windows = self._windows
        left = windows.get(row.host, 0)
        wanted = max(left, self._due.get(row.number, 0))
        if not wanted:
            if not windows or row.host:
                return []
            return [*self._release("", row.number), row]  # without a host it may have lost its prefix
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

    def _remember(self, block: _Block, count: int | None) -> None:
        """Keep what was not read: the next block may begin with a hit that wants lines before it."""
        start, index = block.at, block.index
        if count is None:
            block.pass_over(len(block.data))
        else:
            block.at, block.index = len(block.data), count
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
                self._due.clear()  # the lines are looked at again in their right order
                return found, True
            found = self._reassemble()
        elif header:
            found = self._admit(self._reader.flush())
            self._windows.clear()
        if header:
            self._due.clear()
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
