"""Attacks on the listening inputs: time, memory and connections are bounded, honest senders are served."""

from __future__ import annotations

import gc
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING

import msgpack
import pytest

from kpanic.shipper.api import MEMORY, Memory, Reader, Readers
from kpanic.shipper.contract import crash_text
from kpanic.shipper.inputs import datagrams
from kpanic.shipper.inputs.inbox import Inbox
from kpanic.shipper.inputs.journal_entries import EntrySplitter
from kpanic.shipper.inputs.netconsole_records import LATE_BYTES, NetconsoleReader
from kpanic.shipper.inputs.piped_lines import PipedLines, PipedRecords
from kpanic.shipper.inputs.sender_names import DnsConfig, SenderNames
from kpanic.shipper.inputs.senders import AllowedSenders
from kpanic.shipper.inputs.sockets import ListenAddress
from kpanic.shipper.inputs.syslog_messages import read_header
from tests.benchmarks.attack import attacked
from tests.shipper.feed import Feed
from tests.shipper.test_inputs_sockets import (
    OOPS,
    PLAIN,
    _protocol,
    messages,
    netconsole,
    opens,
    over_tcp,
    port,
    send,
    syslog,
    unread,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kpanic.grammars.model import CrashReport

LINEAR = 6.0
"""Maximum ratio of the costs of two texts, one four times as long; quadratic costs have 16."""


@pytest.fixture
def memory() -> Iterator[Memory]:
    """A memory limit for this process."""
    limit = MEMORY.limit
    yield MEMORY
    MEMORY.limit = limit


def seconds(step: Callable[[bytes], object], text: bytes) -> float:
    """Return the CPU time of a step, the median of several."""
    times = []
    for _ in range(7):
        began = time.thread_time()
        step(text)
        times.append(time.thread_time() - began)
    return median(times)


def linear(step: Callable[[bytes], object], short: bytes, long: bytes) -> bool:
    """Tell whether the cost is linear; other processes may slow one measurement, but not three."""
    return any(seconds(step, long) < LINEAR * max(seconds(step, short), 0.0005) for _ in range(3))


@pytest.mark.parametrize(
    "text",
    [
        b"4,1,1,-" + b",a=" * 5_000,
        b"4,1,1,-" + b",a=b" * 5_000 + b",ncfrag=1/",
        b"4,1,1,-,ncfrag=" + b"1" * 20_000,
        b"x" * 20_000 + b",4,1,1,-",
        b"4,1,1,-" + b",ncfrag=0/9" * 2_000 + b";",
    ],
)
def test_a_datagram_costs_time_in_proportion_to_its_length(text: bytes) -> None:
    reader = NetconsoleReader(lambda _: None, 10)
    reader.feed(b"4,1,1,-;x")  # the grammar is built on first use

    def feed(datagram: bytes) -> None:
        NetconsoleReader(lambda _: None, 10).feed(datagram)

    assert linear(feed, text, text * 4)


@pytest.mark.parametrize(
    "text",
    [
        b"<4>1 " + b"a" * 16_000,
        b"<4>Nov 22 19:31:14." + b"1" * 16_000,
        b"<4>2026-11-22T" + b"1" * 16_000,
        b"<4>Nov 22 19:31:14 kernel[" + b"1" * 16_000,
        b"<4>1 - " + b"a " * 8_000,
    ],
)
def test_a_message_s_header_costs_time_in_proportion_to_its_length(text: bytes) -> None:
    assert linear(read_header, text, text * 4)


def test_records_that_wait_for_one_that_never_comes_are_bounded() -> None:
    reader = NetconsoleReader(lambda _: None, 10)
    reader.feed(b"4,1,1,-;x")
    for number in range(3, 40):
        reader.feed(b"4,%d,1,-;" % number + b"x" * 60_000)
        assert reader.size < 2 * LATE_BYTES + (2 << 20)


@pytest.mark.slow
def test_crashes_of_ever_new_hosts_are_kept_within_the_memory(memory: Memory) -> None:
    memory.limit = 1 << 20
    kept: list[tuple[str, CrashReport]] = []
    readers = Readers(lambda _: Reader(lambda _: None, 600), kept.extend, 100_000, lambda key: key[:3])
    gc.collect()  # memory of the inputs of other tests
    before = memory.held
    readers.feed("10.honest", crash_text(0)[:600])
    for number in range(1, 600):
        readers.feed(f"66.{number}", crash_text(number))
        assert memory.held - before < 1.1 * memory.limit
    assert 300 < len(kept) < 600, "those that made room are handed over"
    assert not any(key == "10.honest" for key, _ in kept), "the honest sender takes least and stays"
    readers.flush()
    assert len(kept) == 600
    del readers
    assert memory.held == before


@pytest.mark.parametrize("limit", [1 << 20, 1 << 30], ids=["memory", "number"])
def test_a_crash_that_is_being_read_is_not_cut_by_those_of_worse_rank(memory: Memory, limit: int) -> None:
    memory.limit = limit
    kept: list[tuple[str, CrashReport]] = []
    most = 100_000 if limit == 1 << 20 else 40
    ranks = {"10.honest": 1.0}
    readers = Readers(
        lambda _: Reader(lambda _: None, 600), kept.extend, most, rank=lambda owner: ranks.get(owner, 9.0)
    )
    attacker = 0
    for line in crash_text(7).splitlines(keepends=True):
        readers.feed("10.honest", line)  # it takes the most memory, as the others send little
        for _ in range(20):
            attacker += 1
            readers.feed(f"66.{attacker}", b"[    1.000000] kernel BUG at mm/a.c:1!\n")
    readers.flush()
    (honest,) = [report for key, report in kept if key == "10.honest"]
    assert (honest.process.pid, honest.fatal) == (1007, True)
    assert len(kept) == attacker + 1, "those that made room are handed over"


def test_a_crash_that_is_being_read_outlasts_hosts_of_which_nothing_is_known() -> None:
    kept: list[tuple[str, CrashReport]] = []
    ranks = {"10.crash": 9.0}
    readers = Readers(
        lambda _: Reader(lambda _: None, 600), kept.extend, 40, rank=lambda owner: ranks.get(owner, 1.0)
    )
    readers.feed("10.booted", b"[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n")
    for number, line in enumerate(crash_text(7).splitlines(keepends=True)):
        readers.feed("10.crash", line)
        for host in range(20):
            readers.feed(f"10.{number}.{host}", b"[  201.000000] usb 1-1: new high-speed USB device\n")
    assert "10.booted" in readers, "it is silent longest, but its kernel is known"
    readers.flush()
    (report,) = [report for _, report in kept]
    assert (report.process.pid, report.fatal) == (1007, True)


def test_a_silent_sender_s_crash_is_complete_while_others_go_on() -> None:
    now = 0.0
    kept: list[tuple[str, CrashReport]] = []
    readers = Readers(lambda _: Reader(lambda _: None, 10, lambda: now), kept.extend, 100, clock=lambda: now)
    readers.feed("10.crash", crash_text(7))
    for _ in range(40):
        now += 0.3
        readers.feed("10.other", b"[  201.000000] usb 1-1: new high-speed USB device\n")
        readers.settle()
        assert bool(kept) == (now >= 10)
    assert readers.wait is not None
    now += 10
    readers.settle()
    assert readers.wait is None, "nothing is left to complete"


@contextmanager
def receiving(feed: Feed, **options: int) -> Iterator[tuple[Inbox, Callable[[bytes], None]]]:
    """Yield an inbox that takes the datagrams of a socket, and a function that sends to it as 127.0.0.9."""
    inbox = Inbox(feed, AllowedSenders(["127.0.0.0/8"]), options.get("rate", 1 << 30), 10_000, 65_535)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        if "buffer" in options:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["buffer"])
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)  # noqa: FBT003
        sender.bind(("127.0.0.9", 0))
        inbox.listen(listening)
        to = listening.getsockname()

        def send_one(datagram: bytes) -> None:
            sender.sendto(datagram, to)
            until(lambda: "buffer" in options or not unread(to[1]), every=0.0005)

        yield inbox, send_one
        inbox.close()


