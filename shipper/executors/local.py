"""Tasks in processes of this machine.

multiprocessing's own pool spends a tenth of a process on its watching threads, and breaks once a process is
killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import traceback
from collections import deque
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Generic, NoReturn

from kpanic.shipper.executors import DEATHS, Died, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.executors import Run

__all__ = ["Processes"]

AHEAD = 1 << 23
"""Bytes by which each process may be ahead of the task whose turn it is."""
GIVEN = 4
"""Tasks that a process gets in advance, so that it does not wait for the next one."""
END = b""
"""Message that a process sends after a task."""


class Processes(Generic[Sent]):
    """Processes that each take the next task.

    :param count: number of processes; a process that dies is replaced.
    """

    def __init__(self, work: Callable[[Any], Iterator[Sent]], count: int) -> None:
        self._nursery = _Nursery(work)
        self._workers = [_Worker[Sent](self._nursery.born()) for _ in range(count)]
        self._waiting: deque[_Run[Sent]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether a process has nearly finished its tasks."""
        return not self._waiting and any(worker.idle for worker in self._workers)

    def submit(self, task: Any) -> Run[Sent]:  # noqa: ANN401 - what the work takes
        """Give a task to the process that has the least to do."""
        run = _Run[Sent](task)
        self._waiting.append(run)
        self._give()
        return run

    def wait(self, run: Run[Sent]) -> None:
        """Wait until a process sends a message; a process that is far ahead of this run is not read."""
        assert isinstance(run, _Run)  # noqa: S101 - it is what submit returned
        due = run.worker
        sending = {one.pipe: one for one in self._workers if due in {None, one} or one.held < AHEAD}
        for pipe in wait(list(sending)):
            worker = sending[pipe]  # type: ignore[index] # they are connections
            if not worker.receive():
                self._replace(worker)
        self._give()

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.pipe.close()
        self._nursery.close()

    def _give(self) -> None:
        while self._waiting and (idle := [worker for worker in self._workers if worker.idle]):
            min(idle, key=lambda worker: len(worker.runs)).give(self._waiting.popleft())
        if not self._workers:
            while self._waiting:
                self._waiting.popleft().died = True

    def _replace(self, dead: _Worker[Sent]) -> None:
        """Start another process; the dead one was working on the first of its tasks."""
        self._workers.remove(dead)
        dead.pipe.close()
        for place, run in enumerate(dead.runs):
            run.lost(here=not place)
        self._waiting.extendleft(run for run in reversed(dead.runs) if not run.died)
        with contextlib.suppress(OSError):
            self._workers.append(_Worker(self._nursery.born()))


class _Run(Generic[Sent]):
    def __init__(self, task: Any) -> None:  # noqa: ANN401 - what the work takes
        self.task = task
        self.worker: _Worker[Sent] | None = None
        self.died = False
        self._deaths = 0
        self._complete = False
        self._received = 0
        self._again = 0  # number of these that a repetition has sent again
        self._held: deque[tuple[_Worker[Sent], bytes]] = deque()

    @property
    def ended(self) -> bool:
        """Whether all that it sent was taken."""
        return self._complete and not self._held

    def received(self, worker: _Worker[Sent], body: bytes) -> None:
        if body == END:
            self._complete = True
        elif self._again:
            self._again -= 1
        else:
            self._received += 1
            self._held.append((worker, body))
            worker.held += len(body)

    def lost(self, *, here: bool) -> None:
        """Begin again in a new process; ``here``: the old process may have died of this task."""
        self.worker = None
        self._again = self._received
        self._deaths += here
        self.died = self._deaths >= DEATHS

    def take(self) -> Sent | None:
        """Return the next batch that the process sent.

        :raises Died: as of the protocol.
        """
        if not self._held:
            if self.died:
                raise Died("the process that read it died; try it alone")
            return None
        worker, body = self._held.popleft()
        worker.held -= len(body)
        sent: Sent = pickle.loads(body)  # noqa: S301 - of a process of ours
        return sent


class _Worker(Generic[Sent]):
    """A process.

    :ivar runs: its unfinished tasks, in order.
    :ivar held: bytes that it has sent before their turn.
    """

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.runs: deque[_Run[Sent]] = deque()
        self.held = 0

    @property
    def idle(self) -> bool:
        return len(self.runs) < GIVEN

    def give(self, run: _Run[Sent]) -> None:
        self.runs.append(run)
        run.worker = self
        with contextlib.suppress(OSError):  # it died, which shows when it is asked
            self.pipe.send_bytes(pickle.dumps(run.task))

    def receive(self) -> bool:
        """Take one message; return False if the process is dead."""
        try:
            body = self.pipe.recv_bytes()
        except (EOFError, OSError):
            return False
        self.runs[0].received(self, body)
        if body == END:
            self.runs.popleft()
        return True


class _Nursery:
    """A process that starts the others: it has no outputs, and no threads, which a fork would lose.

    The others end with it, and it ends with its parent.
    """

    def __init__(self, work: Callable[[Any], Iterator[Any]]) -> None:
        self._fork = multiprocessing.get_context("fork")
        self._control, theirs = socket.socketpair()
        self._process = self._fork.Process(target=self._run, args=(theirs, work))
        self._process.start()
        theirs.close()

    def born(self) -> Connection:
        """Start a process, and return its pipe.

        :raises OSError: the nursery is dead.
        """
        ours, theirs = self._fork.Pipe()
        with theirs:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
        return ours

    def close(self) -> None:
        self._control.close()
        self._process.join()

    def _run(self, control: socket.socket, work: Callable[[Any], Iterator[Any]]) -> None:
        self._control.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
        children: set[int] = set()
        while True:
            message, handles, *_ = socket.recv_fds(control, 1, 1)
            if not message:
                break
            child = os.fork()
            if not child:
                control.close()
                _serve(Connection(handles[0]), work)
            os.close(handles[0])
            children = {one for one in (*children, child) if os.waitpid(one, os.WNOHANG) == (0, 0)}
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _serve(pipe: Connection, work: Callable[[Any], Iterator[Any]]) -> NoReturn:
    """Run tasks until the parent closes its end, then end this process."""
    try:
        while True:
            task = pickle.loads(pipe.recv_bytes())  # noqa: S301 - of the parent
            for sent in work(task):
                pipe.send_bytes(pickle.dumps(sent))
            pipe.send_bytes(END)
    except (EOFError, ConnectionError):
        pass
    except BaseException:  # noqa: BLE001 - this is the process's last message
        traceback.print_exc()
    finally:
        os._exit(0)
