"""Every panic counts once: several transports of a crash are one incident, similar crashes are several."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from kpanic.grammars import parse
from kpanic.shipper.document import build
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import pack
from kpanic.shipper.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.packed import Packed

LOG = Path(__file__).parents[1] / "logs" / "lab" / "6.1.0-56-amd64-x86_64-null_read.log"
ROWS = [
    (float(found[1]), found[2])
    for line in LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    if (found := re.fullmatch(r"\[ *(\d+\.\d+)\] (.*?)\r?", line))
]
(_BOOT,) = [row for row, (_, text) in enumerate(ROWS) if "BUG: kernel NULL pointer" in text]
CRASH = ROWS[_BOOT : _BOOT + 60]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


class Boot(NamedTuple):
    """A boot that crashed: its start, and the difference between its clock and the log's."""

    began: float = NOON
    later: float = 0.0
    host: str = "web1"

    def rows(self) -> Iterator[tuple[float, float, str]]:
        return ((time + self.later, self.began + time + self.later, text) for time, text in CRASH)


def iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds")


def console(boot: Boot) -> str:
    return "".join(f"[{time:12.6f}] {text}\n" for time, _, text in boot.rows())


def dump(boot: Boot) -> str:
    clock = datetime.fromtimestamp(int(boot.began) + 1, UTC)
    return (
        f"[    1.000000] rtc_cmos 00:00: setting system clock to {clock:%Y-%m-%dT%H:%M:%S} UTC"
        f" ({int(boot.began) + 1})\n" + console(boot)
    )


def kmsg(boot: Boot) -> str:
    return "".join(
        f"4,{number},{round(time * 1e6)},-;{text}\n" for number, (time, _, text) in enumerate(boot.rows())
    )


def pstore(boot: Boot) -> str:
    return "Panic#1 Part1\n" + "".join(f"<4>[{time:12.6f}] {text}\n" for time, _, text in boot.rows())


def journal(boot: Boot) -> str:
    return "".join(
        json.dumps(
            {
                "MESSAGE": text,
                "_TRANSPORT": "kernel",
                "_HOSTNAME": boot.host,
                "_SOURCE_MONOTONIC_TIMESTAMP": str(round(time * 1e6)),
                "__REALTIME_TIMESTAMP": str(round(epoch * 1e6)),
            }
        )
        + "\n"
        for time, epoch, text in boot.rows()
    )


def syslog(boot: Boot) -> str:
    return "".join(f"{iso(epoch)} {boot.host} kernel: {text}\n" for _, epoch, text in boot.rows())


def syslog_with_time(boot: Boot) -> str:
    return "".join(
        f"{iso(epoch)} {boot.host} kernel: [{time:12.6f}] {text}\n" for time, epoch, text in boot.rows()
    )


def dmesg(boot: Boot) -> str:
    return "".join(f"{iso(epoch).replace('.', ',')} {text}\n" for _, epoch, text in boot.rows())


class Way(NamedTuple):
    write: Callable[[Boot], str]
    provider: str
    timed: bool = True


WAYS = {
    "kdump": Way(dump, "kdump"),
    "console": Way(dump, "serial"),
    "netconsole": Way(kmsg, "netconsole"),
    "kmsg": Way(kmsg, "kmsg"),
    "pstore": Way(pstore, "pstore"),
    "journal": Way(journal, "journal"),
    "syslog with printk's time": Way(syslog_with_time, "syslog"),
    "syslog": Way(syslog, "syslog", timed=False),
    "dmesg --time-format iso": Way(dmesg, "file", timed=False),
}


def seen(way: str, boot: Boot, namespace: str = "default") -> Packed:
    (crash,) = parse(WAYS[way].write(boot))
    arrived = boot.began + CRASH[0][0] + boot.later + 20
    origin = Origin(
        WAYS[way].provider, host_name=boot.host, mtime=arrived, agent_host=boot.host, namespace=namespace
    )
    document = build(crash, origin, now=arrived)
    assert ("uptime" in document["kernel"]["panic"]) == WAYS[way].timed
    return pack(document)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "kpanic.db") as opened:
        yield opened


def incidents(store: Store) -> list[str]:
    return [document["event"]["id"] for document in store.documents(only=["event.id"])]


