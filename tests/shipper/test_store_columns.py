"""The store's columns, which lists and reports use without reading texts."""

from __future__ import annotations

import fnmatch
import hashlib
import random
import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from kpanic.dashboards import REPORTED, SUMMARISED
from kpanic.shipper.api import DeliveryStatus, Outcome
from kpanic.shipper.columns import PROFILE, columns, nested
from kpanic.shipper.fields import get
from kpanic.shipper.packed import encode, pack
from kpanic.shipper.store import Crash, Selection, Store, StoreError
from kpanic.shipper.store.columns import restored
from kpanic.shipper.store.schema import APPLICATION_ID, MIGRATIONS
from tests.benchmarks import crashes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kpanic.shipper.packed import Packed

KERNELS = ("6.1.0-50-amd64", "6.1.0-56-amd64", "6.12.1")
CAUSES = ("null_pointer", "sysrq", "watchdog", "oom")


def document(number: int) -> dict[str, Any]:
    """Return a document; incidents with an even number arrive by two transports."""
    chance = random.Random(number // 3)  # noqa: S311
    incident, provider = number // 3 * 2 + number % 3 // 2, ("kdump", "netconsole", "kdump")[number % 3]
    moment = f"2026-0{chance.randrange(1, 10)}-{chance.randrange(10, 28)}T00:{number % 3:02}:00.000Z"
    cause = CAUSES[chance.randrange(len(CAUSES))]
    return {
        "_id": f"id{number}",
        "@timestamp": moment,
        "event": {
            "id": f"incident{incident}",
            "provider": provider,
            "reason": f"Unable to handle page fault for address: ffff{number:012x}",
            "original": f"the text of {number}",
        },
        "host": {"name": f"host{chance.randrange(5)}", "os": {"kernel": KERNELS[chance.randrange(3)]}},
        "kernel": {
            "panic": {
                "cause": cause,
                "fatal": cause != "oom",
                "title": f"BUG: {cause}",
                "signature": {"id": f"v1-{cause}"},
                "taint": {"flags": ["O", "E"] if number % 2 else []},
            }
        },
        "process": {"name": "[kworker/0:1]"},
    }


DOCUMENTS = [document(number) for number in range(120)]
NEWEST = sorted(DOCUMENTS, key=lambda one: (one["@timestamp"], int(one["_id"][2:])), reverse=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "kpanic.db"


def rows_of(store: Store) -> list[Crash]:
    return [Crash._make(row) for rows in store.crashes() for row in rows]


def made(path: Path) -> Store:
    store = Store(path)
    store.add(map(pack, DOCUMENTS))
    return store


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that tests only read."""
    with made(tmp_path_factory.mktemp("kept") / "data" / "kpanic.db") as store:
        yield store


def everything(store: Store) -> list[tuple[Any, ...]]:
    """Return the contents of the columns."""
    profiles = store.profiles()
    return [
        (row.at, row.host, profiles[row.profile], *store.incident_ids([row.incident]), row.seq)
        for row in rows_of(store)
    ]


def test_the_columns_are_the_fields_that_reports_ask_for() -> None:
    own = {"@timestamp", "event.id", "host.name"}
    triage = {name for name in REPORTED if name.startswith("kernel.panic.triage.")}  # added on reading
    assert {*REPORTED, *SUMMARISED} - own - triage <= set(PROFILE)


def test_a_profile_says_what_the_document_says() -> None:
    for one in DOCUMENTS:
        again = nested(columns(one).profile)
        for name in PROFILE:
            said = get(one, name)
            if name == "event.reason":
                said = "Unable to handle page fault for address: …"
            assert get(again, name) == (said or None if said != False else said)  # noqa: E712 - not 0


def test_documents_alike_share_a_profile_whatever_their_addresses(path: Path) -> None:
    with made(path) as store:
        assert len(store.profiles()) < len(DOCUMENTS) / 2
        assert sum(map(len, store.crashes())) == len(DOCUMENTS)


def test_rows_of_an_incident_stand_together_the_oldest_incident_first(path: Path) -> None:
    with made(path) as store:
        rows = rows_of(store)
        assert [row for some in store.crashes(skip=50) for row in some] == rows[50:]
    order = list(dict.fromkeys(row.incident for row in rows))
    assert [row.incident for row in rows] == sorted((row.incident for row in rows), key=order.index)
    begins = [next(row.at for row in rows if row.incident == one) for one in order]
    assert begins == sorted(begins)
    assert len(order) == len({one["event"]["id"] for one in DOCUMENTS})


@pytest.fixture(params=[3, 1000])
def recent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of recent rows that a selection searches first: a few, or all."""
    monkeypatch.setattr("kpanic.shipper.store.crashes.RECENT", request.param)


@pytest.mark.usefixtures("recent")
@pytest.mark.parametrize("host", ["", "host3", "*[!3]", "no*"])
@pytest.mark.parametrize("within", [(None, None), ("2026-03-01", None), ("2026-02-01", "2026-06-01")])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host.os.kernel": KERNELS[0]},
        {"kernel.panic.fatal": False},
        {"kernel.panic.cause": "sysrq", "host.os.kernel": "6.1.*"},
        {"kernel.panic.signature.id": "v1-no"},
    ],
    ids=str,
)
def test_the_newest_crashes_are_those_that_a_look_at_every_document_finds(
    kept: Store,
    host: str,
    within: tuple[str | None, str | None],
    fields: dict[str, str | bool],
) -> None:
    since, until = within
    found: dict[str, str] = {}
    for one in NEWEST:
        if (
            fnmatch.fnmatch(one["host"]["name"], host or "*")
            and (since is None or one["@timestamp"] >= since)
            and (until is None or one["@timestamp"] < until)
            and all(fnmatch.fnmatch(str(get(one, name)), str(value)) for name, value in fields.items())
        ):
            found.setdefault(one["event"]["id"], one["_id"])
    from_, to = (None if day is None else columns({"@timestamp": day}).at for day in within)
    only = Selection(host, from_, to, fields)
    rows = kept.newest_crashes(7, only)
    assert kept.count_incidents(only) == len(found)
    assert list(dict.fromkeys(row.incident for row in kept.each_crash(only)))[:7] == [
        row.incident for row in rows
    ]
    for row in rows:
        assert row in kept.crashes_of(row.incident)
    ids = [one["_id"] for _, one in kept.documents_by_seq(row.seq for row in rows)]
    assert ids == list(found.values())[:7]


