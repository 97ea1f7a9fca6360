"""The delivery of the store's documents to one output.

Inputs and deliveries know nothing of each other; the store is between them. Every output has a thread and a
cursor of its own, so that a failing output delays no other.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from kpanic.shipper.api import ALREADY_THERE, DeliveryStatus, Outcome, Unavailable, hide_secrets, shown_reason
from kpanic.shipper.crash_line import crash_lines
from kpanic.shipper.store import StoreDamaged, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tenacity import RetryCallState

    from kpanic.shipper.api import Output, Stored
    from kpanic.shipper.store import Store
    from kpanic.shipper.triage import Triage

__all__ = ["BATCH", "RETRY_STORE", "Delivery", "Say"]

BATCH = 500
"""Documents sent at a time: one bulk request of the usual sizes."""
LONGEST_WAIT = 60.0
"""Seconds between two tries, at most."""
SOON = 1.0
"""Seconds that new documents wait while a receiver answers but refuses earlier ones."""
FAULTS = 3
"""Single documents at which an output fails until the fault counts as the output's own."""
_OF_A_DOCUMENT = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    struct.error,
)
"""Errors of an output that are not errors of its connection."""
RETRY_STORE = 5.0
"""Seconds until the store is tried again after a failed write."""


class Say(Protocol):
    """Takes a line for the operator. It is called from any thread."""

    def __call__(self, message: str, level: Literal["info", "warn", "error"] = "warn") -> None:
        """Print or log a message."""


class _NothingTaken(Exception):  # noqa: N818 - a reason to wait
    """The receiver cannot be reached, or takes no document of a batch."""