def drained(inbox: Inbox, seconds: float = 60) -> list[tuple[str, bytes]]:
    parsed: list[tuple[str, bytes]] = []
    inbox.drain(lambda address, message: parsed.append((address, message)), time.monotonic() + seconds)
    return parsed


def test_messages_that_wait_are_within_the_memory_and_an_honest_sender_has_room(memory: Memory) -> None:
    memory.limit = 1 << 20
    feed = Feed()
    before = memory.held
    with receiving(feed) as (inbox, send_one):
        for _ in range(60):
            send_one(b"x" * 60_000)
            assert memory.held - before < 1.1 * memory.limit
    assert feed.dropped["memory"] > 0
    assert memory.held - before < 0.3 * memory.limit, "one who is new has a quarter of it"
    assert not inbox.full("10.0.0.1"), "another sender has room"
    assert len(drained(inbox)) + feed.dropped["memory"] == 60, "every message is parsed or counted"
    assert memory.held == before


def test_datagrams_that_the_kernel_drops_are_counted() -> None:
    feed = Feed()
    with receiving(feed, buffer=4096) as (inbox, send_one):
        for _ in range(1000):
            send_one(b"x" * 100)
    parsed = drained(inbox)
    assert len(parsed) + feed.dropped["kernel"] == 1000
    assert not feed.dropped["kernel"] or "raise net.core.rmem_max" in feed.said[0]


