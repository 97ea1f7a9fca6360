"""``kpanic run``: every input and every output at once, each in a thread, the store between them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipper.document import build, pack
from shipper.pipeline import Delivery
from shipper.store import Position, StoreDamaged, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shipper.document import Origin
    from shipper.inputs import Crash, Input
    from shipper.outputs import Output
    from shipper.store import Store
    from shipper.triage import Triage

__all__ = ["Service"]

AGAIN = 5.0
"""Seconds until the store is tried again that could not take something."""


class Service:
    """The inputs and outputs of one configuration.

    :param say: takes a line for the operator, from any thread.
    :param triage: what is known of faults.
    """

    def __init__(  # noqa: PLR0913 - all that is joined
        self,
        store: Store,
        origin: Origin,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        say: Callable[[str], None],
        *,
        triage: Triage | None = None,
    ) -> None:
        self.ended = threading.Event()
        """Set when it cannot go on."""
        self._stop = threading.Event()
        self._say = say
        self._deliveries = [Delivery(store, output, triage=triage, say=say) for output in outputs]
        self._inputs = [
            threading.Thread(
                target=self._run,
                name=f"input {one.name}",
                args=(
                    one,
                    _Feed(f"{number} {one.name}", store, origin, self._stop, self._wake, say, self.ended),
                ),
            )
            for number, one in enumerate(inputs)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in (*self._deliveries, *self._inputs):
            thread.start()

    def stop(self, patience: float) -> bool:
        """End within ``patience`` seconds: inputs first, then what is in flight; return whether all ended."""
        until = time.monotonic() + patience
        self._stop.set()
        for thread in self._inputs:
            thread.join(max(0.0, until - time.monotonic()))
        for delivery in self._deliveries:
            delivery.stop()
        for delivery in self._deliveries:
            delivery.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in (*self._inputs, *self._deliveries))

    def alive(self) -> bool:
        """Tell whether every output still works; an input may be done, as a socket that cannot be had."""
        return all(delivery.is_alive() for delivery in self._deliveries)

    def _wake(self) -> None:
        for delivery in self._deliveries:
            delivery.wake()

    def _run(self, one: Input, feed: _Feed) -> None:
        """Run an input; one that fails is started again, as it finds again what it had not kept."""
        while not self._stop.is_set():
            try:
                one.run(feed)
            except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the others
                self._say(f"input {one.name}: {type(error).__name__}: {error}; it is started again")
                self._stop.wait(AGAIN)
            else:
                return


@dataclass
class _Feed:
    """See :class:`shipper.inputs.Feed`."""

    name: str
    store: Store
    origin: Origin
    stop: threading.Event
    wake: Callable[[], None]
    say: Callable[[str], None]
    ended: threading.Event

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        documents = [pack(build(report, origin)) for report, origin in crashes]
        moved = [Position(self.name, key, value) for key, value in (positions or {}).items()]
        told = ""
        while True:
            try:
                if self.store.add(documents, moved):
                    self.wake()
            except StoreDamaged as error:
                self.say(str(error))
                self.stop.set()
                self.ended.set()
                return
            except StoreError as error:
                if str(error) != told:
                    told = str(error)
                    self.say(f"{error}; trying again")
                if self.stop.wait(AGAIN):
                    return
            else:
                return

    def positions(self) -> dict[str, str]:
        return self.store.positions(self.name)
