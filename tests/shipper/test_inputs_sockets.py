"""Listening inputs: netconsole's datagrams and syslog's messages, over real sockets."""

from __future__ import annotations

import ast
import random
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpanic.shipper.inputs.netconsole import NetconsoleInput
from kpanic.shipper.inputs.sockets import ListenAddress
from kpanic.shipper.inputs.syslog import SyslogInput
from kpanic.shipper.inputs.syslog_connections import Connections
from kpanic.shipper.inputs.syslog_messages import Framing, read_header
from tests.engines import parts
from tests.shipper.feed import running
from tests.shipper.rsyslog import rsyslog
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.shipper.feed import Feed

pytestmark = pytest.mark.timed
LOGS = Path(__file__).parent.parent / "logs"
PLAIN, EXTENDED = (
    [
        ast.literal_eval(line)
        for line in (LOGS / "transports" / f"netconsole-{form}.txt.packets").read_text().splitlines()
    ]
    for form in ("plain", "extended")
)
OOPS = (LOGS / "lab" / "6.1.0-56-amd64-x86_64-null_read.log").read_bytes()
BUG = (LOGS / "lab" / "6.1.0-56-amd64-x86_64-bug.log").read_bytes()


def port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """Return a free port below the ephemeral range."""
    return parts.free_port(28_000, kind)


def bound(to: int) -> bool:
    """Tell whether a process listens on a UDP port, without binding it."""
    return f":{to:04X} " in Path("/proc/net/udp").read_text()


def send(packets: list[bytes], to: int, source: str = "127.0.0.2", *, paced: bool = True) -> None:
    until(lambda: bound(to))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        for number, packet in enumerate(packets):
            sender.sendto(packet, ("127.0.0.1", to))
            if paced and number % 50 == 0:
                until(lambda: not unread(to))


def unread(port: int) -> int:
    """Return the number of unread bytes of a port (Documentation/networking/proc_net_tcp.rst)."""
    lines = Path("/proc/net/udp").read_text().splitlines()
    return sum(int(line.split()[4].partition(":")[2], 16) for line in lines if f":{port:04X} " in line[:25])


def netconsole(to: int, **config: Any) -> Any:  # noqa: ANN401
    return running(NetconsoleInput, host=f"127.0.0.1:{to}", **{"close_quiet": 2.0, **config})


def heard(feed: Feed) -> Any:  # noqa: ANN401
    until(lambda: feed.crashes)
    (crash,) = feed.crashes.values()
    return crash.report


@pytest.mark.parametrize("packets", [PLAIN, EXTENDED], ids=["plain", "extended"])
def test_netconsole_s_senders_are_kept_apart(packets: list[bytes]) -> None:
    to = port()
    with netconsole(to) as feed:
        for one, other in zip(packets, packets, strict=True):
            send([one], to, "127.0.0.2", paced=False)
            send([other], to, "127.0.0.3", paced=False)
        until(lambda: len(feed.crashes) == 2)
    assert sorted(crash.origin.host_ip for crash in feed.crashes.values()) == ["127.0.0.2", "127.0.0.3"]
    assert {crash.report.status for crash in feed.crashes.values()} == {"complete"}
    assert feed.said == []


def test_records_that_arrive_twice_or_out_of_order_read_as_if_they_had_not() -> None:
    to = port()
    with netconsole(to) as feed:
        send(EXTENDED, to)
        expected = heard(feed)
    chance = random.Random(7)  # noqa: S311
    mixed = sorted(
        (item for item in enumerate(EXTENDED) for _ in range(1 + (chance.random() < 0.2))),
        key=lambda item: item[0] + chance.uniform(0, 6),
    )
    assert [item[0] for item in mixed] != sorted(item[0] for item in mixed)
    with netconsole(to) as feed:
        send([packet for _, packet in mixed], to)
        report = heard(feed)
    assert [line.text for line in report.lines] == [line.text for line in expected.lines]
    assert report.lost == expected.lost == 0


