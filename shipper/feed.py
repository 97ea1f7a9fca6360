"""The service as a running input sees it: crashes go into the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kpanic.shipper.batch import Batch
from kpanic.shipper.crash_line import crash_lines
from kpanic.shipper.delivery import RETRY_STORE
from kpanic.shipper.document import documented
from kpanic.shipper.identity import identify
from kpanic.shipper.spool import spool
from kpanic.shipper.store import Position, StoreDamaged, StoreError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping

    from kpanic.shipper.api import Crash, DropReason, Stop
    from kpanic.shipper.delivery import Say
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.packed import Packed
    from kpanic.shipper.store import Store

__all__ = ["StoreFeed"]


@dataclass
class StoreFeed:
    """A :class:`kpanic.shipper.api.Feed` on the store.

    :ivar position_name: the input's name in the store; two inputs of one type have different ones.
    :ivar wake: is called after new documents are stored.
    :ivar on_damage: is called if the store is found damaged.
    :ivar outputs: the outputs that must have a document before a full disk may cost its text.
    :ivar crashes: how many crashes each input has read, by its name.
    :ivar dropped: how many messages each input discarded, by its name and the reason.
    """

    input_name: str
    position_name: str
    store: Store
    origin: Origin
    stop: Stop
    wake: Callable[[], None]
    say: Say
    on_damage: Callable[[], None]
    outputs: Sequence[str]
    crashes: Counter[str]
    dropped: Counter[tuple[str, DropReason]]
    _said: str = field(default="", init=False)

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        """Store crashes as they come, and positions with the last of them."""
        batch = Batch()
        try:
            for report, origin in crashes:
                if not batch.add([documented(report, origin)]):
                    continue
                if not self._store(batch.empty()):
                    return
                if self.stop.is_set() and not isinstance(crashes, Sequence):
                    return  # a file is read again at the next start, but a list is all there is
        except Exception:  # of the iterator: the crashes before it are stored
            self._store(batch.empty())
            raise
        moved = [Position(self.position_name, key, value) for key, value in (positions or {}).items()]
        self._store(batch.empty(), moved)

    def _store(self, documents: Sequence[Packed], positions: Sequence[Position] = ()) -> bool:
        """Store documents, however long the store takes; return False if the service ends first."""
        self.crashes[self.input_name] += len(documents)
        while True:
            try:
                new = self._spool(documents, positions)
            except StoreDamaged as error:
                self.give_up(error)
                return False
            except StoreError as error:
                if str(error) != self._said:
                    self._said = str(error)
                    self.say(f"{error}; trying again")
                if self.stop.wait(RETRY_STORE):
                    return False
            else:
                if self._said:
                    self._said = ""
                    self.say(f"{self.store.path}: takes crashes again", level="info")
                for line in crash_lines("kept", new):
                    self.say(line, level="info")
                return True

    def _spool(self, documents: Sequence[Packed], positions: Sequence[Position]) -> list[bytes]:
        """Store documents; return the texts of the new ones.

        :raises StoreError: some documents or the positions are not stored.
        """
        known = self.store.known_ids([document.id for document in documents])
        if spool(self.store, documents, self.outputs, positions, say=self.say):
            self.wake()
        return list({one.id: one.body for one in documents if one.id not in known}.values())

    def give_up(self, error: StoreDamaged) -> None:
        """End all inputs and ask for the store to be set aside."""
        self.say(str(error))
        self.stop.set()
        self.on_damage()

    def drop(self, messages: int, reason: DropReason) -> None:
        """Count discarded messages."""
        self.dropped[self.input_name, reason] += messages

    def positions(self) -> dict[str, str]:
        """Return the input's positions."""
        return self.store.positions(self.position_name)

    def delivered(self, crashes: Iterable[Crash]) -> bool:
        """Tell whether every output has all of these documents."""
        return self.store.all_delivered([identify(*crash)[1] for crash in crashes], self.outputs)
