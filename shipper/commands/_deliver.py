"""Delivers documents while a command waits: ``kpanic ship`` and ``kpanic replay``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kpanic.shipper.delivery import Delivery
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kpanic.shipper.api import Output
    from kpanic.shipper.store import Store
    from kpanic.shipper.triage import Triage

__all__ = ["delivering", "say_delivered"]

ATTEMPTS = 6
"""Consecutive failures after which an output is given up until the next command: about half a minute."""


@contextmanager
def delivering(
    store: Store, outputs: Sequence[Output], triage: Triage | None = None
) -> Iterator[Callable[[], None]]:
    """Deliver during the context; at its end wait until nothing is pending or an output has failed too often.

    Yields the function that tells the outputs of new documents. An interrupt ends it after the batch that is
    being sent.
    """
    deliveries = [Delivery(store, output, triage=triage, attempts=ATTEMPTS) for output in outputs]

    def wake() -> None:
        for delivery in deliveries:
            delivery.wake()

    for delivery in deliveries:
        delivery.start()
    try:
        yield wake
        for delivery in deliveries:
            delivery.finish()
        for delivery in deliveries:
            delivery.join()
    finally:
        for delivery in deliveries:
            delivery.stop()
        for delivery in deliveries:
            delivery.join()
            if delivery.already_there:
                say(f"{delivery.output.name}: of these {delivery.already_there} there already")
            if delivery.trouble:
                say(f"kpanic: {delivery.trouble}")


def say_delivered(store: Store, outputs: Sequence[Output]) -> bool:
    """Print the state of each output; return whether each has everything."""
    names = {output.name for output in outputs}
    complete = True
    for output in store.outputs():
        if output.name not in names:
            continue
        line = f"{output.name}: {output.delivered} delivered in all"
        if output.pending:
            line += f", {output.pending} kept for the next try"
        if output.dead:
            line += f", {output.dead} refused ('kpanic status' says why)"
        say(line)
        complete = complete and not output.pending and not output.dead
    return complete