def test_records_that_are_lost_are_counted_and_the_rest_is_read() -> None:
    to = port()
    at = next(i for i, packet in enumerate(EXTENDED) if b"RIP: 0010" in packet)
    with netconsole(to) as feed:
        send(EXTENDED[: at + 5] + EXTENDED[at + 8 :], to)
        report = heard(feed)
    assert report.lost == 3


def test_a_rebooted_machine_is_read_although_its_numbers_restart() -> None:
    to = port()
    again = [re.sub(rb"^(\d+,\d+,)(\d+)", lambda m: m[1] + str(int(m[2]) + 7).encode(), p) for p in EXTENDED]
    with netconsole(to) as feed:
        send(EXTENDED, to)
        until(lambda: len(feed.crashes) == 1)
        send(again, to)
        until(lambda: len(feed.crashes) == 2)


def test_a_sender_that_sends_too_much_is_limited_and_others_are_not() -> None:
    to = port()
    with netconsole(to, max_rate=60_000) as feed:
        send([b"x" * 1000] * 500, to, "127.0.0.9")
        send(PLAIN, to)
        until(lambda: feed.crashes)
    assert feed.said == [
        "127.0.0.9: sends more than max_rate; the excess is dropped",
        f"messages dropped: {feed.dropped['rate']} of 127.0.0.9",
    ]


def test_messages_sent_before_the_end_are_read() -> None:
    to = port()
    with netconsole(to, close_quiet=600.0) as feed:
        send([b"[    1.000000] nothing\n"] * 2000, to, "127.0.0.9", paced=False)
        send(PLAIN, to, paced=False)
    assert heard(feed).status == "complete"
    assert (feed.said, feed.dropped) == ([], {})


@pytest.mark.parametrize("kind", ["netconsole", "syslog"])
def test_a_place_that_comes_late_is_listened_at(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ListenAddress, "RETRY", 0.1)
    to = port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", to))
        udp = {"protocol": _protocol({"udp": {"host": f"127.0.0.1:{to}"}})}
        with netconsole(to) if kind == "netconsole" else syslog(**udp) as feed:
            until(lambda: feed.said)
            other.close()
            until(lambda: len(feed.said) == 2)
            send(PLAIN if kind == "netconsole" else list(messages(OOPS, "web-1")), to)
            until(lambda: feed.crashes)
    assert feed.said == [
        f"127.0.0.1:{to}: cannot listen: Address already in use; trying again until that works",
        f"127.0.0.1:{to}: listening now",
    ]


def test_more_senders_than_allowed_make_room_for_each_other() -> None:
    to = port()
    with netconsole(to, max_senders=2, close_quiet=600.0) as feed:
        for number in range(2, 9):
            send(PLAIN, to, f"127.0.0.{number}")
        until(lambda: feed.crashes)  # without a quiet time, because its place was needed


def test_a_socket_in_use_is_reported_and_invalid_datagrams_are_survived() -> None:
    to = port()
    with netconsole(to) as feed:
        until(lambda: bound(to))
        with netconsole(to) as other:
            until(lambda: other.said)
        chance = random.Random(3)  # noqa: S311
        send([chance.randbytes(chance.randrange(2000)) for _ in range(200)], to)
        send([b"1,2,3,-,ncfrag=9/5;x", b"1,2,3,-,ncfrag=0/999999999;x", b"9,18446744073709551615,1,-;x"], to)
        send(PLAIN, to, "127.0.0.3")
        until(lambda: feed.crashes)
    assert feed.said == []
    assert other.said == [
        f"127.0.0.1:{to}: cannot listen: Address already in use; trying again until that works"
    ]


# --- syslog -----------------------------------------------------------------------------------------


