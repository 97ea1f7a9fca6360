"""Where files are parsed: processes of this machine, or the workers of a Dask scheduler.

A task runs in another process and sends batches. If its process or worker dies, the task runs again in
another one, and no batch is returned twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DEATHS", "Died", "Executor", "Run", "executor"]

DEATHS = 3
"""Number of processes that may die at a task before it is given up."""

Sent = TypeVar("Sent")
SentOut_co = TypeVar("SentOut_co", covariant=True)


class Died(Exception):  # noqa: N818 - a property of the task
    """The processes or workers that ran a task died."""


class Run(Protocol[SentOut_co]):
    """A task that was submitted."""

    @property
    def ended(self) -> bool:
        """Whether all its batches were taken."""

    def take(self) -> SentOut_co | None:
        """Return the next batch; None if there is none yet, or no further one.

        :raises Died: the task was tried often enough.
        """


class Executor(Protocol[Sent]):
    """Runs tasks."""

    @property
    def has_room(self) -> bool:
        """Whether a task would start soon after its submission."""

    def submit(self, task: Any) -> Run[Sent]:  # noqa: ANN401 - what the work takes
        """Submit a task; tasks start in the order of submission."""

    def wait(self, run: Run[Sent]) -> None:
        """Wait until a run has sent a batch, has ended, or there is room for another."""

    def close(self) -> None:
        """End all tasks."""


def executor(work: Callable[[Any], Iterator[Sent]], on: int | str) -> Executor[Sent]:
    """Return the executor of a number of processes, which it starts, or of a scheduler.

    :param work: yields a task's batches, which are the same each time.
    :param on: the number, or ``dask://host:port``.
    :raises OperatorError: the scheduler cannot be used.
    """
    if isinstance(on, int):
        from kpanic.shipper.executors.local import Processes  # noqa: PLC0415

        return Processes(work, on)
    from kpanic.shipper.executors.dask import Dask  # noqa: PLC0415 - an extra

    return Dask(work, on)
