"""Waiting for a condition: the one place of the tests that sleeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 60, *, every: float = 0.01) -> None:
    """Wait until the condition holds; look at it every so many seconds.

    :raises AssertionError: if it does not hold within so many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        time.sleep(every)


def stays(condition: Callable[[], object], seconds: float) -> None:
    """Watch a condition for so many seconds.

    :raises AssertionError: as soon as it does not hold.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), "it did not stay so"
        time.sleep(0.01)
    assert condition(), "it did not stay so"