def messages(console: bytes, host: str, *, new: bool = False) -> Iterator[bytes]:
    for line in console.splitlines():
        if re.match(rb"\[ *\d+\.\d+\]", line):
            before = (
                f"<4>1 2026-11-22T19:31:14.816890Z {host} kernel - - - "
                if new
                else (f"<4>Nov 22 19:31:14 {host} kernel: ")
            )
            yield before.encode() + line


def syslog(**config: Any) -> Any:  # noqa: ANN401
    return running(SyslogInput, **{"close_quiet": 2.0, **config})


def over_tcp(to: int, data: bytes, pieces: int = 997) -> None:
    with socket.create_connection(("127.0.0.1", to)) as sender:
        for at in range(0, len(data), pieces):
            sender.sendall(data[at : at + pieces])


@pytest.mark.parametrize("new", [False, True], ids=["RFC 3164", "RFC 5424"])
@pytest.mark.parametrize("way", ["datagrams", "lines", "counted"])
def test_a_crash_is_heard_by_syslog_and_a_relay_s_hosts_are_kept_apart(way: str, new: bool) -> None:  # noqa: FBT001
    kind = socket.SOCK_DGRAM if way == "datagrams" else socket.SOCK_STREAM
    to = port(kind)
    protocol = {"udp" if way == "datagrams" else "tcp": {"host": f"127.0.0.1:{to}"}}
    mixed = [
        message
        for both in zip(messages(OOPS, "web-1", new=new), messages(BUG, "web-2", new=new), strict=False)
        for message in (*both, b"<30>Nov 22 19:31:14 web-1 sshd[7]: BUG: unable to handle page fault")
    ]
    with syslog(protocol=_protocol(protocol)) as feed:
        if way == "datagrams":
            send(mixed, to)
        elif way == "lines":
            until(lambda: opens(to))
            over_tcp(to, b"".join(message + b"\n" for message in mixed))
        else:
            until(lambda: opens(to))
            over_tcp(to, b"".join(b"%d %s" % (len(message), message) for message in mixed))
        until(lambda: len(feed.crashes) == 2)
    assert feed.hosts() == ["web-1", "web-2"]
    for crash in feed.crashes.values():
        assert crash.report.status == "complete"
        assert (crash.origin.provider, crash.origin.host_ip, crash.origin.relayed) == ("syslog", "", True)
    assert feed.said == []


def _protocol(protocol: dict[str, dict[str, Any]]) -> Any:  # noqa: ANN401
    import msgspec  # noqa: PLC0415

    from kpanic.shipper.inputs.syslog import ProtocolConfig  # noqa: PLC0415

    return msgspec.convert(protocol, ProtocolConfig)


