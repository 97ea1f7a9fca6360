"""Reads a part of a log with the same result as a reading of the whole log.

A part begins at a boot. It is read until another parser, which begins at the first boot after the part, would
yield the same results from there on. To test this, both parsers read the same bytes, and their states are
compared. The text after that belongs to the next part.

A crash may wait for the next boot's command line, and single lines of a boot are held until a crash.
If one parser has already taken lines that the other one holds, they agree under two conditions
(:class:`Border`) that only the next part can test (:class:`Entry`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from kpanic.grammars.above import adjoining
from kpanic.grammars.boot import BANNER, debugged
from kpanic.grammars.lines import Reader
from kpanic.grammars.parser import Parser
from kpanic.grammars.scan import BLOCK, LONGEST, Scanner

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from kpanic.grammars.model import CrashReport, Line
    from kpanic.grammars.stream import Stream

__all__ = ["Border", "Entry", "Found", "Part", "read_part"]

MARK: Final = BANNER.encode()
EARLY: Final = 512
"""Maximum lines of an :class:`Entry`."""
OFTEN: Final = 8
"""Blocks after a border, after which two parsers are compared less and less often."""
PATIENCE: Final = 256
"""Maximum blocks after a border until the parsers agree."""


class Border(NamedTuple):
    """The border to the next part."""

    begin: int
    """Offset of the boot at which the next part begins."""
    end: int
    """Offset after which the next part's crashes count."""
    lines: int
    """Number of lines of this part before ``begin``."""
    number: int
    """Number of lines of the next part before ``end``."""
    time: float | None
    """Time of the last line that only this part's parser knows; None without one.
    """
    held: bool
    """Whether both parsers hold the same lines."""

    def joins(self, entry: Entry) -> bool:
        """Tell whether the next part continues exactly as this part would."""
        if entry.begin != self.begin:
            return False
        if self.held and self.time is None:
            return True
        if entry.left_out and not self.held:
            return False
        behind = [time for number, time in entry.early if number > self.number]
        after = next((time for time in behind if time is not None), None)
        if not behind or (after is None and self.time is not None):
            return not entry.crashed
        return self.time is None or after is None or after >= self.time


class Entry(NamedTuple):
    """The beginning of a part."""

    begin: int
    """Offset of its first line."""
    early: tuple[tuple[int, float | None], ...] = ()
    """Numbers, from 1 on, and times of the first lines that were read, up to the first crash."""
    left_out: bool = False
    """Whether held lines were dropped before the first crash because of a limit."""
    crashed: bool = False
    """Whether there are more lines than ``early``."""


NOWHERE: Final = Border(-1, 0, 0, 0, None, held=False)
"""An entry that joins no part."""


class Found(NamedTuple):
    """A crash of a part."""

    crash: CrashReport
    """The crash; its lines are numbered from the part's first one on."""
    at: int
    """Offset up to which the log was read when the crash was complete."""
    entry: Entry


class Part(NamedTuple):
    """The extent of the text that was read for a part."""

    entry: Entry | None
    """The beginning; None if no boot begins in the part."""
    border: Border | None = None
    """The border to the next part; None if the part was read to the end of the log."""
    odd: bool = False
    """Whether only a reading of the whole log can read it: the found crashes then do not count."""


