"""Where in a report the lines stand that prove something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grammars.model import CrashReport, Line

LOOKED_AT: Final = 160
"""Lines of a report, its header and first trace: the proofs stand there."""
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
    "Call": "trace",
    "Back": "trace",
    "#PF:": "access",
    "Code": "code",
    "Fail": "address",
    "Mem ": "access",
    "Faul": "address",
    "Work": "work",
    "Rebo": "reboot",
}
"""How a line starts, by its first four characters, and what it proves."""


class Marks:
    """The first line of each kind, found in one pass."""

    __slots__ = ("_lines", "_marks", "panic")

    def __init__(self, report: CrashReport) -> None:
        """Look at the head of a report."""
        self._lines = report.lines[:LOOKED_AT]
        marks: dict[str, Line] = {}
        raw = report.ip.raw if report.ip else ""
        for line in self._lines:
            text = line.text
            mark = _LEADS.get(text[:4])
            if mark is None:
                if "[#" in text:
                    marks.setdefault("oops", line)
            elif mark not in marks and (mark != "ip" or (raw and raw in text)):
                marks[mark] = line
        self._marks = marks
        self.panic: Line | None = None
        """Where the kernel gave up, if it said so."""
        if report.fatal:
            for line in report.lines:
                if line.text.startswith("Kernel panic"):
                    self.panic = line
                    break

    def get(self, *names: str) -> tuple[Line, ...]:
        """Return the lines of these kinds, as far as there are such, each once and in order."""
        lines = {id(line): line for name in names if (line := self._marks.get(name)) is not None}
        return tuple(sorted(lines.values(), key=lambda line: line.number))

    def holding(self, *words: str) -> tuple[Line, ...]:
        """Return the first line that holds one of the words."""
        for line in self._lines:
            text = line.text
            for word in words:
                if word in text:
                    return (line,)
        return ()


def outside(report: CrashReport, *words: str) -> tuple[Line, ...]:
    """Return the lines outside the report that hold one of the words."""
    return tuple(line for line in report.evidence if any(word in line.text for word in words))


def listed(items: Iterable[str], most: int = 3) -> str:
    """Put some things into words: ``a, b, c and 4 more``."""
    items = list(items)
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return " and ".join((", ".join(items[:-1]), items[-1])) if len(items) > 1 else "".join(items)