def opens(to: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", to)) == 0


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("udp", 'protocol="udp" template="RSYSLOG_TraditionalForwardFormat"'),
        ("udp", 'protocol="udp" template="RSYSLOG_SyslogProtocol23Format"'),
        ("tcp", 'protocol="tcp" template="RSYSLOG_ForwardFormat"'),
        ("tcp", 'protocol="tcp" template="RSYSLOG_SyslogProtocol23Format" TCP_Framing="octet-counted"'),
    ],
)
@pytest.mark.process
def test_rsyslog_s_own_words_are_understood(tmp_path: Path, kind: str, way: str) -> None:
    to = port(socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    protocol = _protocol({kind: {"host": f"127.0.0.1:{to}"}})
    action = f'type="omfwd" target="127.0.0.1" port="{to}" {way}'
    with syslog(protocol=protocol) as feed, rsyslog(tmp_path, action) as log:
        with log.open("ab") as stream:
            stream.write(OOPS.replace(b"\r\n", b"\n"))
        until(lambda: feed.crashes)
    assert feed.hosts() == ["web-1"]
    assert heard(feed).status == "complete"
    assert feed.said == []


def test_the_connections_of_strangers_and_those_too_many_are_closed() -> None:
    to = port(socket.SOCK_STREAM)
    tcp = {"host": f"127.0.0.1:{to}", "max_connections": 1}
    with syslog(protocol=_protocol({"tcp": tcp}), allow=["127.0.0.2/32"]) as feed:
        until(lambda: opens(to))  # from 127.0.0.1
        with socket.create_connection(("127.0.0.1", to), source_address=("127.0.0.2", 0)) as first:
            first.sendall(b"<4>")
            until(lambda: not _gone(first))
            with socket.create_connection(("127.0.0.1", to), source_address=("127.0.0.2", 0)) as second:
                second.settimeout(60)
                assert second.recv(1) == b""
            first.sendall(b"1 - web kernel - - - [    1.000000] Kernel panic - not syncing: x\n")
            until(lambda: feed.crashes)
    assert feed.said == [
        "127.0.0.1: is not in allow; its messages are not taken",
        "127.0.0.2: is closed, max_connections is reached",
        "messages dropped: 1 of 127.0.0.2",
    ]


def _gone(one: socket.socket) -> bool:
    one.settimeout(0.3)
    try:
        return one.recv(1) == b""
    except TimeoutError:
        return False


def test_a_connection_that_sends_too_much_waits_and_loses_nothing() -> None:
    to = port(socket.SOCK_STREAM)
    flood = b"<4>Nov 22 19:31:14 web-1 kernel: [    0.100000] noise\n" * 4000
    crash = b"".join(message + b"\n" for message in messages(OOPS, "web-1"))
    with syslog(protocol=_protocol({"tcp": {"host": f"127.0.0.1:{to}"}}), max_rate=100_000) as feed:
        until(lambda: opens(to))
        began = time.monotonic()
        over_tcp(to, flood + crash, 65_536)
        until(lambda: feed.crashes)
    assert time.monotonic() - began > 1
    assert heard(feed).status == "complete"


PANICS = [
    f"<2>Nov 22 19:31:14 h{number} kernel: [    1.000000] Kernel panic - not syncing: {number}".encode()
    for number in range(3000)
]


def test_a_sender_with_too_many_hosts_delays_only_itself() -> None:
    to = port()
    udp = _protocol({"udp": {"host": f"127.0.0.1:{to}"}})
    with syslog(protocol=udp, max_new_hosts=20, close_quiet=0.5) as feed:
        send(PANICS, to, "127.0.0.9")
        send(list(messages(OOPS, "web-1")), to)
        until(lambda: "web-1" in feed.hosts())
        assert len(feed.crashes) < len(PANICS) / 2
    assert len(feed.crashes) == len(PANICS) + 1  # closing does not wait
    assert (feed.said, feed.dropped) == ([], {})


def test_many_hosts_of_one_sender_take_no_place_from_another_s() -> None:
    to = port()
    udp = _protocol({"udp": {"host": f"127.0.0.1:{to}"}})
    oops = list(messages(OOPS, "web-1"))
    with syslog(protocol=udp, max_senders=50, max_new_hosts=1000, close_quiet=600.0) as feed:
        send(oops[:-5], to)
        send(PANICS[:200], to, "127.0.0.9")
        until(lambda: len(feed.crashes) > 100)  # without a quiet time, because their places were needed
        assert "web-1" not in feed.hosts()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["UDP", "TCP"])
def test_syslog_messages_sent_before_the_end_are_read(kind: socket.SocketKind) -> None:
    to = port(kind)
    name = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    sent = [*PANICS[:2000], *messages(OOPS, "web-1")]
    with syslog(protocol=_protocol({name: {"host": f"127.0.0.1:{to}"}}), close_quiet=600.0) as feed:
        if name == "udp":
            send(sent, to, paced=False)
        else:
            until(lambda: opens(to))
            over_tcp(to, b"".join(message + b"\n" for message in sent), 65_536)
    assert len(feed.crashes) == 2001
    assert (feed.said, feed.dropped) == ([], {})


