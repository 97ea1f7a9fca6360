"""Records that the store takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

__all__ = ["DeadLetter", "Expired", "OutputStatus", "Position", "Refusal", "Status"]


class Position(NamedTuple):
    """How far an input has read one of its sources."""

    input: str
    key: str
    value: str | None
    """None deletes the position."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document that a receiver will never take."""

    output: str
    id: str
    reason: str
    at: float
    """Seconds since 1970 UTC."""


class Expired(NamedTuple):
    """How many documents lost their text."""

    delivered: int
    undelivered: int
    """Removed documents that some output did not have yet; only the limit of size removes such documents."""


class Refusal(NamedTuple):
    """Dead letters of one output with the same reason."""

    output: str
    reason: str
    """The reason of one dead letter; the others may differ in their quotes of the document."""
    documents: int


class OutputStatus(msgspec.Struct, frozen=True):
    """The state of one output."""

    name: str
    delivered: int
    pending: int
    """Documents neither delivered nor refused, including those to be tried again."""
    retrying: int
    dead: int
    last_delivery: float | None
    """Seconds since 1970 UTC."""
    trouble: str
    """Why nothing is delivered at the moment; empty if all is well."""
    trouble_since: float | None
    """Seconds since 1970 UTC."""


class Status(msgspec.Struct, frozen=True):
    """The contents of the store in numbers."""

    path: str
    bytes: int
    documents: int
    kept: int
    """Documents with their text; for the others the ledger has only the ``_id``."""
    incidents: int
    fatal: int
    """Incidents that killed the kernel."""
    first: str | None
    """``@timestamp`` of the earliest crash that is kept."""
    last: str | None
    outputs: list[OutputStatus]
