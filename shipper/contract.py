"""Checks that a plugin keeps what :mod:`kpanic.shipper.api` promises, for the tests of its author.

They need neither a store nor pytest: a broken promise raises :class:`ContractError`, an AssertionError. ::

    def test_the_output_keeps_its_contract(loki):
        check_output(lambda: LokiOutput(LokiConfig(host=loki.url)), loki.documents, outage=loki.down)

    def test_the_input_keeps_its_contract(tmp_path):
        path = tmp_path / "console.log"
        check_input(lambda: ConsoleInput(ConsoleConfig(path=str(path))), appending(path), lasting=True)
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from kpanic.shipper.api import DeliveryStatus, Origin, Settings, Stop, Stored, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from kpanic.shipper.api import Crash, DropReason, Input, Outcome, Output

__all__ = [
    "ContractError",
    "MemoryFeed",
    "check_input",
    "check_output",
    "crash_text",
    "run_beside",
    "stored_documents",
]

ENDS_WITHIN = 10.0
"""Seconds from ``stop`` until an input's ``run`` has to return."""
PATIENCE = 30.0
"""Seconds until an expected event counts as missing."""
PAUSE = 0.1
"""Seconds between two tries of a delivery."""

_NOISE = b"\xff\xfe\0\x1b]0;title\x07" + b"a" * 100_000 + b"\n" + b'{"message":' * 1000 + b"\n"


class ContractError(AssertionError):
    """A plugin broke a promise; the text names it."""


def crash_text(number: int) -> bytes:
    """Return the log of a kernel that boots and dies: its banner, an oops and the panic that follows.

    :param number: makes the crash unique; at most 999,999.
    """
    lines = (
        "BUG: kernel NULL pointer dereference, address: 0000000000000010",
        "#PF: supervisor read access in kernel mode",
        "#PF: error_code(0x0000) - not-present page",
        "Oops: 0000 [#1] PREEMPT SMP PTI",
        f"CPU: 1 PID: {1000 + number} Comm: worker Not tainted 6.1.0-56-amd64 #1  Debian 6.1.999-1",
        "RIP: 0010:example_read+0x16/0x20 [example]",
        f"RSP: 0018:ffffb0c0{number:08x} EFLAGS: 00010246",
        "Call Trace:",
        " <TASK>",
        " vfs_read+0x9d/0x340",
        " ksys_read+0x5f/0xe0",
        " </TASK>",
        "---[ end trace 0000000000000000 ]---",
        "Kernel panic - not syncing: Fatal exception",
        "---[ end Kernel panic - not syncing: Fatal exception ]---",
    )
    banner = "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP Debian\n"
    return banner.encode() + b"".join(
        f"[{100 + number:5}.{1000 + at:06}] {line}\n".encode() for at, line in enumerate(lines)
    )


def stored_documents(count: int, first: int = 0) -> list[Stored]:
    """Return documents of :func:`crash_text` as the store holds them, with every kind of text in them.

    :param first: number of the first crash.
    """
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import
    from kpanic.shipper.document import build  # noqa: PLC0415
    from kpanic.shipper.packed import pack  # noqa: PLC0415

    found = []
    for number in range(first, first + count):
        (report,) = grammars.parse([crash_text(number)])
        labels = {
            "text": "\"'\\ </script> \u2028 \U0001f427 \u202e é\t%{x} ${y}",
            "long": "x" * (number % 5 * 20_000),
        }
        origin = Origin("file", path="/var/log/console", host_name="web-1", labels=labels)
        packed = pack(build(report, origin, now=1_777_000_000.0 + number))
        found.append(Stored(number + 1, packed.id, packed.body))
    return found


