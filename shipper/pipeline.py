"""The joints: files to documents, documents to the store, the store to each output.

Reading and delivering know nothing of each other; the store is between them. Every output has a thread and a
place of its own in the store, so that a sick one delays nobody.
"""

from __future__ import annotations

import functools
import gc
import itertools
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from kpanic.shipper.api import Unreadable
from kpanic.shipper.document import Packed, build, pack
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from tenacity import RetryCallState

    from kpanic.shipper.api import DeliveryStatus, Outcome, Output, Stored
    from kpanic.shipper.document import Origin
    from kpanic.shipper.store import Position, Store
    from kpanic.shipper.triage import Triage

__all__ = ["Delivery", "Parsed", "Say", "keep", "parse_files"]

BATCH = 500
"""Documents sent at a time: one bulk request of the usual sizes."""
LONGEST_WAIT = 60.0
"""Seconds between two tries, at most."""
SOON = 1.0
"""Seconds that new documents wait for a receiver that answers but did not take others."""
AGAIN = 5.0
"""Seconds until the store is tried again that could not take something."""


class Say(Protocol):
    """Takes a line for the operator, from any thread."""

    def __call__(self, message: str, level: Literal["info", "warn", "error"] = "warn") -> None:
        """Take it."""


class Parsed(NamedTuple):
    """What one file gave."""

    path: str
    documents: list[Packed]
    fault: str
    """Why it could not be read, or not to its end; one line."""


def parse_files(paths: Sequence[str], base: Origin, jobs: int = 1) -> Iterator[Parsed]:
    """Parse files, with ``jobs`` processes (they are started by the call); in the order of the files."""
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

    grammars.Parser()  # all of it, before there are several of us
    gc.freeze()  # it lives as long as the process: to look through it for garbage takes longer than to exit
    work = functools.partial(_parse_file, base=base)
    jobs = min(jobs, len(paths))
    return map(work, paths) if jobs <= 1 else _side_by_side(work, paths, jobs)


