"""Completes the outcomes of a batch from those of its settled documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.shipper.api import DeliveryStatus, Outcome, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpanic.shipper.api import Stored

__all__ = ["outcomes_of"]


def outcomes_of(batch: Sequence[Stored], settled: Mapping[str, Outcome], failure: str) -> list[Outcome]:
    """Return the outcome of each document of a batch; unsettled documents are to be sent again.

    :param settled: outcomes by id.
    :param failure: why the other documents are not settled.
    :raises Unavailable: no document is settled.
    """
    if batch and not settled:
        raise Unavailable(failure)
    return [settled.get(stored.id) or Outcome(stored.id, DeliveryStatus.RETRY, failure) for stored in batch]