PAIRS = [
    (one, other)
    for one, other in itertools.permutations(WAYS, 2)
    if WAYS[one].provider != WAYS[other].provider
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_crash_by_two_transports_is_one_incident(store: Store, first: str, second: str) -> None:
    documents = [seen(first, Boot()), seen(second, Boot())]
    if WAYS[first].timed and WAYS[second].timed:
        assert documents[0].incident == documents[1].incident
    store.add(documents[:1])
    store.add(documents[1:])
    assert len(incidents(store)) == 2
    assert len(set(incidents(store))) == 1
    assert store.status().incidents == 1


@pytest.mark.parametrize(
    ("first", "second", "number"),
    [
        ("web1.example.com", "web1", 1),
        ("web1", "web1.example.com", 1),
        ("web1.example.com", "web1.example.org", 2),
        ("web11", "web1", 2),
    ],
)
def test_a_text_without_printks_time_joins_its_host_with_or_without_a_domain(
    store: Store, first: str, second: str, number: int
) -> None:
    store.add([seen("netconsole", Boot(host=first))])
    store.add([seen("syslog", Boot(host=second))])
    assert len(set(incidents(store))) == number


def test_two_addresses_that_begin_alike_are_two_hosts(store: Store) -> None:
    store.add([seen("netconsole", Boot(host="10.0.0.7"))])
    store.add([seen("syslog", Boot(host="10.0.0.8"))])
    assert len(set(incidents(store))) == 2


@pytest.mark.parametrize("order", [sorted(WAYS), sorted(WAYS, reverse=True)])
def test_a_crash_by_every_transport_is_one_incident(store: Store, order: list[str]) -> None:
    ways = {WAYS[way].provider: way for way in order}  # a provider delivers a crash once
    for way in ways.values():
        store.add([seen(way, Boot())])
    assert len(incidents(store)) == len(ways)
    assert len(set(incidents(store))) == 1


LOOP = [Boot(NOON + 40 * number, 0.003 * number * (-1) ** number) for number in range(6)]


@pytest.mark.parametrize("way", WAYS)
def test_six_boots_with_similar_crashes_are_six_incidents(store: Store, way: str) -> None:
    store.add([seen(way, boot) for boot in LOOP])
    assert len(incidents(store)) == len(set(incidents(store))) == 6


@pytest.mark.parametrize(
    "ways",
    [
        ("netconsole", "syslog", "kdump"),
        ("syslog", "kdump", "netconsole"),
        ("kdump", "dmesg --time-format iso"),
        ("syslog", "dmesg --time-format iso"),
    ],
)
@pytest.mark.parametrize("by_boot", [True, False], ids=["boot by boot", "way by way"])
def test_six_boots_by_several_transports_are_six_incidents(
    store: Store, ways: tuple[str, ...], *, by_boot: bool
) -> None:
    pairs = [(boot, way) for boot in LOOP for way in ways]
    for boot, way in pairs if by_boot else sorted(pairs, key=lambda pair: ways.index(pair[1])):
        store.add([seen(way, boot)])
    found = incidents(store)
    assert len(found) == 6 * len(ways)
    assert len(set(found)) == 6
    assert store.status().incidents == 6


@pytest.mark.slow
def test_clones_that_a_kernel_kills_at_boot_are_as_many_incidents(store: Store) -> None:
    clones = [Boot(NOON, 0.000001 * number, f"clone{number}") for number in range(200)]
    store.add([seen("kdump", boot) for boot in clones])
    store.add([seen("syslog", boot) for boot in clones])
    assert len(set(incidents(store))) == 200


def test_similar_crashes_in_the_same_microsecond_are_separate_incidents(store: Store) -> None:
    for way in ("kdump", "netconsole", "syslog"):
        store.add([seen(way, Boot(host=f"clone{number}")) for number in range(3)])
    found = [(one["host"]["name"], one["event"]["id"]) for one in store.documents()]
    assert len(found) == 9
    assert len(set(found)) == len({incident for _, incident in found}) == 3


def test_a_host_with_and_without_its_domain_is_one(store: Store) -> None:
    store.add([seen("kdump", Boot()), seen("kdump", Boot(host="web1.example.com"))])
    assert len(set(incidents(store))) == 1


def test_a_text_without_printks_time_is_alone_where_nothing_was_seen_at_its_time(store: Store) -> None:
    store.add([seen("kdump", Boot()), seen("syslog", Boot(NOON + 3600)), seen("syslog", Boot(host="web2"))])
    assert len(set(incidents(store))) == 3


def test_a_document_that_comes_again_stays_the_same(store: Store) -> None:
    document = seen("syslog", Boot())
    assert store.add([seen("kdump", Boot()), document, document]) == 2
    assert store.add([document]) == 0


def test_the_text_of_a_document_says_which_incident_it_joined(store: Store) -> None:
    store.add([seen("kdump", Boot()), seen("syslog", Boot())])
    assert {document["_id"] for document in store.documents()} == {
        seen("kdump", Boot()).id,
        seen("syslog", Boot()).id,
    }
