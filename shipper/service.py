"""``kpanic run``: every input and every output at once, each in a thread, the store between them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kpanic.shipper.api import Stop
from kpanic.shipper.document import build, identify, pack
from kpanic.shipper.pipeline import AGAIN, Delivery, keep
from kpanic.shipper.store import Position, StoreDamaged, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kpanic.shipper.api import Crash, DropReason, Input, Output
    from kpanic.shipper.document import Origin
    from kpanic.shipper.pipeline import Say
    from kpanic.shipper.store import Store
    from kpanic.shipper.triage import Triage

__all__ = ["Service"]


class Service:
    """The inputs and outputs of one configuration.

    :param say: takes a line for the operator, from any thread.
    :param triage: what is known of faults.
    :param lost: is called, from any thread, once the store turns out to be damaged: nothing goes on then.
    :ivar crashes: how many each input has read, by its name, known ones included.
    :ivar dropped: how many messages each input discarded, by its name and the reason.
    """

    def __init__(  # noqa: PLR0913 - all that is joined
        self,
        store: Store,
        origin: Origin,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        say: Say,
        *,
        triage: Triage | None = None,
        lost: Callable[[], None],
    ) -> None:
        self.crashes: Counter[str] = Counter({one.name: 0 for one in inputs})
        self.dropped: Counter[tuple[str, DropReason]] = Counter()
        self._stop = Stop()
        self._say = say
        self.deliveries = [Delivery(store, output, triage=triage, say=say, lost=lost) for output in outputs]
        names = [output.name for output in outputs]
        self._inputs = [
            threading.Thread(
                target=self._run,
                name=f"input {one.name}",
                args=(
                    one,
                    _Feed(
                        f"{number} {one.name}",
                        store,
                        origin,
                        self._stop,
                        self._wake,
                        say,
                        lost,
                        names,
                        self.crashes,
                        self.dropped,
                    ),
                ),
            )
            for number, one in enumerate(inputs)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in (*self.deliveries, *self._inputs):
            thread.start()

    def stop(self, patience: float) -> bool:
        """End within ``patience`` seconds: inputs first, then what is in flight; return whether all ended."""
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
        """Tell whether every output still works; an input may be done, as a socket that cannot be had."""
        return all(delivery.is_alive() for delivery in self.deliveries)

    def _wake(self) -> None:
        for delivery in self.deliveries:
            delivery.wake()

    def _run(self, one: Input, feed: _Feed) -> None:
        """Run an input; one that fails is started again, as it finds again what it had not kept."""
        while not self._stop.is_set():
            try:
                one.run(feed)
            except StoreDamaged as error:
                feed.give_up(error)
            except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the others
                self._say(f"input {one.name}: {type(error).__name__}: {error}; it is started again")
                self._stop.wait(AGAIN)
            else:
                return


@dataclass
class _Feed:
    """See :class:`kpanic.shipper.inputs.Feed`."""

    name: str
    store: Store
    origin: Origin
    stop: Stop
    wake: Callable[[], None]
    say: Say
    lost: Callable[[], None]
    outputs: Sequence[str]
    crashes: Counter[str]
    dropped: Counter[tuple[str, DropReason]]
    _told: str = field(default="", init=False)

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        documents = [pack(build(report, origin)) for report, origin in crashes]
        self.crashes[self.name.partition(" ")[2]] += len(documents)
        moved = [Position(self.name, key, value) for key, value in (positions or {}).items()]
        while True:
            try:
                if keep(self.store, documents, self.outputs, moved, self.say):
                    self.wake()
            except StoreDamaged as error:
                self.give_up(error)
                return
            except StoreError as error:
                if str(error) != self._told:
                    self._told = str(error)
                    self.say(f"{error}; trying again")
                if self.stop.wait(AGAIN):
                    return
            else:
                if self._told:
                    self._told = ""
                    self.say(f"{self.store.path}: takes crashes again", level="info")
                return

    def give_up(self, error: StoreDamaged) -> None:
        self.say(str(error))
        self.stop.set()
        self.lost()

    def drop(self, messages: int, reason: DropReason) -> None:
        self.dropped[self.name.partition(" ")[2], reason] += messages

    def positions(self) -> dict[str, str]:
        return self.store.positions(self.name)

    def delivered(self, crashes: Iterable[Crash]) -> bool:
        return self.store.all_delivered([identify(*crash)[1] for crash in crashes], self.outputs)
