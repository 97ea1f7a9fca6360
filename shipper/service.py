"""The service of ``kpanic run``: every input and every output in a thread, the store between them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from kpanic.shipper.api import WATCHDOG, Stop
from kpanic.shipper.delivery import RETRY_STORE, Delivery
from kpanic.shipper.feed import StoreFeed
from kpanic.shipper.store import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpanic.shipper.api import DropReason, Input, Output
    from kpanic.shipper.delivery import Say
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.store import Store
    from kpanic.shipper.triage import Triage

__all__ = ["Service"]


class Service:
    """The inputs and outputs of one configuration, each in a thread.

    :param origin: what is known about every crash before it is read.
    :param say: takes lines for the operator.
    :param targets: outputs of messages; neither retention nor ``unlink`` waits for them.
    :param triage: is stamped on each document that is sent.
    :param on_damage: is called, from any thread, once the store is found damaged: the service then stops.
    :ivar crashes: how many crashes each input has read, by its name, known ones included.
    :ivar dropped: how many messages each input discarded, by its name and the reason.
    """

    def __init__(  # noqa: PLR0913 - they are independent
        self,
        store: Store,
        origin: Origin,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        say: Say,
        *,
        targets: Sequence[Output] = (),
        triage: Triage | None = None,
        on_damage: Callable[[], None],
    ) -> None:
        self.crashes: Counter[str] = Counter({one.name: 0 for one in inputs})
        self.dropped: Counter[tuple[str, DropReason]] = Counter()
        self._stop = Stop()
        self._say = say
        self.deliveries = [
            Delivery(store, output, triage=triage, say=say, on_damage=on_damage)
            for output in (*outputs, *targets)
        ]
        names = [output.name for output in outputs]
        self._inputs = [
            threading.Thread(
                target=self._run,
                name=f"input {one.name}",
                args=(
                    one,
                    StoreFeed(
                        one.name,
                        f"{number} {one.name}",
                        store,
                        origin,
                        self._stop,
                        self._wake,
                        say,
                        on_damage,
                        names,
                        self.crashes,
                        self.dropped,
                    ),
                ),
            )
            for number, one in enumerate(inputs)
        ]

    def start(self) -> None:
        """Start all threads."""
        WATCHDOG.start()
        for thread in (*self.deliveries, *self._inputs):
            thread.start()

    def stop(self, patience: float) -> bool:
        """End within ``patience`` seconds, the inputs first; return whether all threads ended."""
        until = time.monotonic() + patience
        self._stop.set()
        for thread in self._inputs:
            thread.join(max(0.0, until - time.monotonic()))
        for delivery in self.deliveries:
            delivery.stop()
        for delivery in self.deliveries:
            delivery.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in (*self._inputs, *self.deliveries))

    def alive(self) -> bool:
        """Tell whether every output still runs; an input may have ended, such as a pipe."""
        return all(delivery.is_alive() for delivery in self.deliveries)

    def _wake(self) -> None:
        for delivery in self.deliveries:
            delivery.wake()

    def _run(self, one: Input, feed: StoreFeed) -> None:
        """Run an input; restart it after a failure, when it reads again what it had not kept."""
        while not self._stop.is_set():
            try:
                one.run(feed)
            except StoreDamaged as error:
                feed.give_up(error)
            except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the others
                self._say(f"input {one.name}: {type(error).__name__}: {error}; it is started again")
                self._stop.wait(RETRY_STORE)
            else:
                return
