"""Tasks on the workers of a Dask scheduler.

A task's batches are fetched a few at a time, each time by a call on the worker that has the task open, so
that neither the worker nor this process holds all of them. If another worker gets the call, it runs the task
anew and skips the batches that were fetched before.

The scheduler gives the task of a worker that dies to another one. If the scheduler itself dies, the tasks
that are not yet done are given to the next one at its address.

:see: https://distributed.dask.org/en/stable/resilience.html
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
import uuid
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple

import tenacity

from kpanic import __version__
from kpanic.shipper.executors import Died, Sent
from kpanic.shipper.terminal import OperatorError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.executors import Run

__all__ = ["Dask"]

AHEAD: Final = 4
"""Tasks for each thread of a worker, so that no thread waits for its next task."""
CONNECT: Final = 10
"""Seconds within which a scheduler answers."""
PATIENCE: Final = 600
"""Seconds within which a scheduler that died must be back."""
LOOK: Final = 5.0
"""Seconds after which workers are counted again."""
SOME: Final = 8
"""Batches of a task, of some megabytes at most, that are fetched at once."""
OPEN: Final = 2 * AHEAD
"""Open tasks for each thread of a worker."""


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
        # the library sets levels of its own on some loggers
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)  # this class reports what matters
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
        """Whether the workers could start more tasks soon."""
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
        """Wait until a run has sent a batch or has ended, or for some seconds.

        :raises OperatorError: workers cannot run the task, or the scheduler did not come back.
        """
        assert isinstance(run, _Run)  # noqa: S101 - it is what submit returned
        try:
            some = run.future.result(LOOK)
            run.future = None  # the scheduler forgets it
            run.fetched(some)
            if run.more:
                self._submit(run)
        except TimeoutError:
            self._look_after(run)
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
        """Give up unfinished tasks."""
        self._client.close()

    def _counted(self) -> int:
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            try:
                self._most = AHEAD * max(1, sum(self._client.nthreads().values()))
            except OSError:  # shows where its tasks are waited for
                self._most = self._most or AHEAD
        return self._most

    def _look_after(self, run: _Run[Sent]) -> None:
        """Give a call to any worker if the worker with its open task is gone.

        The scheduler does so only if there was another one at that moment.
        """
        try:
            workers = self._client.nthreads()
        except OSError:  # the scheduler is gone, which the next call reports
            return
        if run.worker and run.worker not in workers:
            run.worker = ""
            self._submit(run)

    def _submit(self, run: _Run[Sent]) -> None:
        run.future = self._client.submit(
            _fetched,
            self._work,
            run.task,
            __version__,
            run.token,
            run.count,
            pure=False,
            workers=run.worker or None,
            allow_other_workers=bool(run.worker),
            priority=int(bool(run.worker)),
        )

    def _connected(self) -> Any:  # noqa: ANN401 - distributed is untyped
        address = f"tcp://{self._address.partition('://')[2]}"
        return self._distributed.Client(address, timeout=CONNECT, set_as_default=False)

    def _reconnect(self) -> None:
        """Submit unfinished tasks again, to the next scheduler.

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
            if run.more and not run.died:
                self._submit(run)


class _Some(NamedTuple, Generic[Sent]):
    """Some batches of a task."""

    sent: list[Sent]
    more: bool
    worker: str
    """Address of the worker that sent the batches."""


class _Run(Generic[Sent]):
    """A task.

    :ivar token: identifies the task on a worker.
    :ivar worker: address of the worker that has it open; empty before the first call.
    :ivar future: the call that fetches its next batches; None if there are no more.
    :ivar sent: batches that were fetched and not yet taken.
    :ivar count: number of fetched batches.
    :ivar more: whether there may be more batches.
    """

    def __init__(self, task: Any) -> None:  # noqa: ANN401 - what the work takes
        self.task = task
        self.token = uuid.uuid4().hex
        self.worker = ""
        self.future: Any = None
        self.sent = deque[Sent]()
        self.count = 0
        self.more = True
        self.died = False

    def fetched(self, some: _Some[Sent]) -> None:
        self.sent.extend(some.sent)
        self.count += len(some.sent)
        self.more, self.worker = some.more, some.worker

    @property
    def ended(self) -> bool:
        """Whether all that it sent was taken."""
        return not self.more and not self.sent

    @property
    def taken(self) -> bool:
        return self.died or self.ended

    def take(self) -> Sent | None:
        """Return the next batch.

        :raises Died: as of the protocol.
        """
        if self.died:
            raise Died("the workers that read it died; try it alone")
        return self.sent.popleft() if self.sent else None


_open: dict[str, tuple[int, Iterator[Any]]] = {}
"""On a worker: open tasks by their token, each with the number of batches that it has sent."""
_opening = threading.Lock()


def _fetched(
    work: Callable[[Any], Iterator[Sent]],
    task: Any,  # noqa: ANN401 - what the work takes
    version: str,
    token: str,
    count: int,
) -> _Some[Sent]:
    """Return a task's next batches, on a worker.

    :param count: number of batches that were fetched before.
    :raises _FailedError: the worker has a fault, or another version, which may read a crash differently.
    """
    from distributed import get_worker  # noqa: PLC0415 - an extra

    if version != __version__:
        raise _FailedError(f"it has kpanic {__version__}, here is {version}")
    worker = get_worker()
    try:
        with _opening:
            at, sending = _open.pop(token, (-1, iter(())))
        if at != count:  # it is not open here, or what it sent last was lost
            sending = work(task)
            deque(islice(sending, count), maxlen=0)
        sent = list(islice(sending, SOME))
    except Exception as error:  # noqa: BLE001 - any fault of the worker is reported here
        raise _FailedError(f"{type(error).__name__}: {error}") from None
    more = len(sent) == SOME
    if more:
        with _opening:
            _open[token] = (count + len(sent), sending)
            while len(_open) > OPEN * worker.state.nthreads:
                del _open[next(iter(_open))]
    return _Some(sent, more, worker.address)
