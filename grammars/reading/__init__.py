"""The reading of a crash, step by step, as an administrator does it by hand.

Each step is one file with a function from the report to a finding in a sentence and the lines that prove it.
A site adds its own through the entry point group ``kpanic.steps``: functions of the same kind, read before
the verdict.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from grammars.reading import before, consequences, hardware, kernel, path, trigger, verdict, where, words
from grammars.reading.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Callable

    from grammars.model import Analysis, CrashReport, Step

__all__ = ["GROUP", "STEPS", "analyse"]

GROUP: Final = "kpanic.steps"

STEPS: Final[tuple[Callable[[CrashReport, Marks], Step | None], ...]] = (
    kernel.read,
    hardware.read,
    before.read,
    trigger.read,
    words.read,
    where.read,
    path.read,
    consequences.read,
)
"""In the order in which they are read."""


@functools.lru_cache(maxsize=1)
def _steps() -> tuple[Callable[[CrashReport, Marks], Step | None], ...]:
    own = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return (*STEPS, *(entry.load() for entry in own))


def analyse(report: CrashReport) -> Analysis:
    """Read a crash: its steps, and what follows from them."""
    marks = Marks(report)
    steps = [step for read in _steps() if (step := read(report, marks)) is not None]
    return verdict.conclude(report, marks, steps)
