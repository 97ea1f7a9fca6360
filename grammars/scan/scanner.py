"""Selects the lines to read.

A matcher searches for all literals in one pass; lines without hits are only counted. A hit opens a window:
its line is read, and as many lines of the same host before and after it as its literal requests. A further
hit keeps the window open. :class:`kpanic.grammars.lines.Reader` removes the transport's prefixes from the
lines in a window.

Time is linear and memory is bounded for any input: it is scanned in blocks of :data:`BLOCK` bytes, lines are
cut at :data:`LONGEST`, a window has a maximum number of lines, and at most :data:`HOSTS` hosts have a window.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.grammars import faults
from kpanic.grammars.lazy import regex
from kpanic.grammars.lines import Reader
from kpanic.grammars.scan.block import BLOCK, LONGEST, Block, Numbered, cut, overlong
from kpanic.grammars.scan.held import Held
from kpanic.grammars.scan.literals import SINGLE, WINDOW
from kpanic.grammars.scan.windows import HISTORY, Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.model import Line
    from kpanic.grammars.scan.literals import Search
    from kpanic.grammars.scan.windows import Open
    from kpanic.grammars.transport import Records

__all__ = ["HISTORY", "Scanner"]

SHORT: Final = BLOCK // 2
"""Maximum bytes of a block that is not checked for kinds of literals first; most logs are one such block."""
TOGETHER: Final = 1.0
"""Maximum seconds between the last line of a part and the first line of the next part."""
_LEADING_NULS: Final = regex(rb"\n\0+")


class _Unread(NamedTuple):
    block: Block
    start: int
    """Offset of the first unread line."""
    lines: int


class Scanner:
    """Returns the lines to read, those of a host in the order of the input.

    A line of a window is returned as soon as its newline is fed. Single lines, such as a boot's banner, are
    held until their host crashes, and dropped at the next boot of the host; :meth:`close` returns those that
    are held. Records in another order are sorted, and returned after the last one.
    """

    def __init__(self, search: Search, first: int = 1) -> None:
        """Begin with line number ``first``."""
        self._search = search
        self._restart(first)

    def _restart(self, first: int = 1) -> None:
        self._reader = Reader(self._search.transports)
        self._held = Held(self._search)
        self._windows = Windows(self._search, self._held)
        self._parts: list[bytes] = []
        self._size = 0
        self._number = first  # of the first line of the next block
        self._history: deque[_Unread] = deque()
        self._remembered = 0  # lines in the history
        self._records: Records | None = None
        self._interrupted: Open | None = None  # by records

    def feed(self, chunk: bytes, count: int | None = None) -> list[Line]:
        """Return the lines to read that ``chunk`` completes.

        :param count: the number of line breaks in the chunk, if it is known.
        """
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
        """Return the lines to read that the end of the input completes; reset the scanner."""
        found = self._complete(b"".join((*self._parts, b"\n")), b"") if self._parts else []
        if self._records is not None:
            found += self._reassemble()
        found += self._admit(self._reader.flush())
        self._held.hold_aside()
        for host in self._held.hosts:
            found += self._held.release(host, self._number)
        self._restart()
        return found

    @property
    def left_out(self) -> bool:
        """Whether held lines were dropped because a limit was reached."""
        return self._held.left_out

    @property
    def holds(self) -> bool:
        """Whether lines are held back, or the next lines may belong to a window or a record."""
        return bool(self._windows or self._held or self._records or self._reader.pending)

    def state(self) -> tuple[object, ...] | None:
        """Return all state that later lines depend on; None inside a record.

        The last three members are the state of the windows and the reader (None without a window), the number
        of the next line, and the held lines (:meth:`Held.state`).
        """
        if self._records is not None or self._reader.pending or self._reader.lost:
            return None
        passed = [line for past in self._history for line in past.block.back(past.start, HISTORY)]
        reading = (self._windows.state(), self._reader.state()) if self._windows else None
        return b"".join(self._parts), passed[-HISTORY:], reading, self._number, self._held.state()

    def _complete(self, block: bytes, rest: bytes, count: int | None = None) -> list[Line]:
        """Scan whole lines; keep ``rest``, the beginning of the next line."""
        if b"\0" in block or b"\0" in rest:
            # file system blocks lost in a crash read as NULs; the next line begins right after them
            block, rest = _LEADING_NULS.sub(b"\n", block.lstrip(b"\0")), rest.lstrip(b"\0")
        numbers: list[int] | None = None
        number = self._number
        if len(rest) > LONGEST or overlong(block):
            pieces: list[bytes] = []
            numbers = []
            for line in block.split(b"\n")[:-1]:
                for piece in cut(line):
                    pieces.append(piece)
                    numbers.append(number)
                number += 1
            *more, rest = cut(rest)
            pieces += more
            numbers += [number] * len(more)
            block, count = b"\n".join((*pieces, b"")), None
        self._parts = [rest] if rest else []
        self._size = len(rest)
        found, lines = self._scan(Block(block, self._number, numbers), count)
        self._number = number if numbers is not None else number + lines
        return found

    def _scan(self, block: Block, count: int | None = None) -> tuple[list[Line], int]:
        """Return the lines of a block to read, and its number of lines."""
        found: list[Line] = []
        kinds = {WINDOW} if len(block.data) < SHORT else self._search.kinds(block.data)
        if (
            self._windows
            or self._records is not None
            or self._reader.pending
            or WINDOW in kinds
            or (SINGLE in kinds and not self._held.put_aside(block, kinds))
        ):
            self._held.hold_aside()
            found = self._read(block)
        self._remember(block, count)
        return found, block.index

    def _read(self, block: Block) -> list[Line]:
        search, windows = self._search, self._windows
        hits = deque(search.ends(block.data))
        heads = deque(
            hit[0] - search.lengths[hit[1]]
            for hit in hits
            if hit[1] < search.records and search.begins(block.data, hit) >= 0
        )
        found: list[Line] = []
        end = len(block.data)
        plain = not block.coloured and block.numbers is None
        while block.at < end:
            context: list[Numbered] = []
            start, index = block.at, block.index
            if self._records is None and not self._reader.pending:
                if not windows:
                    self._held.hold(block, hits)
                    if not hits:
                        break
                    context = self._reach(block, *hits[0])
                    start = block.at
                elif plain and (lines := block.run(heads[0] if heads else end, windows.most)):
                    first = block.number + index
                    windows.expect(block, hits, start, first, block.index - index)
                    found += self._admit(self._reader.run(first, lines))
                    continue
            line = block.line()
            windows.expect(block, hits, start, line.number, 1)
            header = bool(heads) and heads[0] < block.at
            while heads and heads[0] < block.at:
                heads.popleft()
            if self._records is not None or header:
                rows, taken = self._record(line, header=header)
                found += rows
                if taken:
                    continue
            for part in context:
                windows.earlier += self._reader.read(*part)
            found += self._admit(self._reader.read(*line))
        return found

    def _admit(self, rows: list[Line]) -> list[Line]:
        return self._windows.admit(rows, pending=self._reader.pending)

    def _reach(self, block: Block, end: int, which: int) -> list[Numbered]:
        """Go to the line of a hit; return the lines before it that the literal or the record requests."""
        start = block.at
        block.pass_over(end - 1)
        self._reader.gap()
        self._windows.earlier = []
        wanted = self._windows.before = self._search.literals[which].before
        each = self._search.transports.lines(block.data[block.at : block.at + 32].lstrip())
        if each > 1:  # a record may have several lines
            wanted = min(each * (wanted + 1) - 1, HISTORY)
        context = block.back(start, wanted)
        if start == 0:
            for past in reversed(self._history):
                if len(context) >= wanted:
                    break
                context = [*past.block.back(past.start, wanted - len(context)), *context]
        return context

    def _remember(self, block: Block, count: int | None) -> None:
        """Keep unread lines: a hit at the beginning of the next block may request lines before it."""
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

    def _record(self, line: Numbered, *, header: bool) -> tuple[list[Line], bool]:
        """Pass a line to a transport's records; return the lines it completes, and whether it was taken."""
        records = self._recording(line) if header else None
        found: list[Line] = []
        if self._records is not None:
            if self._took(line):
                self._windows.forget()  # the lines are scanned again in the right order
                return found, True
            found = self._reassemble()
        elif records:
            found = self._admit(self._reader.flush())
            self._interrupted = self._windows.close()
        if records:
            self._windows.forget()
            self._records = records
            self._took(line)
        return found, records is not None

    def _recording(self, line: Numbered) -> Records | None:
        try:
            return self._search.transports.recording(line.line)
        except Exception as error:  # noqa: BLE001 - a fault of a transport must not cost the line
            faults.note("records", error)
            return None

    def _took(self, line: Numbered) -> bool:
        try:
            return self._records is not None and self._records.read(line.number, line.line)
        except Exception as error:  # noqa: BLE001 - a fault of a transport must not cost the lines that it collected
            faults.note("records", error)
            return False

    def _reassemble(self) -> list[Line]:
        """Scan the lines of the collected records in the right order."""
        records, self._records = self._records, None
        lines: Sequence[tuple[int, bytes]] = ()
        try:
            lines = records.lines() if records else ()
        except Exception as error:  # noqa: BLE001 - a fault of a transport must not cost the other lines
            faults.note("records", error)
        if not lines:
            return []
        inner = Scanner(self._search)
        interrupted, self._interrupted = self._interrupted, None
        if interrupted is not None and self._goes_on(interrupted, lines[0]):
            inner._windows.reopen(interrupted)
        block = Block(b"".join(line + b"\n" for _, line in lines), 1, [number for number, _ in lines])
        return [*inner._scan(block)[0], *inner.close()]

    def _goes_on(self, interrupted: Open, line: tuple[int, bytes]) -> bool:
        """Tell whether a line continues the interrupted windows: the header of the first part is missing."""
        rows = Reader(self._search.transports).read(*line)
        time = rows[0].time if rows else None
        return time is not None and 0 <= time - interrupted[-1] <= TOGETHER