def test_a_connection_that_comes_at_the_end_is_read_though_another_socket_is_listened_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    to = port(socket.SOCK_STREAM)
    protocol = _protocol({"udp": {"host": f"127.0.0.1:{to}"}, "tcp": {"host": f"127.0.0.1:{to}"}})
    crash = b"".join(message + b"\n" for message in messages(OOPS, "web-1"))
    accept_last = Connections.accept_last

    def send_and_accept(connections: Connections, listening: socket.socket, seconds: float) -> None:
        over_tcp(to, crash, 65_536)
        accept_last(connections, listening, seconds)

    with syslog(protocol=protocol, close_quiet=600.0) as feed:
        until(lambda: opens(to) and bound(to))
        monkeypatch.setattr(Connections, "accept_last", send_and_accept)
        feed.stop.set()
    assert feed.hosts() == ["web-1"]


@given(
    st.lists(st.binary(min_size=1, max_size=80).map(lambda text: b"<4>" + text.replace(b"\n", b" "))),
    st.booleans(),
    st.integers(1, 50),
)
def test_messages_come_out_of_a_stream_as_they_went_in_however_it_is_cut(
    sent: list[bytes],
    counted: bool,  # noqa: FBT001
    pieces: int,
) -> None:
    stream = b"".join(b"%d %s" % (len(one), one) if counted else one + b"\n" for one in sent)
    connection = Framing(480)
    got = [
        message
        for at in range(0, len(stream), pieces)
        for message in connection.take(stream[at : at + pieces])
    ]
    assert got + connection.rest() == sent


@settings(max_examples=200)
@given(st.binary(max_size=3000), st.integers(1, 400))
def test_any_stream_is_survived_in_bounded_memory(stream: bytes, pieces: int) -> None:
    connection = Framing(480)
    for at in range(0, len(stream), pieces):
        assert all(len(message) <= 480 for message in connection.take(stream[at : at + pieces]))
        assert len(connection.held) <= 480 + pieces + 12
    connection.rest()
    read_header(stream)


@pytest.mark.parametrize(
    ("message", "kernel", "host"),
    [
        (b"<4>Nov 22 19:31:14 web-1 kernel: [ 1.0] x", True, "web-1"),
        (b"<4>Nov 22 19:31:14 web-1 [    1.000000] x", True, "web-1"),
        (b"<4>Nov 22 19:31:14 kernel: x", True, ""),
        (b"<30>Nov 22 19:31:14 web-1 sshd[1]: x", False, "web-1"),
        (b"<30>Nov  2 19:31:14 web-1 kernel[0]: x", True, "web-1"),
        (b"<4>1 2026-11-22T19:31:14Z web-1 kernel - - - x", True, "web-1"),
        (b"<30>1 2026-11-22T19:31:14Z web-1 sshd 1 - - x", False, "web-1"),
        (b"<30>1 - - kernel - - - x", True, ""),
        (b"<6>2026-11-22T19:31:14.816890+00:00 web-1 kernel: x", True, "web-1"),
        (b"[    1.000000] x", True, ""),
        (b"", True, ""),
    ],
)
def test_a_message_says_whose_it_is(message: bytes, kernel: bool, host: str) -> None:  # noqa: FBT001
    assert read_header(message) == (kernel, host)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({}, "nowhere to listen at: set protocol.udp.host, protocol.tcp.host or both"),
        (
            {"protocol": {"udp": {"host": "514"}}},
            "host: expected address and port, such as 0.0.0.0:6666 - at `$.protocol.udp`",
        ),
        (
            {"protocol": {"udp": {"host": ":514"}}, "allow": ["10.0.0.0/40"]},
            "allow[0]: expected an address or a network, such as 10.0.0.0/8",
        ),
    ],
)
def test_an_invalid_place_is_reported(config: dict[str, Any], wrong: str) -> None:
    import msgspec  # noqa: PLC0415

    with pytest.raises(msgspec.ValidationError, match=re.escape(wrong)):
        msgspec.convert(config, SyslogInput.Config)
