"""Faults of the grammar itself: each costs a line or a report, never what stands beside it."""

from __future__ import annotations

from collections import Counter

__all__ = ["counts", "note"]

_counts: Counter[str] = Counter()


def note(stage: str, error: Exception) -> None:
    """Count a fault, and log the first one of a stage.

    :param stage: which part failed: ``transport kmsg``, ``boot``, ``header``, ``reading``.
    """
    _counts[stage] += 1
    if _counts[stage] == 1:
        import logging  # noqa: PLC0415 - faults are rare

        logging.getLogger(__name__).warning(
            "the grammar has a fault in %s, please report it", stage, exc_info=error
        )


def counts() -> dict[str, int]:
    """Return how many faults each stage had since the process began."""
    return dict(_counts)
