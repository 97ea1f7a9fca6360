"""Reads a crash step by step, as an administrator does by hand.

Each step is a module with a function that returns sentences about the report, each with the lines that prove
it (:mod:`kpanic.grammars.reading.claim`). Other distributions add steps, which come before the verdict,
through the entry point group ``kpanic.steps``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic import plugins
from kpanic.grammars.model import Sentence, Step
from kpanic.grammars.reading import (
    before,
    consequences,
    hardware,
    kernel,
    path,
    trigger,
    verdict,
    where,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import Analysis, CrashReport

    Reader = Callable[[CrashReport], Step | None]

__all__ = ["GROUP", "STEPS", "analyse"]

GROUP: Final = "kpanic.steps"

LONGEST: Final = 4000
"""Maximum characters of a finding."""
STEPS: Final[tuple[Reader, ...]] = (
    kernel.read,
    hardware.read,
    before.read,
    trigger.read,
    words.read,
    where.read,
    path.read,
    consequences.read,
)
"""The steps, in order."""


@functools.lru_cache(maxsize=1)
def _own() -> tuple[tuple[str, Reader], ...]:
    """Load the steps of other distributions, in the order of their names.

    :raises TypeError: a step is not callable.
    """
    found = []
    for entry in plugins.points(GROUP):
        reader = entry.load()
        if not callable(reader):
            raise TypeError(
                f"entry point {entry.name!r} of {GROUP} is not a function from a report to a step"
            )
        found.append((entry.name, reader))
    return tuple(found)


def _bounded(step: Step) -> Step:
    """Cut overlong sentences, which hostile names in the report can cause."""
    if sum([len(one.text) for one in step.sentences]) <= LONGEST:
        return step
    most = LONGEST // len(step.sentences)
    cut = [
        one if len(one.text) <= most else structs.replace(one, text=f"{one.text[:most]}...")
        for one in step.sentences
    ]
    return structs.replace(step, sentences=tuple(cut))


def analyse(report: CrashReport) -> Analysis:
    """Return the steps of a report, and the verdict that follows from them."""
    steps = [_bounded(step) for read in STEPS if (step := read(report)) is not None]
    for name, read in _own():
        try:
            step = read(report)
        except Exception as error:  # noqa: BLE001 - a fault of a step must not cost the crash
            step = Step(name, (Sentence(f"This step failed: {type(error).__name__}: {error}"),))
        if step is not None:
            steps.append(_bounded(step))
    return verdict.conclude(report, steps)
