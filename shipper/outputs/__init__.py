"""Where documents go.

An output is a plugin: an entry point of the group ``kpanic.outputs`` that names a class with a
``Config`` (a msgspec struct, its keys are those of ``output.<name>`` in the configuration) and a
constructor that takes one. The built-in ones are registered in the same way.

An output never waits between tries and never forgets: the pipeline owns the backoff, the store owns
the documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import msgspec

__all__ = ["THERE", "Outcome", "Output", "Stored", "Unavailable", "Verdict"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as the store keeps it.

    ``seq`` is its place in the store, ``id`` its ``_id`` (unique in every receiver), ``body`` one JSON
    object in UTF-8, without a line feed.
    """

    seq: int
    id: str
    body: bytes


class Verdict(StrEnum):
    """What became of one document."""

    DELIVERED = "delivered"  # the receiver has it, now or since an earlier try
    RETRY = "retry"  # not this time; nothing is wrong with the document
    REJECTED = "rejected"  # the receiver will never take it as it is


THERE = "is there already"
"""Reason of a delivery that changed nothing: the receiver has the document since an earlier try."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on the document ``id``, with the receiver's own reason unless it took it."""

    id: str
    verdict: Verdict
    reason: str = ""


class Unavailable(Exception):  # noqa: N818 - it says what the receiver is
    """The receiver cannot be reached, or refuses us as a whole: no document of the batch was settled.

    Its text is one line for the operator: which receiver, what happened, what to do.
    """


class Output(Protocol):
    """One receiver of documents."""

    Config: ClassVar[type[msgspec.Struct]]
    name: str

    def __init__(self, config: Any) -> None: ...  # noqa: ANN401 - each output has its own Config

    def send(self, batch: Sequence[Stored]) -> Iterable[Outcome]:
        """Try to deliver, once; one outcome for each document of the batch.

        :raises Unavailable: nothing of the batch was settled; all of it is to be tried again.
        """

    def check(self) -> str:
        """Say what was reached and that it would take documents, in a line for the operator.

        :raises Unavailable: it cannot be reached or would not take them.
        """

    def close(self) -> None:
        """Let go of connections and files."""
