"""The clock of an input that reads a pipe: it advances while the input listens.

While the store is slow, or the machine stops this process, lines wait in the pipe and in its writer. The
hosts of those lines are not silent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kpanic.shipper.api import Waiter

__all__ = ["ListeningClock"]

WORK: Final = 0.25
"""Maximum seconds that the work between two waits counts."""


class ListeningClock:
    """Seconds for which an input has listened."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Advance from a time."""
        self._now = now
        self._since = time.monotonic()

    def __call__(self) -> float:
        """Return the time."""
        return self._now + min(time.monotonic() - self._since, WORK)

    def wait(self, waiter: Waiter, seconds: float | None) -> list[Any]:
        """Listen: see :meth:`kpanic.shipper.api.Waiter.wait`.

        :param seconds: None where no reader waits for anything, so that the time does not matter.
        """
        self._go_on(WORK)
        found = waiter.wait(seconds)
        self._go_on(WORK + (seconds or 0.0))
        return found

    def _go_on(self, most: float) -> None:
        now = time.monotonic()
        self._now += min(now - self._since, most)
        self._since = now
