"""An incident: the lines of one crash, and the lines in them on which a report may start."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.fact import Fact
    from kpanic.grammars.family import Family
    from kpanic.grammars.model import Line

__all__ = ["CHARACTERS", "HEADS", "LINES", "Head", "Incident"]

_TEXT: Final = attrgetter("text")
_RAW: Final = attrgetter("raw")

LINES: Final = 1500
"""Maximum lines of one incident."""
CHARACTERS: Final = 2 << 20
"""Maximum characters of one incident: each line counts as read and as it is in the input."""
HEADS: Final = 128
"""Maximum headers of one incident."""


class Head(Struct, frozen=True):
    """A line on which a report may start."""

    place: int
    """Index of the line in the incident."""
    hits: tuple[tuple[Family, int], ...]
    """Families with a literal in the line, best first, each with the literal's offset in the line."""


class Incident(Struct):
    """The lines of one crash, from its first header on.

    The first report is the cause; later reports of the same incident follow from it.
    """

    lines: list[Line] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    size: int = 0
    """Characters of the lines."""
    truncated: bool = False
    """Whether lines were dropped because of a limit."""
    fatal: bool = False
    """Whether a line says that the kernel panicked."""
    trigger: Fact | None = None
    """The line that may have triggered the crash."""
    preceded_by: int = 0
    """Number of the boot's noteworthy lines (:attr:`Boot.preceded_by`) that came before the incident."""
    copy: Incident | None = None
    """An earlier copy of the same lines, since people paste the first lines, then all."""
    above: tuple[Line, ...] = ()
    """The lines before the incident, if it begins with a line inside a report or at its end."""
    newest: Line | None = None
    """The last header, kept or not."""
    last: float = 0.0
    """Time of its last line, by the caller's clock."""
    last_head: float = 0.0
    """Time of its last header, by the caller's clock."""

    def repeats(self, line: Line) -> bool:
        """Tell whether a line repeats the incident's first line, after others."""
        first = self.lines[0]
        return (
            len(self.lines) > 1
            and line.time is not None
            and (line.time, line.text, line.host) == (first.time, first.text, first.host)
            and self.lines[1].text != first.text  # a second console prints each line twice
        )

    def keep(self, line: Line) -> bool:
        """Add a line; return False if the incident is full."""
        if len(self.lines) >= LINES or self.size >= CHARACTERS:
            self.truncated = True
            return False
        self.lines.append(line)
        self.size += len(line.text) + len(line.raw)
        return True

    def extend(self, lines: Sequence[Line]) -> None:
        """Add lines until the incident is full."""
        size = self.size + sum(map(len, map(_TEXT, lines))) + sum(map(len, map(_RAW, lines)))
        if len(self.lines) + len(lines) <= LINES and size <= CHARACTERS:
            self.lines += lines
            self.size = size
        else:
            for line in lines:
                self.keep(line)