def test_a_field_without_a_column_is_refused(path: Path) -> None:
    with made(path) as store, pytest.raises(ValueError, match=r"no column: kernel\.panic\.cpu"):
        store.newest_crashes(1, Selection(fields={"kernel.panic.cpu": "0"}))


def test_signatures_are_counted_by_incident(path: Path) -> None:
    with made(path) as store:
        for found in store.signatures():
            mine = [one for one in DOCUMENTS if one["kernel"]["panic"]["signature"]["id"] == found.id]
            assert found.incidents == len({one["event"]["id"] for one in mine})
            assert found.hosts == len({one["host"]["name"] for one in mine})
            assert found.last == max(columns(one).at for one in mine)
            by_kernel = store.incidents_by("host.os.kernel", found.id)
            assert sum(by_kernel.values()) == found.incidents
            seen = mine[0]["event"]["id"]
            assert store.seen(found.id, seen)[0] == found.incidents - 1
        assert store.seen("v1-unknown", "incident1") == (0, None)


def test_expired_documents_leave_no_columns(path: Path) -> None:
    with made(path) as store:
        store.register_output("a")
        batch = store.pending("a", 60)
        store.settle("a", batch, [Outcome(one.id, DeliveryStatus.DELIVERED) for one in batch])
        incidents = store.status().incidents
        assert store.expire(["a"], before=4e9).delivered == 60
        rows = everything(store)
        assert [row[-1] for row in sorted(rows, key=lambda row: row[-1])] == list(range(61, 121))
        assert {row.profile for row in rows_of(store)} == set(store.profiles())
        assert store.status().incidents == incidents
        while batch := store.pending("a", 60):
            store.settle("a", batch, [Outcome(one.id, DeliveryStatus.DELIVERED) for one in batch])
        store.expire(["a"], before=4e9)
        assert store.profiles() == {}
        status = store.status()
        assert (status.kept, status.documents, status.first) == (0, 120, None)


