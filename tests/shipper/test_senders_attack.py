"""Attacks on the listening inputs: time, memory and connections are bounded, honest senders are heard."""

from __future__ import annotations

import socket
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.api import MEMORY, Memory, Reader, Readers
from kpanic.shipper.contract import crash_text
from kpanic.shipper.inputs.inbox import Inbox
from kpanic.shipper.inputs.journal_entries import EntrySplitter
from kpanic.shipper.inputs.netconsole_records import LATE_BYTES, NetconsoleReader
from kpanic.shipper.inputs.piped_lines import PipedLines
from kpanic.shipper.inputs.senders import AllowedSenders
from kpanic.shipper.inputs.syslog_messages import read_header
from tests.shipper.feed import Feed
from tests.shipper.test_inputs_sockets import (
    OOPS,
    PLAIN,
    _opens,
    _protocol,
    messages,
    netconsole,
    over_tcp,
    port,
    send,
    syslog,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.grammars.model import CrashReport

LINEAR = 6.0
"""Maximum ratio of the costs of a text and of one four times as long; a quadratic one has 16."""


@pytest.fixture
def memory() -> Iterator[Memory]:
    """The memory of this process with a limit of its own."""
    limit = MEMORY.limit
    yield MEMORY
    MEMORY.limit = limit


def seconds(step: Callable[[bytes], object], text: bytes) -> float:
    """Return the processor time of a step, the median of several."""
    times = []
    for _ in range(7):
        began = time.thread_time()
        step(text)
        times.append(time.thread_time() - began)
    return median(times)


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

    short, long = seconds(feed, text), seconds(feed, text * 3 + text)
    assert long < LINEAR * max(short, 0.0005)


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
    assert seconds(read_header, text * 4) < LINEAR * max(seconds(read_header, text), 0.0005)


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


def test_messages_that_wait_are_within_the_memory_and_an_honest_sender_has_room(memory: Memory) -> None:
    memory.limit = 1 << 20
    feed = Feed()
    inbox = Inbox(feed, AllowedSenders(["0.0.0.0/0"]), 1 << 30, 10_000)
    before = memory.held
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)  # noqa: FBT003
        for number in range(60):
            sender.sendto(b"x" * 60_000, listening.getsockname())
            inbox.receive(listening)
            assert memory.held - before < 1.1 * memory.limit, number
    assert feed.dropped["memory"] > 0
    assert not inbox.full("10.0.0.1"), "another sender has room"
    parsed = 0

    def parse(_address: str, _message: bytes) -> bool:
        nonlocal parsed
        parsed += 1
        return True

    inbox.drain(parse, time.monotonic() + 10)
    assert parsed + feed.dropped["memory"] == 60, "every message is parsed or counted"
    assert memory.held == before


def test_what_the_kernel_drops_is_counted() -> None:
    feed = Feed()
    inbox = Inbox(feed, AllowedSenders(["127.0.0.0/8"]), 1 << 30, 10)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)  # noqa: FBT003
        for _ in range(1000):
            sender.sendto(b"x" * 100, listening.getsockname())
        inbox.receive(listening, 1.0)
    parsed: list[bytes] = []
    inbox.drain(lambda _, message: parsed.append(message), time.monotonic() + 5)
    assert 0 < len(parsed) < 1000
    assert feed.dropped == {"kernel": 1000 - len(parsed)}
    assert "raise net.core.rmem_max" in feed.said[0]


def test_a_quadratic_datagram_keeps_no_other_sender_from_being_heard() -> None:
    to = port()
    with netconsole(to) as feed:
        for number in range(3, 9):
            send([b"4,1,1,-" + b",a=" * 21_800], to, f"127.0.0.{number}")
        began = time.monotonic()
        send(PLAIN, to)
        until(lambda: feed.crashes)
        assert time.monotonic() - began < 5


def test_idle_connections_of_one_sender_shut_nobody_out() -> None:
    to = port(socket.SOCK_STREAM)
    tcp = {"host": f"127.0.0.1:{to}", "max_connections": 20}
    crash = b"".join(message + b"\n" for message in messages(OOPS, "web-1"))
    idle: list[socket.socket] = []
    try:
        with syslog(protocol=_protocol({"tcp": tcp}), allow=["127.0.0.0/8"]) as feed:
            until(lambda: _opens(to))
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
            "speaks TLS, which this input does not",
        ),
        (b"zx\x9c" + b"\x01" * 100 + b"\n", "sends compressed messages; set ziplevel to 0 there"),
    ],
)
def test_what_is_not_plain_syslog_is_said_and_counted(sent: bytes, said: str) -> None:
    to = port(socket.SOCK_STREAM)
    with syslog(protocol=_protocol({"tcp": {"host": f"127.0.0.1:{to}"}})) as feed:
        until(lambda: _opens(to))
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
    assert seconds(split, long * 4 + b"\n{}\n") < LINEAR * seconds(split, long + b"\n{}\n")


@pytest.mark.slow
def test_a_record_that_is_piped_byte_by_byte_costs_time_in_proportion_to_its_length() -> None:
    def pipe(record: bytes) -> None:
        lines = PipedLines(10, lambda _: None, lambda _: None)
        for at in range(0, len(record), 16):
            lines.feed(record[at : at + 16])
        lines.flush()

    pipe(b"x")  # the grammar is built on first use
    record = b'{"message":"' + b"x" * 100_000
    assert seconds(pipe, record * 4 + b'"}\n') < LINEAR * max(seconds(pipe, record + b'"}\n'), 0.0005)
