"""Delivers documents to an output as the pipeline does, without a store."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from kpanic.shipper.api import DeliveryStatus, Unavailable
from tests.waiting import until

if TYPE_CHECKING:
    from kpanic.shipper.api import Outcome, Output, Stored


def statuses(outcomes: list[Outcome]) -> Counter[DeliveryStatus]:
    return Counter(outcome.status for outcome in outcomes)


def deliver(output: Output, documents: list[Stored]) -> list[Outcome]:
    """Send until every document is settled."""
    settled: dict[str, Outcome] = {}

    def done() -> bool:
        left = [document for document in documents if document.id not in settled]
        with contextlib.suppress(Unavailable):
            outcomes = output.send(left) if left else []
            settled.update((one.id, one) for one in outcomes if one.status is not DeliveryStatus.RETRY)
        return len(settled) == len(documents)

    until(done, every=0.05)
    return [settled[document.id] for document in documents]