class Delivery(threading.Thread):
    """Delivers the documents of the store to one output, until :meth:`finish` or :meth:`stop`.

    :param triage: is stamped on each document that is sent.
    :param say: takes messages about trouble and its end; by default they are dropped.
    :param attempts: how often in a row an output may fail before the thread ends; None for no limit.
    :param on_damage: is called once if the store is found damaged, which ends the thread.
    :ivar trouble: why the thread ended before all documents were delivered; empty if it did not.
    :ivar outcomes: documents by the status of their delivery.
    :ivar already_there: how many delivered documents the receiver had before.
    """

    def __init__(  # noqa: PLR0913 - they are independent
        self,
        store: Store,
        output: Output,
        *,
        triage: Triage | None = None,
        attempts: int | None = None,
        say: Say | None = None,
        on_damage: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name=f"output {output.name}")
        self.output = output
        self.trouble = ""
        self.outcomes: Counter[DeliveryStatus] = Counter()
        self.already_there = 0
        self._store = store
        self._triage = triage
        self._attempts = attempts
        self._say = say
        self._on_damage = on_damage
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._finishing = False
        self._noted = ""
        self._answers = False
        store.register_output(output.name)
        self._until = store.unsettled_until(output.name)

    def wake(self) -> None:
        """Look into the store again: documents may have been added."""
        self._wake.set()

    def finish(self) -> None:
        """End once nothing is pending."""
        self._finishing = True
        self._wake.set()

    def stop(self) -> None:
        """End after the batch that is being sent; other documents stay in the store."""
        self._ended.set()
        self._wake.set()

    def run(self) -> None:
        """Deliver; this is the thread."""
        try:
            if self._say:
                self._check_output(self._say)
            while not self._ended.is_set():
                try:
                    if self._work():
                        break
                except StoreDamaged as error:
                    self.trouble = str(error)
                    if self._on_damage:
                        self._on_damage()
                    break
                except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the others
                    self.trouble = self._describe(error)
                    if self._attempts is not None:
                        break
                    if self._say and not self._ended.is_set():
                        self._say(self.trouble)
                    self._ended.wait(RETRY_STORE)
        finally:
            self.output.close()

    def _check_output(self, say: Say) -> None:
        """Log which receiver the output reaches, or why it reaches none, before the first crash."""
        try:
            say(hide_secrets(self.output.check()), level="info")
        except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the others
            say(self._describe(error))

    def _work(self) -> bool:
        """Deliver pending documents, or wait for some; return whether all are done."""
        self._wake.clear()
        finishing = self._finishing  # read before the store: it is set after the last document is added
        if self._store.has_pending(self.output.name):
            self._retrying(self._next)
            return False
        if not finishing:
            self._wake.wait()
        return finishing

    def _describe(self, error: Exception) -> str:
        """Return a line for the operator."""
        if isinstance(error, StoreError):
            return str(error)
        expected = isinstance(error, Unavailable | _NothingTaken)
        name = "" if expected else f"{self.output.name}: {type(error).__name__}: "
        return f"{shown_reason(f'{name}{error}')}; everything is kept"

    def _retrying(self, step: Callable[[], None]) -> None:
        """Call ``step`` until it succeeds, with growing and jittered waits between."""
        import tenacity  # noqa: PLC0415 - only deliveries import it

        stops: list[tenacity.stop.stop_base] = [tenacity.stop_when_event_set(self._ended)]
        if self._attempts is not None:
            stops.append(tenacity.stop_after_attempt(self._attempts))
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_NothingTaken),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT),
            stop=tenacity.stop_any(*stops),
            sleep=self._pause,
            after=self._note,
            reraise=True,
        )(step)
        if self._noted:
            self._noted = ""
            if self._say:
                self._say(f"{self.output.name}: delivers again", level="info")
            self._trouble("")

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; new documents end the wait if the receiver answers."""
        if self._attempts is not None or not self._answers or seconds < SOON:
            self._ended.wait(seconds)
        elif not self._ended.wait(SOON):
            self._wake.wait(seconds - SOON)

    def _note(self, state: RetryCallState) -> None:
        """Keep the reason of a failed try where ``kpanic status`` finds it."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception) and (text := self._describe(error)) != self._noted:
            self._noted = text
            if self._say:
                self._say(self._noted)
            self._trouble(self._noted)

    def _trouble(self, reason: str) -> None:
        """Note trouble in the store, if that is possible; it has been logged."""
        try:
            self._store.note_trouble(self.output.name, reason)
        except StoreDamaged:
            raise
        except StoreError:
            pass

    def _next(self) -> None:
        """Send one batch.

        :raises _NothingTaken: the whole batch is to be tried again.
        """
        # not the output's exception: its traceback would hold the batch during the wait
        if held := self._send():
            raise _NothingTaken(held)

    def _send(self) -> str:
        """Send one batch; return why all of it is to be tried again, empty if a document was settled."""
        self._wake.clear()
        batch = self._store.pending(self.output.name, BATCH, self._until)
        self._until = None
        if batch:
            self._store.note_sending(self.output.name, batch)
        if self._triage:
            batch = [self._triage.stamp(stored) for stored in batch]
        self._answers = False
        try:
            outcomes = [_reasoned(one) for one in self._sent(batch)] if batch else []
        except Unavailable as error:
            return str(error)
        self._answers = True
        self._settle(batch, outcomes)
        self.outcomes.update(outcome.status for outcome in outcomes)
        self.already_there += sum(outcome.reason == ALREADY_THERE for outcome in outcomes)
        self._say_delivered(batch, outcomes)
        held = [outcome for outcome in outcomes if outcome.status is DeliveryStatus.RETRY]
        if held and len(held) == len(outcomes):
            return f"{self.output.name}: {held[0].reason or 'not now'}"
        return ""

    def _sent(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send a batch; if the output fails, send each document alone, so that one does not hold back others.

        :raises Exception: the output fails at every document that was tried.
        """
        try:
            return list(self.output.send(batch))
        except Unavailable:
            raise
        except Exception as error:  # probably a document that the output cannot encode
            if len(batch) == 1:
                raise
            return self._sent_alone(batch, error)

    def _sent_alone(self, batch: Sequence[Stored], fault: Exception) -> list[Outcome]:
        settled: list[Outcome] = []
        failed: list[Outcome] = []
        for stored in batch:
            if not settled and len(failed) == FAULTS:
                raise fault
            try:
                settled += self.output.send([stored])
            except Unavailable as error:
                failed.append(Outcome(stored.id, DeliveryStatus.RETRY, str(error)))
                break
            except Exception as error:  # noqa: BLE001 - it costs this document
                of_it = isinstance(error, _OF_A_DOCUMENT)
                status = DeliveryStatus.REJECTED if of_it else DeliveryStatus.RETRY
                failed.append(Outcome(stored.id, status, f"{type(error).__name__}: {error}"))
        if not settled:
            raise fault
        tried = {one.id for one in (*settled, *failed)}
        later = (Outcome(stored.id, DeliveryStatus.RETRY) for stored in batch if stored.id not in tried)
        return [*settled, *failed, *later]

    def _say_delivered(self, batch: Sequence[Stored], outcomes: Sequence[Outcome]) -> None:
        """Log the documents that the receiver has accepted."""
        if self._say is None:
            return
        taken = {
            one.id
            for one in outcomes
            if one.status is DeliveryStatus.DELIVERED and one.reason != ALREADY_THERE
        }
        bodies = [stored.body for stored in batch if stored.id in taken]
        for line in crash_lines(f"delivered to {self.output.name}", bodies):
            self._say(line, level="info")

    def _settle(self, batch: Sequence[Stored], outcomes: Sequence[Outcome]) -> None:
        """Record the outcome of a batch, however long the store takes: a batch without outcome is sent again.

        :raises StoreError: the thread has to end, or the store is damaged.
        """
        said = ""
        for attempt in itertools.count(1):
            try:
                self._store.settle(self.output.name, batch, outcomes)
            except StoreDamaged:
                raise
            except StoreError as error:
                if self._say and str(error) != said:
                    said = str(error)
                    self._say(f"{error}; trying again")
                if attempt == self._attempts or self._ended.wait(RETRY_STORE):
                    raise
            else:
                return


def _reasoned(outcome: Outcome) -> Outcome:
    """Return an outcome with a reason that may be kept: a receiver's answer may be long or hold secrets."""
    if outcome.status is DeliveryStatus.DELIVERED:
        return outcome
    return replace(outcome, reason=shown_reason(outcome.reason))
