"""Where in a report the lines stand that prove something."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.model import CrashReport, Line

_NUMBER: Final = attrgetter("number")
LOOKED_AT: Final = 160
"""Lines of a report, its header and first trace: the proofs stand there."""
DEEP: Final = 400
"""Lines in which frames are looked for: those of a stack that overflowed."""
_LEADS: Final = {
    "RIP:": "ip",
    "EIP:": "ip",
    "IP: ": "ip",
    "NIP ": "ip",
    "NIP:": "ip",
    "pc :": "ip",
    "PC i": "ip",
    "epc ": "ip",
    "Krnl": "ip",
    "CPU:": "owner",
    "CPU ": "owner",
    "Pid:": "owner",
    "task": "owner",
    "Call": "trace",
    "Back": "trace",
    "#PF:": "access",
    "Code": "code",
    "Inst": "code",
    "Fail": "address",
    "Mem ": "access",
    "  ES": "access",
    "Faul": "address",
    "Work": "work",
    "Tain": "taint",
}
"""How a line starts, by its first four characters, and what it proves."""


class Marks:
    """The first line of each kind, found in one pass; and lines by what they hold."""

    __slots__ = ("_lines", "_marks", "_text", "panic")

    def __init__(self, report: CrashReport) -> None:
        """Look at the head of a report."""
        self._lines = report.lines[:DEEP]
        self._text = "\n".join(["", *[line.text for line in self._lines]])
        marks: dict[str, Line] = {}
        raw = report.ip.raw if report.ip else ""
        lead = _LEADS.get
        last, own = report.followed_by[0].lines[0] if report.followed_by else None, True
        for line in self._lines[:LOOKED_AT]:
            own = own and line is not last
            text = line.text
            mark = lead(text[:4])
            if mark is None:
                if own and "[#" in text:
                    marks.setdefault("oops", line)
            elif mark not in marks and (mark != "ip" or (raw and raw in text)) and (own or mark != "access"):
                marks[mark] = line
        if "ip" not in marks:
            marks.pop("code", None)  # it is a program's
        self._marks = marks
        self.panic: Line | None = None
        """Where the kernel gave up, if it said so."""
        if report.fatal:
            at = self._text.find("\nKernel panic")
            self.panic = (
                self._at(at)
                if at >= 0
                else next(
                    (line for line in report.lines[DEEP:] if line.text.startswith("Kernel panic")), None
                )
            )

    def get(self, *names: str) -> tuple[Line, ...]:
        """Return the lines of these kinds, as far as there are such, each once and in order."""
        marks = self._marks
        found = [marks[name] for name in names if name in marks]
        return once(found) if len(found) > 1 else tuple(found)

    def holding(self, *words: str, since: str = "") -> tuple[Line, ...]:
        """Return the first line that holds one of the words; from the line of a kind on, if there is such."""
        mark = self._marks.get(since)
        start = 0 if mark is None else self._text.find(mark.text)
        found = [at for at in (self._text.find(word, start) for word in words) if at >= 0]
        return (self._at(min(found)),) if found else ()

    def frame(self, symbol: str) -> tuple[Line, ...]:
        """Return the line of a function's frame: the innermost, of those that are no guesses if there are."""
        place, at, guess = f"{symbol}+0x", -1, -1
        while (at := self._text.find(place, at + 1)) >= 0:
            before = self._text[max(at - 2, 0) : at]
            if before[-1:].isalnum() or before[-1:] in {"_", "."}:
                continue  # the end of another's name
            if before != "? ":
                return (self._at(at),)
            guess = at if guess < 0 else guess
        return () if guess < 0 else (self._at(guess),)

    def _at(self, place: int) -> Line:
        return self._lines[self._text.count("\n", 1, place + 1)]


def once(*groups: Iterable[Line]) -> tuple[Line, ...]:
    """Return lines of several groups, each once, in the order of the file."""
    lines = {id(line): line for group in groups for line in group}
    return tuple(sorted(lines.values(), key=_NUMBER) if len(lines) > 1 else lines.values())


def listed(items: Iterable[str], most: int = 3) -> str:
    """Put some things into words: ``a, b, c and 4 more``."""
    items = list(items)
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return " and ".join((", ".join(items[:-1]), items[-1])) if len(items) > 1 else "".join(items)


_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def span(seconds: float) -> str:
    """Put a time into words, in its two largest units."""
    left, words = int(seconds), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(words[:2]) or "less than a second"