def check_output(
    make: Callable[[], Output],
    received: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    outage: Callable[[], AbstractContextManager[object]] | None = None,
    unacceptable: Stored | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Check an output against a receiver that is up and holds none of :func:`stored_documents`.

    :param make: returns a new output for the receiver.
    :param received: returns the documents that the receiver holds, decoded, each with its ``_id`` or with
        ``labels.document_id``.
    :param outage: a context in which the receiver cannot be reached; None if there is no such context.
    :param unacceptable: a document that the receiver never takes; None if it takes all.
    :param secrets: passwords of the settings, which no message may show.
    :raises ContractError: a promise is broken.
    """
    check = _OutputCheck(make, received, tuple(secrets))
    check.declaration()
    check.one_outcome_a_document()
    check.sent_twice()
    if outage is not None:
        check.outage(outage)
    if unacceptable is not None:
        check.rejection(unacceptable)


class _OutputCheck:
    def __init__(
        self,
        make: Callable[[], Output],
        received: Callable[[], Iterable[Mapping[str, Any]]],
        secrets: Sequence[str],
    ) -> None:
        self._make = make
        self._received = received
        self._secrets = secrets

    def declaration(self) -> None:
        with self._made() as output:
            _check_plugin(output)
            self._text("check()", output.check())
            self._text("repr()", repr(output))
            _require(list(output.send([])) == [], "send([]) returns no outcome")

    def one_outcome_a_document(self) -> None:
        batch = stored_documents(25)
        with self._made() as output:
            self._arrived(batch, self._deliver(output, batch))

    def sent_twice(self) -> None:
        """Send the same documents again, as a shipper does after a kill before it settled them."""
        batch = stored_documents(30, first=15)
        with self._made() as output:
            self._arrived(batch, self._deliver(output, batch))

    def outage(self, outage: Callable[[], AbstractContextManager[object]]) -> None:
        batch = stored_documents(10, first=100)
        with self._made() as connected, outage():
            connected.close()
            with self._made() as output:  # making one does not connect
                for name, call in (("send()", lambda: list(output.send(batch))), ("check()", output.check)):
                    try:
                        call()
                    except Unavailable as error:
                        self._text(f"the Unavailable of {name}", str(error))
                    else:
                        raise ContractError(f"{name} raises Unavailable while the receiver cannot be reached")
        with self._made() as output:
            self._arrived(batch, self._deliver(output, batch))

    def rejection(self, unacceptable: Stored) -> None:
        before, after = stored_documents(3, first=200), stored_documents(3, first=210)
        with self._made() as output:
            outcomes = self._deliver(output, [*before, unacceptable, *after])
        refused = outcomes.pop(unacceptable.id)
        _require(
            refused.status is DeliveryStatus.REJECTED,
            f"a document that the receiver never takes is rejected; it was {refused.status}",
        )
        _require(bool(refused.reason), "a rejected document has a reason")
        self._arrived(before + after, outcomes)
        ids = {_document_id(document) for document in self._received()}
        _require(unacceptable.id not in ids, "a rejected document is not at the receiver")

    def _deliver(self, output: Output, batch: Sequence[Stored]) -> dict[str, Outcome]:
        """Send as the pipeline does until every document is delivered or rejected."""
        settled: dict[str, Outcome] = {}
        until = time.monotonic() + PATIENCE
        while left := [stored for stored in batch if stored.id not in settled]:
            _require(time.monotonic() < until, f"every document is settled within {PATIENCE:.0f} s")
            try:
                outcomes = list(output.send(left))
            except Unavailable as error:
                self._text("an Unavailable", str(error))
            else:
                _require(
                    sorted(outcome.id for outcome in outcomes) == sorted(stored.id for stored in left),
                    f"send() returns one outcome a document: {len(outcomes)} for {len(left)}",
                )
                for outcome in outcomes:
                    if outcome.reason:
                        self._text("a reason", outcome.reason)
                    if outcome.status is not DeliveryStatus.RETRY:
                        settled[outcome.id] = outcome
                if len(settled) == len(batch):
                    break
            threading.Event().wait(PAUSE)
        return settled

    def _arrived(self, batch: Sequence[Stored], outcomes: Mapping[str, Outcome]) -> None:
        """Require that a whole batch was acknowledged and is complete at the receiver."""
        for outcome in outcomes.values():
            _require(
                outcome.status is DeliveryStatus.DELIVERED,
                f"a document of the usual shape is delivered; it was {outcome.status}: {outcome.reason}",
            )
        until = time.monotonic() + PATIENCE
        while True:
            there = {_document_id(document): document for document in self._received()}
            missing = [stored.id for stored in batch if stored.id not in there]
            if not missing or time.monotonic() > until:
                break
            threading.Event().wait(PAUSE)
        _require(not missing, f"what was acknowledged is at the receiver: {len(missing)} are missing")
        for stored in batch:
            sent, got = json.loads(stored.body), json.loads(msgspec.json.encode(there[stored.id]))
            ingested = got.get("event", {}).pop("ingested", "")
            _require(bool(ingested), "a delivered document has event.ingested")
            for document in (sent, got):
                document.pop("_id", None)
                document.get("labels", {}).pop("document_id", None)
            _require(sent == got, f"a document arrives as it was stored: {stored.id} did not")

    @contextmanager
    def _made(self) -> Iterator[Output]:
        output = self._make()
        try:
            yield output
        finally:
            output.close()
            output.close()  # does nothing

    def _text(self, what: str, text: object) -> None:
        _require(isinstance(text, str) and bool(text.strip()), f"{what} is text")
        _require(what == "a reason" or "\n" not in str(text), f"{what} is one line")
        _require(not any(secret in str(text) for secret in self._secrets), f"{what} shows no secret")


def _document_id(document: Mapping[str, Any]) -> str:
    return str(document.get("_id") or document.get("labels", {}).get("document_id") or "")


class MemoryFeed:
    """A :class:`~kpanic.shipper.api.Feed` that keeps everything in memory.

    :param positions: kept by an earlier run.
    :ivar crashes: what was kept, by ``_id``; a crash that is kept twice counts once, as in the store.
    :ivar saved: the current positions.
    :ivar said: lines for the operator.
    :ivar dropped: numbers of discarded messages, by reason.
    :ivar blocked: while set, :meth:`keep` waits for ``stop``, as a service's does when the store's disk is
        full.
    :ivar held: number of calls of :meth:`keep` that waited in vain.
    :ivar everywhere: whether the outputs have acknowledged the kept crashes.
    """

    def __init__(self, positions: Mapping[str, str] | None = None) -> None:
        self.origin = Origin("file", agent_host="here")
        self.stop = Stop()
        self.crashes: dict[str, Crash] = {}
        self.saved: dict[str, str] = dict(positions or {})
        self.said: list[str] = []
        self.dropped: Counter[DropReason] = Counter()
        self.blocked = False
        self.held = 0
        self.everywhere = False
        self._changed = threading.Condition()

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        """Keep crashes and positions, unless ``blocked``."""
        from kpanic.shipper.identity import identify  # noqa: PLC0415

        found: dict[str, Crash] = {}
        try:
            for crash in crashes:
                found[identify(*crash)[1]] = crash
        except Exception:
            self.keep(found.values())
            raise
        if self.blocked and found:
            with self._change():
                self.held += 1
            self.stop.wait()
            return
        with self._change():
            self.crashes = {**found, **self.crashes}
            for key, value in (positions or {}).items():
                if value is None:
                    self.saved.pop(key, None)
                else:
                    self.saved[key] = value

    def positions(self) -> dict[str, str]:
        """Return a copy of the positions."""
        return dict(self.saved)

    def delivered(self, crashes: Iterable[Crash]) -> bool:
        """Tell whether these crashes were kept and ``everywhere`` is set."""
        from kpanic.shipper.identity import identify  # noqa: PLC0415

        return self.everywhere and all(identify(*crash)[1] in self.crashes for crash in crashes)

    def drop(self, messages: int, reason: DropReason) -> None:
        """Count discarded messages."""
        with self._change():
            self.dropped[reason] += messages

    def say(self, message: str) -> None:
        """Append a line to :attr:`said`."""
        with self._change():
            self.said.append(message)

    def wait_for(self, condition: Callable[[], object], promise: str) -> None:
        """Wait until a condition on kept crashes, lines or dropped messages is met.

        :raises ContractError: it is not met within :data:`PATIENCE` seconds; the message is ``promise``.
        """
        with self._changed:
            met = self._changed.wait_for(lambda: bool(condition()), PATIENCE)
        _require(met, f"{promise}; the input said {self.said}")

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()


@contextmanager
def run_beside(source: Input, feed: MemoryFeed) -> Iterator[MemoryFeed]:
    """Run an input in a thread until the end of the context.

    :raises ContractError: the input raised, or did not end within :data:`ENDS_WITHIN` seconds of ``stop``.
    """
    raised: list[Exception] = []

    def run() -> None:
        try:
            source.run(feed)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield feed
    finally:
        feed.stop.set()
        thread.join(ENDS_WITHIN)
    _require(not thread.is_alive(), f"run() ends within {ENDS_WITHIN:.0f} s of stop")
    if raised:
        raise ContractError(f"run() does not raise: {raised[0]!r}") from raised[0]


def check_input(make: Callable[[], Input], write: Callable[[bytes], None], *, lasting: bool) -> None:
    """Check an input that reads an empty source.

    :param make: returns a new input, for which a crash is complete after a second or less of silence.
    :param write: appends kernel log text to the source; called while the input runs and, if ``lasting``,
        while it does not.
    :param lasting: whether the source keeps its text, as a file does and a socket does not: crashes that were
        not kept must then be found again.
    :raises ContractError: a promise is broken.
    """
    _check_plugin(make())
    _require(isinstance(make().paths, list), "paths is a list")
    feed = MemoryFeed()
    with run_beside(make(), feed):
        pass
    _require(not feed.crashes, "an empty source has no crash")

    source = make()
    feed = _run_and_write(source, 1, {}, write)
    (crash,) = feed.crashes.values()
    _require(bool(crash.origin.provider), "a crash's origin names its provider")

    feed = _run_and_write(
        source, 2, feed.saved, lambda text: write(_NOISE + text)
    )  # run() again, as after an error

    feed = MemoryFeed(feed.saved)
    feed.blocked = True
    before = feed.positions()
    with run_beside(make(), feed):
        write(crash_text(3))
        feed.wait_for(lambda: feed.held, "a crash is kept")
    _require(feed.saved == before, "positions move with the crashes that they stand for")
    if lasting:
        write(crash_text(4))
        feed = MemoryFeed(feed.saved)
        with run_beside(make(), feed):
            feed.wait_for(lambda: {3, 4} <= _numbers(feed), "what was not kept is found again")
    feed = _run_and_write(make(), 5, dict.fromkeys(feed.saved, "\ufffd not a position"), write)
    feed = MemoryFeed(feed.saved)
    with run_beside(make(), feed):
        pass


def _run_and_write(
    source: Input, number: int, positions: Mapping[str, str], write: Callable[[bytes], None]
) -> MemoryFeed:
    """Run an input, write a crash to its source, and require that the crash is kept."""
    feed = MemoryFeed(positions)
    with run_beside(source, feed):
        write(crash_text(number))
        feed.wait_for(lambda: number in _numbers(feed), f"crash {number} is kept")
    for line in feed.said:
        _require(bool(line.strip()) and "\n" not in line, f"say() is given one line: {line!r}")
    _require(all(isinstance(value, str) for value in feed.saved.values()), "positions are text")
    return feed


def _numbers(feed: MemoryFeed) -> set[int]:
    """Return the numbers of the crashes that were kept."""
    return {crash.report.process.pid - 1000 for crash in feed.crashes.values() if crash.report.process.pid}


def _check_plugin(plugin: Input | Output) -> None:
    _require(isinstance(plugin.name, str) and bool(plugin.name), "name is text")
    _require(
        isinstance(plugin.Config, type) and issubclass(plugin.Config, Settings),
        "Config is a subclass of kpanic.shipper.api.Settings",
    )


def _require(promise: object, text: str) -> None:
    if not promise:
        raise ContractError(text)
