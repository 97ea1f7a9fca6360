"""Functions that call themselves, or each other in turn, in a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Run", "runs"]

LONGEST: Final = 16
"""Maximum functions of a cycle."""
OFTEN: Final = 3
"""Minimum rounds of a cycle."""


class Run(NamedTuple):
    """Frames that follow each other.

    :ivar start: number of the first.
    :ivar period: frames of a round.
    :ivar rounds: how often they repeat; 1 for no repetition.
    """

    start: int
    period: int
    rounds: int

    @property
    def stop(self) -> int:
        """Number of the first frame after them."""
        return self.start + self.period * self.rounds


def runs(names: Sequence[str]) -> Iterator[Run]:
    """Yield the cycles in a trace, and each frame between them.

    :param names: functions of the frames, inner ones first.
    """
    number = 0
    while number < len(names):
        found = max((_cycle(names, number, period) for period in range(1, LONGEST + 1)), key=_covered)
        run = found if found.rounds >= OFTEN else Run(number, 1, 1)
        yield run
        number = run.stop


def _cycle(names: Sequence[str], start: int, period: int) -> Run:
    number = start + period
    while number < len(names) and names[number] == names[number - period]:
        number += 1
    return Run(start, period, (number - start) // period)


def _covered(run: Run) -> tuple[int, int]:
    """Rank a cycle: more frames first, then shorter rounds; frames without repetition come last."""
    return (run.period * run.rounds if run.rounds >= OFTEN else 0, -run.period)
