"""What the pipeline does with an output, without a store."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from kpanic.shipper.api import DeliveryStatus, Unavailable

if TYPE_CHECKING:
    from kpanic.shipper.api import Outcome, Output, Stored


def statuses(outcomes: list[Outcome]) -> Counter[DeliveryStatus]:
    return Counter(outcome.status for outcome in outcomes)


def deliver(output: Output, documents: list[Stored], tries: int = 40) -> list[Outcome]:
    """Send until every document is settled."""
    settled: dict[str, Outcome] = {}
    for _ in range(tries):
        left = [document for document in documents if document.id not in settled]
        if not left:
            break
        try:
            outcomes = output.send(left)
        except Unavailable:
            time.sleep(0.05)
            continue
        settled |= {outcome.id: outcome for outcome in outcomes if outcome.status is not DeliveryStatus.RETRY}
    return [settled[document.id] for document in documents]
