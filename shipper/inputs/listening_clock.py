"""The clock of an input that reads what others write into a pipe: it goes on while the input listens.

While the store takes its time, or the machine stops this process, lines wait in the pipe and with whoever
writes into it: those whose lines they are were not silent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kpanic.shipper.api import Waiter

__all__ = ["ListeningClock"]

WORK: Final = 0.25
"""Seconds that what is done between two waits counts at most."""


class ListeningClock:
    """Seconds that an input has listened, for its readers."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Go on from a time."""
        self._now = now
        self._since = time.monotonic()

    def __call__(self) -> float:
        """Return the time."""
        return self._now + min(time.monotonic() - self._since, WORK)

    def wait(self, waiter: Waiter, seconds: float | None) -> list[Any]:
        """Listen: see :meth:`kpanic.shipper.api.Waiter.wait`.

        :param seconds: None where no reader waits for anything: the time does not matter then.
        """
        self._go_on(WORK)
        found = waiter.wait(seconds)
        self._go_on(WORK + (seconds or 0.0))
        return found

    def _go_on(self, most: float) -> None:
        now = time.monotonic()
        self._now += min(now - self._since, most)
        self._since = now