class _PartParser(Parser):
    """Reads a part.

    :ivar odd: lines were read that depend on all that was read before: of several hosts, whose crashes come
        in the order of their first lines, or of broadcasts, which count only where nothing else does.
    :param first: number of its first line.
    """

    def __init__(self, first: int = 1) -> None:
        super().__init__()
        self._scanner = self._begun = Scanner(self._finder.search, first)
        self._early: list[tuple[int, float | None]] | None = []
        self.odd = False
        self._entry = Entry(0)

    def _take(self, lines: Sequence[Line]) -> list[CrashReport]:
        if self._early is not None:
            self._early += [(line.number, line.time) for line in lines[:EARLY]]
            self._entry = Entry(0, tuple(self._early[:EARLY]), self._scanner.left_out)
        found = super()._take(lines)
        self.odd = self.odd or bool(self._echoes) or self._echoing or len(self._streams) > 1
        self.odd = self.odd or self._scanner is not self._begun
        if self._early is not None and (found or self.open or len(self._early) > EARLY):
            self._early = None
            self._entry = self._entry._replace(crashed=True)
        return found

    def entry(self, begin: int) -> Entry:
        """Return the part's entry, with the lines known so far."""
        left_out = self._entry.left_out if self._early is None else self._scanner.left_out
        return self._entry._replace(begin=begin, left_out=left_out)

    @property
    def streams(self) -> dict[str, Stream]:
        """The streams by host."""
        return self._streams

    def state(self) -> tuple[object, ...] | None:
        """Return the scanner's state (:meth:`Scanner.state`)."""
        return self._scanner.state()

    def alone(self, number: int) -> str:
        """Return the host of the last line, if line ``number`` may be another of its lines."""
        return self._last.host if self._last.number + 1 >= number else ""

    def released(self) -> tuple[list[CrashReport], _PartParser]:
        """Return the complete crashes, and the state, as if the next line began a crash."""
        shared = (self._registry, self._finder, self._finder.search, self._finder.search.transports)
        one = copy.deepcopy(self, {id(part): part for part in (*shared, *self._registry.families)})
        return one.crash(), one

    def crash(self) -> list[CrashReport]:
        """Read held lines, as for a crash; return the crashes that this completes."""
        return self._take(self._scanner.close())

    def matters(self, *previous: str) -> bool:
        """Tell whether the next lines' reading depends on one of these lines before them."""
        return any(debugged(text) or self._registry.ignores_after(text) for text in previous)


def _agreed(one: _PartParser, other: _PartParser) -> tuple[list[CrashReport], float | None, bool] | None:
    """Return the crashes that are complete only for the first parser, and fields of :class:`Border`.

    None: they do not.
    """
    known, same = one.state(), other.state()
    if known is None or same is None or known[:-1] != same[:-1]:
        return None
    held, number = known[-1] == same[-1], known[-2]
    assert isinstance(number, int)  # noqa: S101 - see Scanner.state
    if held and one.streams == other.streams and one.alone(number) == other.alone(number):
        return [], None, True
    if known[-3] is not None:
        return None
    over, after = one.released()
    none, twin = other.released()
    if none or len(after.streams) != 1 or after.streams.keys() != twin.streams.keys():
        return None
    ((stream,), (its,)) = after.streams.values(), twin.streams.values()
    if (
        stream.boot != its.boot
        or any(each.incident or each.ended or adjoining(each.recent, number) for each in (stream, its))
        or (stream.previous != its.previous and one.matters(stream.previous, its.previous))
        or after.alone(number) != twin.alone(number)
    ):
        return None
    return over, None if stream.time == its.time else stream.time, held


class _Following:
    """The parser of the next part.

    :param end: offset after which the next part begins; None without one.
    """

    def __init__(self, end: int | None) -> None:
        self._boots = _Boots(end)
        self._parser: _PartParser | None = None
        self._begin = self._lines = self._looks = 0

    def feed(self, chunk: bytes, at: int, lines: int) -> None:
        """Read a chunk if the next part has begun.

        :param at: offset of the chunk.
        :param lines: lines of this part before it.
        """
        if self._parser is not None:
            self._parser.feed(chunk)
        elif (rest := self._boots.found(chunk, at)) is not None:
            self._begin = at + len(chunk) - len(rest)
            self._lines = lines + chunk.count(b"\n") - rest.count(b"\n")
            self._parser = _PartParser(self._lines + 1)
            self._parser.feed(rest)

    def border(self, parser: _PartParser, at: int, lines: int) -> tuple[list[CrashReport], Border] | None:
        """Return the border if the next part can take over, with the crashes that are complete for this one.

        :param at: offset of the unread text.
        :param lines: lines of this part before it.
        """
        if self._parser is None:
            return None
        self._looks += 1
        if self._looks > PATIENCE:
            return [], NOWHERE
        if self._looks > OFTEN and self._looks & (self._looks - 1):
            return None
        agreed = _agreed(parser, self._parser)
        if agreed is None:
            return None
        over, time, held = agreed
        return over, Border(self._begin, at, self._lines, lines - self._lines, time, held)


