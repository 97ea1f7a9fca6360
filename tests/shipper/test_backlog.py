"""Backlogs older than ``close_quiet``: silence is measured by the arrival of messages, so no crash is cut.

The clock leaps by an hour while the store keeps an input waiting, as a slow disk does for seconds. The end of
an input hands over what is open.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kpanic.shipper.api import Reader, Readers, Stop
from kpanic.shipper.contract import run_beside
from kpanic.shipper.inputs import journal, kmsg, netconsole, piped_lines, syslog
from kpanic.shipper.inputs.datagrams import Receiver
from kpanic.shipper.inputs.file import FileInput
from kpanic.shipper.inputs.inbox import Inbox
from kpanic.shipper.inputs.journal import JournalInput
from kpanic.shipper.inputs.kmsg import KmsgInput
from kpanic.shipper.inputs.listening_clock import ListeningClock
from kpanic.shipper.inputs.netconsole import NetconsoleInput
from kpanic.shipper.inputs.piped_lines import PipedLines, PipedRecords, follow_pipe
from kpanic.shipper.inputs.syslog import SyslogInput
from tests.shipper.feed import Feed
from tests.shipper.journals import Machine
from tests.shipper.test_inputs_sockets import (
    BUG,
    OOPS,
    PLAIN,
    _protocol,
    bound,
    messages,
    opens,
    port,
    send,
    unread,
)
from tests.shipper.test_kmsg import RECORDS
from tests.shipper.test_senders_attack import receiving
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Crash, Input

pytestmark = pytest.mark.timed
QUIET = 600.0
HOUR = 3600.0
NOISE = [b"[    0.100000] noise"] * 1500
LAST = b"[    9.000000] the last of it"


class SlowFeed(Feed):
    """A feed that blocks at the first crash until :attr:`released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[CrashReport] = []
        self.holding = False
        self.released = threading.Event()

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        found = list(crashes)
        super().keep(found, positions)
        self.reports += [crash.report for crash in found]
        if found:
            self.holding = True
            self.released.wait(60)


@pytest.fixture
def leap(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets the monotonic clock jump by a number of seconds."""
    ahead = 0.0
    real = time.monotonic

    def now() -> float:
        return real() + ahead

    def forward(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(time, "monotonic", now)
    monkeypatch.setattr(Reader.__init__, "__defaults__", (now,))
    monkeypatch.setattr(Readers.__init__, "__kwdefaults__", {**Readers.__init__.__kwdefaults__, "clock": now})
    return forward


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """The text that the readers of an input were fed."""
    fed = bytearray()
    modules = (syslog, netconsole, kmsg, journal, piped_lines)
    for module in modules:
        name = "NetconsoleReader" if module is netconsole else "Reader"

        class Recorded(getattr(module, name)):  # type: ignore[misc]
            def feed(self, chunk: bytes) -> list[CrashReport]:
                found: list[CrashReport] = super().feed(chunk)
                fed.extend(chunk)
                return found

        monkeypatch.setattr(module, name, Recorded)
    return fed


@contextmanager
def slow(kind: type[Input], **config: Any) -> Iterator[SlowFeed]:  # noqa: ANN401
    feed = SlowFeed()
    with run_beside(kind(kind.Config(close_quiet=QUIET, **config)), feed):
        try:
            yield feed
        finally:
            feed.released.set()


def of_host(feed: Feed, host: str) -> list[CrashReport]:
    return [one.report for one in feed.crashes.values() if host in (one.report.host, one.origin.host_ip)]


def assert_heard_on(
    feed: SlowFeed, host: str, read: Callable[[], bool], leap: Callable[[float], None]
) -> None:
    """Assert that a host with waiting lines is not silent after an hour."""
    leap(HOUR)
    feed.released.set()
    until(read)
    assert not of_host(feed, host), "it is not silent"


def assert_whole(feed: Feed, host: str) -> None:
    """Assert that the end of the input hands over one complete crash of the host."""
    (report,) = of_host(feed, host)
    assert report.status == "complete"


def halves(lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Cut a host's lines inside the backtrace."""
    at = next(number for number, line in enumerate(lines) if b"Call Trace:" in line) + 3
    return lines[:at], lines[at:]


@pytest.mark.parametrize("way", ["UDP", "TCP"])
def test_a_crash_of_a_relay_is_not_cut_while_its_lines_wait_behind_those_of_other_hosts(
    way: str, leap: Callable[[float], None], parsed: bytearray
) -> None:
    kind = socket.SOCK_DGRAM if way == "UDP" else socket.SOCK_STREAM
    to = port(kind)
    first, second = halves(list(messages(OOPS, "web-1")))
    noise = [b"<4>Nov 22 19:31:14 web-2 kernel: " + line for line in NOISE]
    boots = [*messages(OOPS, "web-3"), *messages(BUG, "web-3")]
    protocol = _protocol({way.lower(): {"host": f"127.0.0.1:{to}"}})
    with slow(SyslogInput, protocol=protocol) as feed, socket.socket(socket.AF_INET, kind) as relay:
        relay.settimeout(60)
        relay.bind(("127.0.0.2", 0))
        until(lambda: opens(to) if way == "TCP" else bound(to))
        relay.connect(("127.0.0.1", to))

        def relayed(lines: list[bytes]) -> None:
            if way == "TCP":
                relay.sendall(b"".join(line + b"\n" for line in lines))
            for number, line in enumerate(lines if way == "UDP" else ()):
                relay.send(line)
                if number % 50 == 0:
                    until(lambda: not unread(to))

        relayed(first)
        until(lambda: first[-1] in parsed)
        if way == "TCP":
            with socket.create_connection(("127.0.0.1", to), source_address=("127.0.0.3", 0)) as other:
                other.sendall(b"".join(line + b"\n" for line in boots))
        else:
            send(boots, to, "127.0.0.3")
        until(lambda: feed.holding)
        relayed([*noise, *second])
        assert_heard_on(feed, "web-1", lambda: second[-1] in parsed, leap)
    assert_whole(feed, "web-1")


def test_a_crash_is_not_cut_while_its_datagrams_wait_behind_those_of_calmer_senders(
    leap: Callable[[float], None], parsed: bytearray
) -> None:
    to = port()
    first, second = halves(PLAIN)
    with slow(NetconsoleInput, host=f"127.0.0.1:{to}") as feed:
        send(first, to, "127.0.0.2")
        until(lambda: first[-1] in parsed)
        send([line + b"\n" for boot in (OOPS, BUG) for line in boot.splitlines()], to, "127.0.0.3")
        until(lambda: feed.holding)
        send(second, to, "127.0.0.2")
        for number in range(10, 20):
            send([b"[    0.100000] noise\n"] * 200, to, f"127.0.0.{number}")
        until(lambda: not unread(to))
        assert_heard_on(feed, "127.0.0.2", lambda: second[-1] in parsed, leap)
    assert_whole(feed, "127.0.0.2")


@pytest.mark.parametrize("method", [(Receiver, "_receive"), (Inbox, "_take")], ids=["socket", "hand"])
def test_a_sender_is_not_silent_while_its_datagrams_are_in_the_socket_or_in_the_receiver_s_hand(
    method: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, released = threading.Event(), threading.Event()
    released.set()
    receive = getattr(*method)

    def receive_later(*arguments: Any) -> None:  # noqa: ANN401
        busy.set()
        released.wait(60)
        receive(*arguments)

    monkeypatch.setattr(*method, receive_later)
    parsed: list[bytes] = []

    def heard_until() -> float:
        inbox.work(lambda _, message: bool(message and not parsed.append(message)))
        return inbox.clock("127.0.0.9")

    with receiving(Feed(), buffer=1 << 16) as (inbox, send_one):
        send_one(b"one")
        until(lambda: heard_until() and parsed)
        released.clear()
        busy.clear()
        now = time.monotonic()
        send_one(b"two")
        until(busy.is_set)
        assert heard_until() <= now
        released.set()
        until(lambda: heard_until() > now and parsed == [b"one", b"two"])


@pytest.mark.parametrize("form", ["lines", "records"])
def test_a_crash_is_not_cut_while_its_lines_wait_in_a_pipe_behind_those_of_other_hosts(
    form: str, leap: Callable[[float], None], parsed: bytearray
) -> None:
    kept: list[tuple[str, CrashReport]] = []
    holding, released, stop = threading.Event(), threading.Event(), Stop()

    def take(complete: list[tuple[str, CrashReport]]) -> None:
        kept.extend(complete)
        holding.set()
        released.wait(60)

    def write(host: str, lines: list[bytes]) -> None:
        records = [{"host": host, "message": line.decode("utf-8", "replace")} for line in lines]
        encode = msgspec.json.encode if form == "lines" else msgspec.msgpack.encode
        data = b"".join(encode(record) + b"\n" * (form == "lines") for record in records)
        while data:
            data = data[os.write(into, data) :]

    first, second = halves(OOPS.splitlines())
    out, into = os.pipe()
    clock = ListeningClock()
    piped = (PipedLines if form == "lines" else PipedRecords)(QUIET, pytest.fail, take, clock)
    reading = threading.Thread(target=follow_pipe, args=(out, piped, stop, clock), daemon=True)
    reading.start()
    try:
        write("web-1", first)
        until(lambda: first[-1] in parsed)
        write("web-3", [*OOPS.splitlines(), *BUG.splitlines()])
        until(holding.is_set)
        writing = threading.Thread(
            target=lambda: (write("web-2", NOISE), write("web-1", second), write("web-2", [LAST]))
        )
        writing.start()
        leap(HOUR)
        released.set()
        until(lambda: LAST in parsed)
        assert "web-1" not in [host for host, _ in kept], "it is not silent"
        writing.join()
    finally:
        released.set()
        os.close(into)
        reading.join(60)
        os.close(out)
    (report,) = [report for host, report in kept if host == "web-1"]
    assert report.status == "complete"


def test_a_crash_is_not_cut_while_its_records_wait_in_the_ring_buffer(
    leap: Callable[[float], None], parsed: bytearray, tmp_path: Path
) -> None:
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    report = next(number for number, record in enumerate(RECORDS) if b";BUG: " in record)
    boot = [*RECORDS[:40], *RECORDS[report:]]
    first, second = halves(boot)
    os.write(descriptor, b"".join([*boot, *first]))  # read at once
    with slow(KmsgInput, path=str(path)) as feed:
        until(lambda: feed.holding)
        os.write(descriptor, b"".join(second))
        leap(HOUR)
        feed.released.set()
        until(lambda: parsed.count(second[-1]) == 2)
    os.close(descriptor)
    whole, later = feed.reports
    assert len(whole.lines) == len(later.lines)


@pytest.mark.journal
def test_a_crash_is_not_cut_while_its_entries_wait_behind_those_of_other_hosts(
    leap: Callable[[float], None], parsed: bytearray, tmp_path: Path
) -> None:
    machine = Machine.made(tmp_path / "journal")
    first, second = halves(OOPS.splitlines())

    def write(host: str, lines: list[bytes], boot: str = "") -> str:
        return machine.write(b"\n".join([*lines, LAST]), host=host, boot=boot)  # the last entry is not seen

    boot = write("web-1", first)
    with slow(JournalInput, paths=[str(machine.folder)]) as feed:
        until(lambda: first[-1].partition(b"] ")[2] in parsed)
        write("web-3", OOPS.splitlines())
        write("web-3", BUG.splitlines())
        until(lambda: feed.holding)
        write("web-2", NOISE)
        write("web-1", second, boot)
        write("web-2", [LAST])
        assert_heard_on(feed, "web-1", lambda: LAST.partition(b"] ")[2] in parsed, leap)
    assert_whole(feed, "web-1")


def test_a_crash_is_not_cut_by_an_end_that_comes_while_its_file_waits_for_the_store(
    leap: Callable[[float], None], tmp_path: Path
) -> None:
    path = tmp_path / "messages"
    first, second = halves(OOPS.splitlines(keepends=True))
    path.write_bytes(b"".join([*BUG.splitlines(keepends=True), *first]))
    with slow(FileInput, paths=[str(path)]) as feed:
        until(lambda: feed.holding)
        with path.open("ab") as log:
            log.write(b"".join(second))
        leap(HOUR)
        feed.stop.set()
    assert len(feed.reports) == 1, "the next start reads the file again"