def former(path: Path, documents: list[Packed]) -> None:
    """Write a store of the first schema."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.executescript(MIGRATIONS[0])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        compress = zstandard.ZstdCompressor(level=3, write_checksum=True).compress
        for seq, one in enumerate(documents, 1):
            connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?, 1.8e9, ?, 1)",
                (seq, one.id, one.incident, one.occurred, one.fatal),
            )
            connection.execute("INSERT INTO bodies VALUES (?, ?)", (seq, compress(one.body)))
    connection.close()


def test_a_store_of_the_first_schema_is_brought_up_to_date(path: Path) -> None:
    former(path, list(map(pack, DOCUMENTS)))
    with pytest.raises(StoreError, match=r"is of an older kpanic \(schema 1\); the next 'kpanic ship'"):
        Store(path, readonly=True)
    with made(path.with_name("new.db")) as new, Store(path) as old:
        assert everything(old) == everything(new)
        assert (
            list(old.documents())
            == list(new.documents())
            == sorted(DOCUMENTS, key=lambda one: (one["@timestamp"], int(one["_id"][2:])), reverse=True)
        )
        statuses = [store.status() for store in (old, new)]
        assert statuses[0].incidents == statuses[1].incidents == 80
        assert statuses[0].fatal == statuses[1].fatal
        assert old.add(map(pack, DOCUMENTS)) == 0
    with Store(path, readonly=True) as store:
        assert len(everything(store)) == len(DOCUMENTS)


def test_a_migration_that_is_cut_short_leaves_the_store_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former(path, list(map(pack, DOCUMENTS)))

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("kpanic.shipper.store.columns.note", full)
        with pytest.raises(StoreError, match="database or disk is full"):
            Store(path)
    with Store(path) as store:
        assert store.set_aside is None
        assert len(everything(store)) == len(DOCUMENTS)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE profiles SET \"kernel.panic.title\" = 'another'",
        "UPDATE profiles SET \"host.os.kernel\" = x'ff'",
        "UPDATE profiles SET profile = profile + 1",
        "DELETE FROM profiles",
    ],
)
def test_damaged_profiles_are_restored_from_the_texts(path: Path, statement: str) -> None:
    with made(path) as store:
        whole = everything(store)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    if statement.startswith('UPDATE profiles SET "'):
        with Store(path, readonly=True) as reader:
            assert everything(reader) == whole
    with Store(path) as store:
        assert store.set_aside is None
        assert everything(store) == whole


def test_a_profile_that_no_text_tells_is_empty(path: Path) -> None:
    with made(path) as store, store._reading() as connection:  # noqa: SLF001
        assert set(restored(connection, 12)) == {None}


def test_a_salvaged_store_has_the_same_columns(path: Path) -> None:
    with made(path) as store:
        whole = everything(store)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE crashes")
    connection.close()
    with Store(path) as store:
        assert store.set_aside is not None
        assert everything(store) == whole
        assert store.status().incidents == 80


def test_the_dictionary_of_a_release_stays_as_it_is() -> None:
    """A text that was compressed with it can be read with no other dictionary."""
    content = (files("kpanic.shipper.store") / "texts-1.zdict").read_bytes()
    assert hashlib.sha256(content).hexdigest() == DIGEST
    assert zstandard.ZstdCompressionDict(content).dict_id() == 1


DIGEST = "8cb8352f8f8fe29d050a337a61d0f4dfec0a2b2dc2b31161831349203512b1bf"


def test_an_incident_takes_three_kilobytes_at_most(path: Path) -> None:
    """Addresses, hosts and times differ between crashes; a tenth of them arrives twice."""
    with Store(path) as store:
        store.add(crashes.packed(600))
    assert path.stat().st_size / 600 <= 3000


def test_texts_come_back_as_they_went_in(path: Path) -> None:
    bodies = [encode(one) for one in DOCUMENTS]
    with made(path) as store:
        assert [stored.body for stored in store.pending("nobody yet", 1)] == []
        store.register_output("a")
        assert [stored.body for stored in store.pending("a", 200)] == bodies
