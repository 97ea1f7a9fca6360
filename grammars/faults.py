"""Faults of the grammar itself: each costs one line or one report, and no others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["counts", "guarded", "note"]

Result = TypeVar("Result")

_counts: Counter[str] = Counter()


def note(stage: str, error: Exception) -> None:
    """Count a fault, and log the first one of a stage.

    :param stage: which part failed: ``scan``, ``transport kmsg``, ``boot``, ``line``, ``header``, ``report``,
        ``reading``, ``document``.
    """
    _counts[stage] += 1
    if _counts[stage] == 1:
        import logging  # noqa: PLC0415 - faults are rare

        logging.getLogger(__name__).warning(
            "the grammar has a fault in %s, please report it", stage, exc_info=error
        )


def guarded(stage: str, step: Callable[[], Result], otherwise: Result) -> Result:
    """Return a step's result, or ``otherwise`` if it has a fault, which is noted."""
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - for hostile text
        note(stage, error)
        return otherwise


def counts() -> dict[str, int]:
    """Return the number of faults of each stage since the process began."""
    return dict(_counts)
