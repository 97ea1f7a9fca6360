"""Limits the cost of reading one piece of text: a line, a datagram, an entry, a file.

Every pattern and every step takes time in proportion to its text, and tests check it. The watchdog is for
cases that tests miss. It interrupts a thread that spends more processor time on a piece than the length
explains: the piece is lost, later pieces are not. A running call of a C library ends first.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WATCHDOG", "TooCostly", "Watchdog", "cost", "parse_fault", "too_costly"]

BASE: Final = 1.0
"""Processor seconds that any piece may take."""
BYTE: Final = 20e-6
"""Additional processor seconds for each byte: ten times as many as the slowest texts take."""
LOOK: float = 1.0
"""Seconds between two looks at the threads."""

Result = TypeVar("Result")


class TooCostly(BaseException):
    """Raised in a thread from outside; no ``except Exception`` on the way catches it."""


def cost(size: int) -> float:
    """Return the processor seconds that so many bytes may take."""
    return BASE + BYTE * size


def too_costly(size: int) -> str:
    """Return a line for the operator about text that was given up."""
    return f"{size} bytes took more than {cost(size):.1f} s of a processor and are given up; please report it"


def parse_fault(error: Exception) -> str:
    """Return a line for the operator about an error that the grammar raised."""
    return f"a fault of the grammar ends the reading ({type(error).__name__}: {error}); please report it"


class _Watch:
    __slots__ = ("allowed", "began", "clock", "interrupted")

    def __init__(self, thread: int, allowed: Callable[[], float]) -> None:
        self.clock = time.pthread_getcpuclockid(thread)
        self.began = time.thread_time()
        self.allowed = allowed
        self.interrupted = 0


class Watchdog:
    """Watches the steps of all threads, from :meth:`start` on.

    :ivar interrupted: number of interrupted steps.
    """

    def __init__(self) -> None:
        self.interrupted = 0
        self._lock = threading.Lock()
        self._watches: dict[int, _Watch] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start; the thread ends with the process."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()

    def watched(self, step: Callable[[], Result], allowed: Callable[[], float]) -> Result:
        """Run a step in this thread, and return its result.

        :param allowed: returns the processor seconds that the step may take, as of now.
        :raises TooCostly: the step took more.
        """
        if self._thread is None:
            return step()
        thread = threading.get_ident()
        watch = self._watches[thread] = _Watch(thread, allowed)
        try:
            return step()
        finally:
            with self._lock:
                self._watches.pop(thread, None)
                if watch.interrupted:  # perhaps not yet raised
                    _raise(thread, None)

    def _run(self) -> None:
        while True:
            time.sleep(LOOK)
            for thread, watch in list(self._watches.items()):
                with self._lock:
                    if self._watches.get(thread) is watch and self._exceeded(watch):
                        self.interrupted += not watch.interrupted
                        watch.interrupted += 1
                        _raise(thread, TooCostly)

    @staticmethod
    def _exceeded(watch: _Watch) -> bool:
        """Tell whether a step has taken too long; a swallowed interruption is repeated."""
        taken = time.clock_gettime(watch.clock) - watch.began
        return taken > watch.allowed() * (1 + watch.interrupted)


def _raise(thread: int, error: type[BaseException] | None) -> None:
    import ctypes  # noqa: PLC0415 - few processes need it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(error) if error else None
    )


WATCHDOG = Watchdog()
"""The watchdog of this process; ``kpanic run`` starts it."""
