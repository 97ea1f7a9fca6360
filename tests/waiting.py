"""Waits for conditions, as the only module of the tests that sleeps, and reads files that grow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def until(condition: Callable[[], object], seconds: float = 60, *, every: float = 0.01) -> None:
    """Wait until the condition holds; check it periodically.

    :raises AssertionError: if it does not hold within so many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        time.sleep(every)


def stays(condition: Callable[[], object], seconds: float) -> None:
    """Tell whether a condition holds for a number of seconds.

    :raises AssertionError: as soon as it does not hold.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), "it did not stay so"
        time.sleep(0.01)
    assert condition(), "it did not stay so"


def lines_of(path: Path) -> list[str]:
    """Return the complete lines of a file that another process writes; none if it does not exist yet."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1].decode().split("\n")[:-1]
