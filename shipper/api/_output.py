"""Outputs: the methods that the pipeline calls, and the answers that outputs return."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kpanic.shipper.api._secrets import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kpanic.shipper.api._settings import Settings

__all__ = ["ALREADY_THERE", "DeliveryStatus", "Outcome", "Output", "Stored", "Unavailable"]

ALREADY_THERE = "is there already"
"""Reason of an outcome ``DELIVERED`` that changed nothing: an earlier try had delivered the document."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as the store keeps it.

    :ivar seq: its place in the store.
    :ivar id: its ``_id``, unique in every receiver.
    :ivar body: one JSON object in UTF-8, without a line feed; see :func:`with_delivery_fields`.
    """

    seq: int
    id: str
    body: bytes


class DeliveryStatus(StrEnum):
    """The outcome of a document in one try."""

    DELIVERED = "delivered"
    """The receiver has it."""
    RETRY = "retry"
    """The receiver did not take it this time; nothing is wrong with the document."""
    REJECTED = "rejected"
    """The receiver will never take the document as it is. The document becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one document in one try, with its reason.

    :ivar id: the document's ``_id``.
    :ivar status: delivered, to be tried again, or rejected.
    :ivar reason: why it was not delivered, in the receiver's own words; see :data:`ALREADY_THERE`.
    """

    id: str
    status: DeliveryStatus
    reason: str = ""


class Unavailable(Exception):  # noqa: N818 - it says what the receiver is
    """The receiver cannot be reached or takes nothing: no document of the batch was settled.

    The message is one line for the operator: which receiver, what happened, what to do. Secrets that the
    receiver repeats are hidden; see :func:`hide_secrets`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(hide_secrets(message))


class Output(Protocol):
    """A receiver of documents: ``output.<name>``.

    An output never waits between tries and never forgets: the pipeline owns the backoff, the store owns the
    documents. All calls come from one thread.
    """

    Config: ClassVar[type[Settings]]
    """The keys of ``output.<name>``."""
    name: str
    """The name of the entry point."""

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - each output has its own Config
        """Take the settings; does not connect.

        :param config: an instance of ``Config``.
        :raises ValueError: a setting cannot be used; the text begins with its key.
        """

    def send(self, batch: Sequence[Stored]) -> Iterable[Outcome]:
        """Try once to deliver a batch.

        :param batch: at most some hundred documents, oldest first.
        :return: one outcome for each document of the batch.
        :raises Unavailable: nothing of the batch was settled; all of it is sent again later.
        """

    def check(self) -> str:
        """Connect, and return a line for the operator that names the receiver.

        :raises Unavailable: the receiver cannot be reached or would take nothing.
        """

    def close(self) -> None:
        """Close connections and files; a second call does nothing."""
