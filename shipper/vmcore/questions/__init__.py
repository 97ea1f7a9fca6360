"""The questions to a dump; each is one file with a function from the dump to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.shipper.vmcore.questions import cpus, lists, locks, memory, objects, stack, system, tasks, trap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.vmcore.answers import Answer
    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["QUESTIONS", "asked"]

_POINTER: Final = frozenset(
    {
        *("null-dereference", "bad-pointer", "general-protection", "write-protected", "exec-protected"),
        *("user-memory-access", "bug", "invalid-opcode", "divide-error", "stack-corruption", "double-fault"),
        *("use-after-free", "out-of-bounds", "list-corruption", "refcount", "page-state", "slab-corruption"),
        *("warning", "unknown"),
    }
)
_OBJECT: Final = _POINTER - {"divide-error", "stack-corruption", "double-fault"}
_STACK: Final = frozenset({"stack-overflow", "stack-corruption", "double-fault"})
_WAITING: Final = frozenset({"hung-task", "soft-lockup", "hard-lockup", "rcu-stall", "unknown"})


class Question(NamedTuple):
    """A question, and the causes that raise it.

    :ivar causes: slugs of the table of causes; None for all.
    """

    name: str
    ask: Callable[[Dump], Answer]
    causes: frozenset[str] | None


QUESTIONS: Final = (
    Question(trap.NAME, trap.ask, _POINTER | {"stack-overflow"} | _WAITING - {"hung-task"}),
    Question(stack.NAME, stack.ask, _STACK),
    Question(lists.NAME, lists.ask, frozenset({"list-corruption"})),
    Question(objects.NAME, objects.ask, _OBJECT),
    Question(locks.NAME, locks.ask, _WAITING),
    Question(tasks.NAME, tasks.ask, _WAITING),
    Question(memory.NAME, memory.ask, frozenset({"out-of-memory"})),
    Question(cpus.NAME, cpus.ask, None),
    Question(system.NAME, system.ask, None),
)
"""The questions in order: those that answer the verdict come first, because the time may run out."""


def asked(cause: str) -> Iterator[Question]:
    """Yield the questions that a cause raises."""
    for question in QUESTIONS:
        if question.causes is None or cause in question.causes:
            yield question