def test_datagrams_that_the_kernel_has_dropped_before_anybody_looks_are_counted() -> None:
    feed = Feed()
    inbox = Inbox(feed, AllowedSenders(["127.0.0.0/8"]), 1 << 30, 10, 65_535)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        for _ in range(1000):
            sender.sendto(b"x" * 100, listening.getsockname())
        inbox.listen(listening)
        inbox.close()
    parsed = drained(inbox)
    assert 0 < len(parsed) < 1000
    assert feed.dropped == {"kernel": 1000 - len(parsed)}
    assert "raise net.core.rmem_max" in feed.said[0]


def test_a_rate_is_kept_and_what_is_above_it_is_counted() -> None:
    feed = Feed()
    began = time.monotonic()
    with receiving(feed, rate=5_000) as (inbox, send_one):
        for _ in range(500):
            send_one(b"x" * 100)
    most = 50 * (1 + time.monotonic() - began)
    parsed = drained(inbox)
    assert 50 <= len(parsed) <= most
    assert feed.dropped["rate"] == 500 - len(parsed)
    assert feed.said[0] == "127.0.0.9: sends more than max_rate; the excess is dropped"


def test_a_known_sender_with_little_traffic_is_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    inbox = Inbox(Feed(), AllowedSenders(["0.0.0.0/0"]), 1 << 30, 10_000, 65_535)
    for address in ("10.0.0.1", "10.0.0.66"):
        inbox.put(address, b"hello")
    while inbox:
        inbox.work(lambda *_: True)
    now += 60.0
    for _ in range(20_000):
        inbox.owes("10.0.0.66", 1000)
    for number in range(200):
        inbox.put("10.0.0.66", b"flood")
        inbox.put(f"10.1.0.{number}", b"new")
    inbox.put("10.0.0.1", b"crash")
    parsed = [address for address, _ in drained(inbox)]
    assert parsed[0] == "10.0.0.1"
    assert parsed[1:201] == ["10.0.0.66"] * 200, "and who was heard before comes before who is new"


def test_invented_addresses_make_no_known_sender_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    inbox = Inbox(Feed(), AllowedSenders(["0.0.0.0/0"]), 1 << 30, 100, 65_535)

    def read() -> None:
        while inbox:
            inbox.work(lambda *_: True)

    for _ in range(2):
        inbox.put("10.0.0.1", b"hello")
        read()
        now += 60.0
    for number in range(1000):
        inbox.put(f"10.1.{number // 250}.{number % 250}", b"x")
        read()
    inbox.put("10.1.9.9", b"new")
    inbox.put("10.0.0.1", b"crash")
    assert [address for address, _ in drained(inbox)] == ["10.0.0.1", "10.1.9.9"]