def read_part(file: BinaryIO, begin: int, end: int | None) -> Generator[Found, None, Part]:
    """Yield the crashes of a part of a log in order; return the extent of the part.

    :param file: the open log, at any position.
    :param begin: offset after which the part begins, at the first boot; 0 is the log's beginning.
    :param end: offset after which the next part begins; None is the end of the log.
    """
    start = begin and _boot(file, begin, end)
    if start is None:
        return Part(None)
    whole = begin == 0 and end is None
    file.seek(start)
    parser, following, at, lines = _PartParser(), _Following(end), start, 0
    while chunk := file.read(BLOCK - at % BLOCK):
        count = chunk.count(b"\n")
        crashes = parser.feed(chunk, count=count)
        following.feed(chunk, at, lines)
        at, lines = at + len(chunk), lines + count
        entry = parser.entry(start)
        if parser.odd and not whole:
            return Part(entry, odd=True)
        border = following.border(parser, at, lines)
        for crash in crashes:
            yield Found(crash, at, entry)
        if border:
            for crash in border[0]:
                yield Found(crash, at + 1, entry)
            return Part(entry, border[1])
    crashes = parser.close()
    entry = parser.entry(start)
    if parser.odd and not whole:
        return Part(entry, odd=True)
    for crash in crashes:
        yield Found(crash, at + 1, entry)  # after every border
    return Part(entry)


def _boot(file: BinaryIO, begin: int, end: int | None) -> int | None:
    """Return the offset of the first boot from an offset on; None if there is none before ``end``."""
    at = begin - 1  # whether a line begins there
    file.seek(at)
    boots = _Boots(begin)
    while chunk := file.read(BLOCK - at % BLOCK):
        before, at = at, at + len(chunk)
        if (rest := boots.found(chunk, before)) is not None:
            start = at - len(rest)
            return start if end is None or start < end else None
        if end is not None and at - boots.waiting >= end:
            return None
    return None


class _Boots:
    """Searches for the first line of a boot that begins at an offset or after it.

    :param least: the offset; None to find none.
    """

    def __init__(self, least: int | None) -> None:
        self._least = least
        self._rest: bytes | None = None

    @property
    def waiting(self) -> int:
        """Number of bytes of an incomplete line."""
        return len(self._rest or b"")

    def found(self, chunk: bytes, at: int) -> bytes | None:
        """Return the text from the boot's line on; None if there is none yet.

        :param at: offset of the chunk, which follows the one before.
        """
        if self._least is None or at + len(chunk) + BLOCK < self._least:
            return None
        if self._rest is None:
            first = chunk.find(b"\n") + 1 if at else 0
            if at and not first:
                return None
            data, offset = chunk[first:], at + first
        else:
            data, offset = self._rest + chunk, at - len(self._rest)
        place = data.find(MARK, max(0, self._least - offset))
        while place >= 0:
            start = data.rfind(b"\n", 0, place) + 1
            end = data.find(b"\n", place)
            if end < 0:
                break
            if offset + start >= self._least and _begins_boot(data[start:end]):
                return data[start:]
            place = data.find(MARK, end)
        self._rest = data[data.rfind(b"\n") + 1 :]
        if len(self._rest) > LONGEST:
            self._rest = None
        return None


def _begins_boot(line: bytes) -> bool:
    """Tell whether a line is the banner of a boot, with a time."""
    if len(line) > LONGEST:
        return False
    return any(one.text.startswith(BANNER) and one.time is not None for one in Reader().read(1, line))