def _side_by_side(work: Callable[[str], Parsed], paths: Sequence[str], jobs: int) -> Iterator[Parsed]:
    """Start processes that take the next few files each, until there are none.

    multiprocessing's own pool spends a tenth of a process on the threads that watch it.
    """
    import multiprocessing  # noqa: PLC0415 - most runs have one process

    fork = multiprocessing.get_context("fork")
    size = max(1, min(16, len(paths) // (4 * jobs)))
    shares = [paths[at : at + size] for at in range(0, len(paths), size)]
    turn = fork.Value("L", 0)
    processes = []
    readers: list[Connection] = []

    def process(results: Connection) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us ends us
        for reader in readers:  # or nobody would tell us that he is gone
            reader.close()
        while True:
            with turn.get_lock():
                number = turn.value
                turn.value += 1
            if number >= len(shares):
                return
            results.send((number, [work(path) for path in shares[number]]))

    for _ in range(jobs):
        reader, writer = fork.Pipe(duplex=False)
        readers.append(reader)
        processes.append(fork.Process(target=process, args=(writer,), daemon=True))
        processes[-1].start()
        writer.close()

    def taken() -> Iterator[Parsed]:
        try:
            yield from _in_order(shares, readers)
        finally:
            for one in processes:
                one.terminate()
                one.join()

    return taken()


def _in_order(shares: Sequence[Sequence[str]], readers: list[Connection]) -> Iterator[Parsed]:
    """Yield what processes send, ``(number of the share, what it gave)``, in the order of the shares."""
    from multiprocessing.connection import wait  # noqa: PLC0415

    done: dict[int, list[Parsed]] = {}
    for number, share in enumerate(shares):
        while readers and number not in done:
            ready = wait(readers)
            for reader in [reader for reader in readers if reader in ready]:
                try:
                    done.update([reader.recv()])
                except EOFError:
                    readers.remove(reader)
        lost = [Parsed(path, [], "the process that read it died; try it alone") for path in share]
        yield from done.pop(number, lost)


def _parse_file(path: str, base: Origin) -> Parsed:
    documents: list[Packed] = []
    fault = ""
    try:
        for report, origin in read(path, base):
            documents.append(pack(build(report, origin)))
    except Unreadable as error:
        fault = error.reason
    return Parsed(path, documents, fault)


def keep(
    store: Store,
    documents: Sequence[Packed],
    outputs: Sequence[str],
    positions: Iterable[Position] = (),
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Put documents into the store; where its disk is full, in the place of old ones that were delivered.

    :param outputs: those that must have a document before its text may go.
    :return: how many were new.
    :raises StoreError: not all of it was kept, and of the positions none.
    """
    from kpanic.shipper.store import StoreFull  # noqa: PLC0415 - parsing needs no SQLite

    positions = list(positions)
    gone = 0
    while True:
        try:
            added = store.add(documents, positions)
        except StoreFull:
            more = store.free_some(outputs) if outputs else 0
            gone += more
            if more:
                continue
            if len(documents) < 2:  # noqa: PLR2004 - there is no half of one
                raise
            half = len(documents) // 2  # the disk may be too small for so many at once
            added = keep(store, documents[:half], outputs, say=say)
            added += keep(store, documents[half:], outputs, positions, say)
        if gone:
            say(
                f"{store.path}: the disk is full: let go of the text of {counted(gone, 'delivered document')}"
            )
        return added


class _Held(Exception):  # noqa: N818 - a reason to wait
    """The receiver takes nothing, or cannot be reached."""


class Delivery(threading.Thread):
    """Brings what the store holds to one output until :meth:`finish` or :meth:`stop`.

    :param triage: what is known of faults, put on each document that is sent.
    :param say: is told of trouble and of its end.
    :param tries: how often in a row an output may fail before the thread ends; None is for ever.
    :param lost: is called once if the store turns out to be damaged, which ends the thread.
    :ivar trouble: why it ended before all was delivered; empty if it did not.
    :ivar outcomes: documents by the status of their delivery.
    :ivar there: how many of the delivered ones the receiver had already.
    """

    def __init__(  # noqa: PLR0913 - all that a delivery may differ in
        self,
        store: Store,
        output: Output,
        *,
        triage: Triage | None = None,
        tries: int | None = None,
        say: Say | None = None,
        lost: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name=f"output {output.name}")
        self.output = output
        self.trouble = ""
        self.outcomes: Counter[DeliveryStatus] = Counter()
        self.there = 0
        self._store = store
        self._triage = triage
        self._tries = tries
        self._say = say
        self._lost = lost
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._finishing = False
        self._noted = ""
        self._answers = False
        store.register_output(output.name)
        self._until = store.unsettled_until(output.name)

    def wake(self) -> None:
        """Tell that there may be something new in the store."""
        self._wake.set()

    def finish(self) -> None:
        """End once nothing is left to deliver."""
        self._finishing = True
        self._wake.set()

    def stop(self) -> None:
        """End after what is in flight; all else stays in the store."""
        self._ended.set()
        self._wake.set()

    def run(self) -> None:
        """Deliver; this is the thread."""
        from kpanic.shipper.store import StoreDamaged  # noqa: PLC0415

        try:
            if self._say:
                self._greet(self._say)
            while not self._ended.is_set():
                try:
                    if self._work():
                        break
                except StoreDamaged as error:
                    self.trouble = str(error)
                    if self._lost:
                        self._lost()
                    break
                except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the others
                    self.trouble = self._words(error)
                    if self._tries is not None:
                        break
                    if self._say and not self._ended.is_set():
                        self._say(self.trouble)
                    self._ended.wait(AGAIN)
        finally:
            self.output.close()

    def _greet(self, say: Say) -> None:
        """Say what is reached, and what is amiss with it, before a crash has to go there."""
        try:
            say(self.output.check(), level="info")
        except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the others
            say(self._words(error))

    def _work(self) -> bool:
        """Deliver what there is or wait for more; return whether all is done."""
        self._wake.clear()
        finishing = self._finishing  # before looking: what is added later sets it later
        if self._store.has_pending(self.output.name):
            self._retrying(self._next)
            return False
        if not finishing:
            self._wake.wait()
        return finishing

    def _words(self, error: Exception) -> str:
        from kpanic.shipper.api import Unavailable  # noqa: PLC0415
        from kpanic.shipper.store import StoreError  # noqa: PLC0415

        if isinstance(error, StoreError):
            return str(error)
        told = isinstance(error, Unavailable | _Held)
        name = "" if told else f"{self.output.name}: {type(error).__name__}: "
        return f"{name}{error}; everything is kept"

    def _retrying(self, step: Callable[[], None]) -> None:
        """Call ``step`` until it succeeds, with growing and jittered waits between."""
        import tenacity  # noqa: PLC0415 - only who delivers waits for it

        stops: list[tenacity.stop.stop_base] = [tenacity.stop_when_event_set(self._ended)]
        if self._tries is not None:
            stops.append(tenacity.stop_after_attempt(self._tries))
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Held),
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
        """Wait before the next try; what is new does not wait for what a receiver did not take before."""
        if self._tries is not None or not self._answers or seconds < SOON:
            self._ended.wait(seconds)
        elif not self._ended.wait(SOON):
            self._wake.wait(seconds - SOON)

    def _note(self, state: RetryCallState) -> None:
        """Keep the reason of a failed try where ``kpanic status`` finds it."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception) and (words := self._words(error)) != self._noted:
            self._noted = words
            if self._say:
                self._say(self._noted)
            self._trouble(self._noted)

    def _trouble(self, reason: str) -> None:
        from kpanic.shipper.store import StoreDamaged, StoreError  # noqa: PLC0415

        try:
            self._store.note_trouble(self.output.name, reason)
        except StoreDamaged:
            raise
        except StoreError:
            pass  # it has been said; whether it is noted too changes no delivery

    def _next(self) -> None:
        """Send one batch.

        :raises _Held: all of it is to be tried again.
        """
        # Not the output's own exception: its traceback would hold the batch while we wait.
        if held := self._send():
            raise _Held(held)

    def _send(self) -> str:
        """Send one batch; return why all of it is to be tried again, empty if something was settled."""
        from kpanic.shipper.api import ALREADY_THERE, DeliveryStatus, Unavailable  # noqa: PLC0415

        self._wake.clear()
        batch = self._store.pending(self.output.name, BATCH, self._until)
        self._until = None
        if batch:
            self._store.note_sending(self.output.name, batch)
        if self._triage:
            batch = [self._triage.stamp(stored) for stored in batch]
        self._answers = False
        try:
            outcomes: list[Outcome] = list(self.output.send(batch)) if batch else []
        except Unavailable as error:
            return str(error)
        self._answers = True
        self._settle(batch, outcomes)
        self.outcomes.update(outcome.status for outcome in outcomes)
        self.there += sum(outcome.reason == ALREADY_THERE for outcome in outcomes)
        held = [outcome for outcome in outcomes if outcome.status is DeliveryStatus.RETRY]
        if held and len(held) == len(outcomes):
            return f"{self.output.name}: {held[0].reason or 'not now'}"
        return ""

    def _settle(self, batch: Sequence[Stored], outcomes: Sequence[Outcome]) -> None:
        """Record what became of a batch, however long the store takes: sent again, it would be there twice.

        :raises StoreError: it was told to end, or the store is damaged.
        """
        from kpanic.shipper.store import StoreDamaged, StoreError  # noqa: PLC0415

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
                if attempt == self._tries or self._ended.wait(AGAIN):
                    raise
            else:
                return