@pytest.mark.parametrize("local", ["127.0.0.1", "::1", "::"])
def test_a_known_sender_loses_nothing_while_others_overflow_the_port(
    monkeypatch: pytest.MonkeyPatch, local: str
) -> None:
    monkeypatch.setattr("kpanic.shipper.inputs.inbox.KNOWN", 0.0)
    monkeypatch.setattr(Inbox, "allows", lambda *_: True)
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    to = "::1" if local == "::" else local
    feed = Feed()
    inbox = Inbox(feed, AllowedSenders(["127.0.0.0/8"]), 1 << 30, 10_000, 65_535)
    got: list[bytes] = []

    def keep(_: str, message: bytes) -> bool:
        got.append(message)
        return True

    with (
        socket.socket(family, socket.SOCK_DGRAM) as listening,
        socket.socket(family, socket.SOCK_DGRAM) as honest,
        socket.socket(family, socket.SOCK_DGRAM) as attacker,
    ):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind((local, 0))
        listening.setblocking(False)  # noqa: FBT003
        port = listening.getsockname()[1]
        inbox.listen(listening)
        honest.connect((to, port))
        for word in (b"one", b"two"):
            honest.send(word)
            until(lambda: inbox.work(keep))
        (receiver,) = inbox._receivers  # noqa: SLF001 - the thread that is slowed by another one
        until(lambda: receiver._apart and not receiver._young)  # noqa: SLF001
        with inbox._lock:  # noqa: SLF001
            for number in range(100):
                attacker.sendto(b"x" * 1000, (to, port))
                honest.send(b"%d" % number)
        until(lambda: inbox.work(keep) and b"99" in got)
        inbox.close()
        taken = ListenAddress(socket.SOCK_DGRAM, "here", (local, port))
        assert taken.listen(feed.say) is None, "nobody else gets the port"
        assert "cannot listen: Address already in use" in feed.said[-1]
    inbox.drain(keep, time.monotonic() + 60)
    mine = [message for message in got if not message.startswith(b"x")]
    assert mine == [b"one", b"two", *(b"%d" % number for number in range(100))]
    assert feed.dropped["kernel"] > 50


def test_senders_that_are_set_apart_are_few_and_a_silent_one_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kpanic.shipper.inputs.inbox.KNOWN", 0.0)
    monkeypatch.setattr(datagrams, "APART", 2)
    monkeypatch.setattr(datagrams, "YOUNG", 0.01)
    with receiving(Feed()) as (inbox, send_one), ExitStack() as others:
        (receiver,) = inbox._receivers  # noqa: SLF001
        to = receiver._common.socket.getsockname()  # noqa: SLF001

        def send_as(address: str) -> None:
            sender = others.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.bind((address, 0))
            for _ in range(2):
                sender.sendto(b"x", to)
                until(lambda: inbox.work(lambda *_: True))

        def apart() -> set[str]:
            until(lambda: not receiver._young)  # noqa: SLF001
            with inbox._lock:  # noqa: SLF001 - the receiver changes it
                return {address for address, _ in receiver._apart}  # noqa: SLF001

        for number in range(11, 15):
            send_as(f"127.0.0.{number}")
        assert apart() == {"127.0.0.11", "127.0.0.12"}
        monkeypatch.setattr(datagrams, "SILENT", 0.0)
        send_as("127.0.0.15")
        assert apart() == {"127.0.0.12", "127.0.0.15"}
        send_one(b"still heard")
        until(lambda: inbox.work(lambda *_: True))


def test_a_receiver_that_fails_has_its_input_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(Feed()) as (inbox, send_one):
        monkeypatch.setattr(inbox, "_offer", lambda *_: 1 / 0)
        send_one(b"x")
        until(lambda: inbox._signalled)  # noqa: SLF001 - the event that its input waits for
        with pytest.raises(ZeroDivisionError):
            inbox.work(lambda *_: True)


def test_a_slow_datagram_does_not_block_other_senders() -> None:
    to = port()
    with netconsole(to) as feed:
        for number in range(3, 9):
            send([b"4,1,1,-" + b",a=" * 21_800], to, f"127.0.0.{number}")
        began = time.process_time()  # CPU time, since other processes may be running
        send(PLAIN, to)
        until(lambda: feed.crashes)
        assert time.process_time() - began < 5


def test_idle_connections_of_one_sender_block_no_other() -> None:
    to = port(socket.SOCK_STREAM)
    tcp = {"host": f"127.0.0.1:{to}", "max_connections": 20}
    crash = b"".join(message + b"\n" for message in messages(OOPS, "web-1"))
    idle: list[socket.socket] = []
    try:
        with syslog(protocol=_protocol({"tcp": tcp}), allow=["127.0.0.0/8"]) as feed:
            until(lambda: opens(to))
            attacker = ("127.0.0.9", 0)
            idle += [socket.create_connection(("127.0.0.1", to), source_address=attacker) for _ in range(40)]
            until(lambda: feed.dropped["connections"] >= 20)
            over_tcp(to, crash)
            until(lambda: feed.crashes)
        assert feed.dropped["connections"] == 21
        assert feed.hosts() == ["web-1"]
    finally:
        for one in idle:
            one.close()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
            "speaks TLS, which is not enabled; set protocol.tcp.ssl",
        ),
        (b"zx\x9c" + b"\x01" * 100 + b"\n", "sends compressed messages; set ziplevel to 0"),
        (
            b"x\x9c" + b"\x01" * 100,
            "sends compressed messages; set ziplevel to 0 and compression.mode",
        ),
        (b"\x1f\x8b\x08" + b"a" * 100, "sends bytes that are no syslog, such as compressed"),
        (b"(\xb5/\xfd" + b"a" * 100, "sends bytes that are no syslog, such as compressed"),
        (b"1 open 85 relp_version=0\nrelp_software=librelp\n", "speaks RELP, which this input does not"),
    ],
)
def test_data_other_than_plain_syslog_is_reported_and_counted(sent: bytes, said: str) -> None:
    to = port(socket.SOCK_STREAM)
    with syslog(protocol=_protocol({"tcp": {"host": f"127.0.0.1:{to}"}})) as feed:
        until(lambda: opens(to))
        over_tcp(to, sent)
        until(lambda: feed.dropped)
    assert feed.dropped == {"encoding": 1}
    assert said in feed.said[0]
    assert not feed.crashes


