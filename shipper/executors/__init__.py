"""Where files are parsed: processes of this machine, or the workers of a Dask scheduler.

A task runs somewhere else and sends batches. One whose process or worker dies runs again, elsewhere, and what
it had sent before comes once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DEATHS", "Died", "Executor", "Run", "executor"]

DEATHS = 3
"""Processes that a task may cost."""

Sent = TypeVar("Sent")
SentOut_co = TypeVar("SentOut_co", covariant=True)


class Died(Exception):  # noqa: N818 - a property of the task
    """The processes or workers that a task was given to died."""


class Run(Protocol[SentOut_co]):
    """A task that was submitted."""

    @property
    def ended(self) -> bool:
        """Whether all that it sent was taken."""

    def take(self) -> SentOut_co | None:
        """Return the next of what it sent; None if there is nothing yet, or nothing more.

        :raises Died: it was tried often enough.
        """


class Executor(Protocol[Sent]):
    """Runs tasks."""

    @property
    def has_room(self) -> bool:
        """Whether a task that is submitted now starts soon."""

    def submit(self, task: Any) -> Run[Sent]:  # noqa: ANN401 - what the work takes
        """Take a task; those that are submitted first start first."""

    def wait(self, run: Run[Sent]) -> None:
        """Wait until a run has sent something, has ended, or there is room."""

    def close(self) -> None:
        """End what runs."""


def executor(work: Callable[[Any], Iterator[Sent]], on: int | str) -> Executor[Sent]:
    """Return the executor of a number of processes, which it starts, or of a scheduler.

    :param work: yields what a task sends, which is the same each time.
    :param on: the number, or ``dask://host:port``.
    :raises OperatorError: the scheduler cannot be used.
    """
    if isinstance(on, int):
        from kpanic.shipper.executors.local import Processes  # noqa: PLC0415

        return Processes(work, on)
    from kpanic.shipper.executors.dask import Dask  # noqa: PLC0415 - an extra

    return Dask(work, on)
