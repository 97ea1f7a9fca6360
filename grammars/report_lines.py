"""The text of one report: its own lines, without additions of transports.

:func:`report_text` selects the report's lines from an incident's; :class:`ReportText` joins them, and finds
the line of an offset in the text.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars.incident import Head
from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpanic.grammars.model import Line

__all__ = ["ReportText", "report_text"]

_INDENT: Final = regex(r"[ \t>]+")
_WORD: Final = regex(r"\s*(?:[^\s\]|]*[\]|]|[^\s\]|]+)")
"""Parts of the prefixes of consoles."""
_DIGITS: Final = regex(r"\d+")
_TIME: Final = attrgetter("time")
_DEBUGGER: Final = ("cpu 0x", "Entering kdb", "Entering xmon")
"""Beginning of the output of a debugger that the kernel enters, whose lines have no stamps."""
ALIKE: Final = 8
"""Number of lines that are examined for a common prefix."""


class ReportText:
    """The lines of one report as one string, which the grammar reads."""

    __slots__ = ("_starts", "lines", "text")

    def __init__(self, lines: Sequence[Line]) -> None:
        """Join the lines' texts."""
        self.lines = lines
        texts = [f"{line.text}\n" for line in lines]
        self.text = "".join(texts)
        self._starts = list(accumulate(map(len, texts), initial=0))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the indexes of the first and the last line between two offsets in the text."""
        starts = self._starts
        first = bisect_right(starts, start) - 1
        last = first if end <= starts[first + 1] else bisect_right(starts, end - 1, first) - 1
        return first, min(last, len(self.lines) - 1)


def _own(lines: Sequence[Line], head: int) -> Sequence[Line]:
    """Return the lines from ``head`` on that belong to the same report: its task's or CPU's own.

    Without CONFIG_PRINTK_CALLER these are all lines. With it, other tasks' lines are left out; but after an
    NMI to other CPUs, their backtraces belong to the report.
    """
    first = lines[head]
    caller, timed = first.caller, first.time is not None
    rest = lines[head:]
    if not caller:
        return list(_timed(rest)) if timed and None in map(_TIME, rest) else rest
    if [line.caller for line in rest].count(caller) == len(rest):
        return rest
    cpus = False
    chosen = []
    for line in rest:
        if line.caller == caller:
            chosen.append(line)
            cpus = cpus or line.text.startswith("Sending NMI")
        elif cpus and line.caller.startswith("C"):
            chosen.append(line)
    return chosen


def _timed(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield the lines of a kernel that stamps its lines, and those of the debugger that it enters."""
    debugged = False
    for line in lines:
        debugged = debugged or line.text.startswith(_DEBUGGER)
        if line.time is not None or (debugged and not line.transport):
            yield line


def _words(text: str, most: int) -> list[tuple[str, int]]:
    """Return the first words of a line without digits, each with its end."""
    words: list[tuple[str, int]] = []
    at = 0
    while len(words) < most and (match := _WORD.match(text, at)):
        at = match.end()
        words.append((_DIGITS.sub("0", match[0].strip()), at))
    return words


def _unprefixed(lines: Sequence[Line], at: int) -> tuple[Sequence[Line], int]:
    """Remove the prefix that a console puts before each line: ``c1   123``, ``(0)[77:comm]``, ``node1 |``.

    It is what stands before the header, as far as nearly all of the next lines begin with the same words,
    whatever the numbers in them. Return the lines, and how much of the first one is gone.
    """
    first = lines[0].text
    prefix = _words(first[:at], ALIKE)
    near = [line.text for line in lines[1 : 1 + ALIKE] if line.text.strip()]
    least = max(2, len(near) - 2)
    while prefix:
        wanted = [word for word, _ in prefix]
        if sum([word for word, _ in _words(text, len(wanted))] == wanted for text in near) >= least:
            break
        prefix.pop()
    if not prefix:
        return lines, 0
    end = prefix[-1][1]
    blank = len(first) - end - len(first[end:].lstrip())
    stripped = []
    for line in lines:
        words = _words(line.text, len(wanted))
        if [word for word, _ in words] == wanted:
            rest = line.text[words[-1][1] :]
            spaces = min(blank, len(rest) - len(rest.lstrip()))
            line = structs.replace(line, text=rest[spaces:])  # noqa: PLW2901
        stripped.append(line)
    return stripped, end + blank


def report_text(lines: Sequence[Line], head: Head) -> tuple[Head, ReportText]:
    """Return the text of a report.

    What a mail or an issue put before its first line, spaces or the marks of a quotation, is taken from all.
    """
    chosen = _own(lines, head.place)
    if any(at for _, at in head.hits):
        chosen, gone = _unprefixed(chosen, min(at for _, at in head.hits))
        head = Head(head.place, tuple((family, at - gone) for family, at in head.hits))
    indent = _INDENT.match(chosen[0].text)
    if indent is None:
        return head, ReportText(chosen)
    hits = tuple((family, max(at - indent.end(), 0)) for family, at in head.hits)
    return Head(head.place, hits), ReportText(
        [structs.replace(line, text=line.text.removeprefix(indent[0])) for line in chosen]
    )