def test_one_long_entry_of_the_journal_costs_time_in_proportion_to_its_length_and_is_left_out() -> None:
    def split(entry: bytes) -> None:
        splitter = EntrySplitter()
        chunks = [entry[at : at + (1 << 14)] for at in range(0, len(entry), 1 << 14)]
        assert [one for chunk in chunks for one in splitter.feed(chunk)] == [b"{}"]
        assert splitter.dropped == 1

    long = b"x" * (8 << 20)
    assert linear(split, long + b"\n{}\n", long * 4 + b"\n{}\n")


@pytest.mark.slow
def test_a_record_that_is_piped_byte_by_byte_costs_time_in_proportion_to_its_length() -> None:
    def pipe(record: bytes) -> None:
        lines = PipedLines(10, lambda _: None, lambda _: None)
        for at in range(0, len(record), 16):
            lines.feed(record[at : at + 16])
        lines.flush()

    pipe(b"x")  # the grammar is built on first use
    record = b'{"message":"' + b"x" * 100_000
    assert linear(pipe, record + b'"}\n', record * 4 + b'"}\n')


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"\x81\xa1a" * 1000 + b"\xc0", id="maps in one another"),
        pytest.param(b"\x81\x91\x01\x01", id="a list as key"),
        pytest.param(b"\x81\x80\x01", id="a map as key"),
        pytest.param(
            msgpack.packb({"_TRANSPORT": "kernel", "MESSAGE": "x", "at": msgpack.Timestamp(1, 1), None: 1}),
            id="an entry of the journal with a time",
        ),
        pytest.param(
            msgpack.packb({"message": "x", "log": msgpack.ExtType(5, b"x" * 70_000)}), id="an extension"
        ),
    ],
)
def test_a_record_of_messagepack_that_json_does_not_have_costs_no_crash(record: bytes) -> None:
    found: list[CrashReport] = []
    records = PipedRecords(10, pytest.fail, lambda complete: found.extend(report for _, report in complete))
    lines = [msgpack.packb({"message": line.decode()}) for line in crash_text(1).splitlines()]
    records.feed(b"".join(line for half in (lines[:5], [record], lines[5:]) for line in half))
    records.flush()
    assert [report.process.pid for report in found] == [1001]


def test_names_of_invented_senders_block_no_sender_for_long() -> None:
    ended = threading.Event()
    names = SenderNames(DnsConfig(timeout=0.5), 100, "here.x", lambda _: str(ended.wait(30)))
    try:
        began = time.monotonic()
        for number in range(50):
            names.ask(f"10.0.0.{number}")
            assert names.of(f"10.0.0.{number}") == ""
        assert time.monotonic() - began < 12, "50 waits last 25 seconds"
    finally:
        ended.set()


@pytest.mark.process
def test_all_attacks_at_once_cost_no_honest_crash_and_neither_memory_nor_the_end(tmp_path: Path) -> None:
    """A longer run: ``python -m tests.benchmarks.attack --seconds 600``."""
    found = attacked(tmp_path, 10)
    assert {sender: found.sent - len(kept) for sender, kept in found.latencies.items()} == {
        "127.0.0.2": 0,
        "web-1": 0,
    }
    assert found.resident < 256
    assert (found.code, found.ended < 60) == (0, True)
    assert found.scrapes[1] > 0
    assert 'reason="memory"' in found.metrics, "the attack was one"
