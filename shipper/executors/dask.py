"""Tasks on the workers of a Dask scheduler.

The scheduler gives the task of a worker that dies to another one. If the scheduler itself dies, the tasks
that are not yet done are given to the next one at its address.

:see: https://distributed.dask.org/en/stable/resilience.html
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic

import tenacity

from kpanic import __version__
from kpanic.shipper.executors import Died, Sent
from kpanic.shipper.terminal import OperatorError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.executors import Run

__all__ = ["Dask"]

AHEAD: Final = 4
"""Tasks for each thread of a worker, so that it need not wait for the next one."""
CONNECT: Final = 10
"""Seconds within which a scheduler answers."""
PATIENCE: Final = 600
"""Seconds within which a scheduler that died is back."""
LOOK: Final = 5.0
"""Seconds after which workers are counted again."""


class _FailedError(Exception):
    """A worker cannot run the tasks; the text says why."""


class Dask(Generic[Sent]):
    """The workers of a scheduler.

    :param address: ``dask://host:port``.
    :raises OperatorError: the library is missing, or no scheduler answers.
    """

    def __init__(self, work: Callable[[Any], Iterator[Sent]], address: str) -> None:
        try:
            import distributed.comm  # noqa: PLC0415 - an extra
        except ImportError:
            raise OperatorError(f"{address} needs a library: pip install 'kpanic[dask]'") from None
        for name in list(
            logging.root.manager.loggerDict
        ):  # the library gives some of them levels of their own
            if name.partition(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said here
        self._distributed: Any = distributed
        self._work = work
        self._address = address
        self._runs: deque[_Run[Sent]] = deque()
        self._most = 0
        self._looked = -LOOK
        try:
            self._client = self._connected()
        except OSError:
            raise OperatorError(f"no Dask scheduler answers at {address}") from None
        if not self._client.nthreads():
            say(f"{address} has no worker yet: waiting for one")

    @property
    def has_room(self) -> bool:
        """Whether there are fewer tasks than the workers start soon."""
        while self._runs and self._runs[0].taken:
            self._runs.popleft()
        return len(self._runs) < self._counted()

    def submit(self, task: Any) -> Run[Sent]:  # noqa: ANN401 - what the work takes
        """Give a task to the scheduler."""
        run = _Run[Sent](task)
        self._runs.append(run)
        self._submit(run)
        return run

    def wait(self, run: Run[Sent]) -> None:
        """Wait until a run has ended.

        :raises OperatorError: workers cannot run it, or the scheduler did not come back.
        """
        assert isinstance(run, _Run)  # noqa: S101 - it is what submit returned
        try:
            run.sent = deque(run.future.result())
            run.future = None  # the scheduler forgets it
        except self._distributed.KilledWorker:
            run.died = True
        except (
            concurrent.futures.CancelledError,
            asyncio.CancelledError,
            self._distributed.comm.CommClosedError,
            OSError,
        ):
            self._reconnect()
        except Exception as error:  # noqa: BLE001 - a worker without kpanic, or with another version
            raise OperatorError(f"{self._address}: a worker cannot parse: {error}") from None

    def close(self) -> None:
        """Give up what is not yet done."""
        self._client.close()

    def _counted(self) -> int:
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            try:
                self._most = AHEAD * max(1, sum(self._client.nthreads().values()))
            except OSError:  # shows where its tasks are waited for
                self._most = self._most or AHEAD
        return self._most

    def _submit(self, run: _Run[Sent]) -> None:
        run.future = self._client.submit(_done, self._work, run.task, __version__, pure=False)

    def _connected(self) -> Any:  # noqa: ANN401 - distributed is untyped
        address = f"tcp://{self._address.partition('://')[2]}"
        return self._distributed.Client(address, timeout=CONNECT, set_as_default=False)

    def _reconnect(self) -> None:
        """Submit again, to the next scheduler, what is not yet done.

        :raises OperatorError: there is none.
        """
        say(f"{self._address}: the scheduler is gone: waiting for it")
        self._client.close(timeout=1)
        try:
            for attempt in tenacity.Retrying(
                stop=tenacity.stop_after_delay(PATIENCE),
                wait=tenacity.wait_fixed(1),
                retry=tenacity.retry_if_exception_type(OSError),
                reraise=True,
            ):
                with attempt:
                    self._client = self._connected()
        except OSError:
            raise OperatorError(f"no Dask scheduler answers at {self._address}") from None
        for run in self._runs:
            if run.sent is None:
                self._submit(run)


class _Run(Generic[Sent]):
    def __init__(self, task: Any) -> None:  # noqa: ANN401 - what the work takes
        self.task = task
        self.future: Any = None
        self.sent: deque[Sent] | None = None
        self.died = False

    @property
    def ended(self) -> bool:
        """Whether all that it sent was taken."""
        return self.sent is not None and not self.sent

    @property
    def taken(self) -> bool:
        return self.died or self.ended

    def take(self) -> Sent | None:
        """Return the next of what it sent.

        :raises Died: as of the protocol.
        """
        if self.died:
            raise Died("the workers that read it died; try it alone")
        return self.sent.popleft() if self.sent else None


def _done(work: Callable[[Any], Iterator[Sent]], task: Any, version: str) -> list[Sent]:  # noqa: ANN401 - what the work takes
    """Return what a task sends, on a worker.

    :raises _FailedError: it has another version, which may read a crash in another way, or a fault.
    """
    if version != __version__:
        raise _FailedError(f"it has kpanic {__version__}, here is {version}")
    try:
        return list(work(task))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong there is told here
        raise _FailedError(f"{type(error).__name__}: {error}") from None
