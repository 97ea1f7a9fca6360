"""Damage to the store's file: no readable document is lost, and the lost ones are reported.

``python -m tests.shipper.test_store_damage --stores 1000`` does it to that many stores, to half of them by
flipping a bit on a page, to the others by writing something into a column.
"""

# ruff: noqa: T201, S311, S608

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from kpanic.shipper.api import DeliveryStatus, Outcome
from kpanic.shipper.packed import Packed
from kpanic.shipper.store import Position, Store, StoreError
from kpanic.shipper.store.database import PAGE_SIZE
from kpanic.shipper.store.deliveries import DAMAGED_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENTS = 60
DELIVERED = 25
RETRIED = (3, 17)
REFUSED = 9


def document(number: int) -> Packed:
    name = f"v1-{number:032x}-kdump"
    filler = random.Random(number).randbytes(1500 * (1 + number % 7 * 2)).hex()
    body = (
        f'{{"_id":"{name}","@timestamp":"2026-01-01T00:00:00.000Z","event":{{"id":"incident{number}"}},'
        f'"kernel":{{"panic":{{"fatal":true,"title":"{filler}"}}}}}}'
    )
    return Packed(name, f"incident{number}", "2026-01-01T00:00:00.000Z", fatal=True, body=body.encode())


EVERYTHING = {document(number).id: document(number).body for number in range(DOCUMENTS)}
OWED = {document(number).id for number in (*range(DELIVERED, DOCUMENTS), *RETRIED)}
"""Documents that the output ``a`` must get: those after its cursor, and its retries."""


def make(path: Path) -> None:
    """Make a store of which one output has some documents and the other has none."""
    with Store(path) as store:
        for output in ("a", "b"):
            store.register_output(output)
        for start in range(0, DOCUMENTS, 10):
            made = [document(number) for number in range(start, start + 10)]
            store.add(
                made, [Position("1 kdump", f"file{start}", str(start)), Position("2 journal", "at", "x")]
            )
        batch = store.pending("a", DELIVERED)
        outcomes = []
        for number, stored in enumerate(batch):
            status = DeliveryStatus.DELIVERED
            if number in RETRIED:
                status = DeliveryStatus.RETRY
            elif number == REFUSED:
                status = DeliveryStatus.REJECTED
            outcomes.append(Outcome(stored.id, status, "why"))
        store.settle("a", batch, outcomes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "data" / "kpanic.db"
    make(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, whole: bytes) -> Path:
    """A store that a test damages."""
    copy = tmp_path / "data" / "kpanic.db"
    copy.parent.mkdir(mode=0o700)
    copy.write_bytes(whole)
    copy.chmod(0o600)
    return copy


class Found(NamedTuple):
    """The state of a damaged store."""

    outcome: str
    got: dict[str, bytes]
    """Documents that the output ``a`` was sent."""
    told: int
    """Number of documents that are reported as lost."""


def drain(path: Path) -> Found:
    """Open a store like the service, until it is not reported as damaged, and deliver to ``a``."""
    aside = lost = 0
    got: dict[str, bytes] = {}
    for _ in range(4):
        try:
            with Store(path) as store:
                if store.set_aside is not None:
                    assert store.salvaged is not None
                    aside += 1
                    lost += store.salvaged.lost
                for output in ("a", "b"):
                    store.register_output(output)
                store.status()
                store.refusals()
                assert set(store.positions("1 kdump").values()) <= {str(n) for n in range(DOCUMENTS)}
                while batch := store.pending("a", 7):
                    got |= {stored.id: stored.body for stored in batch}
                    store.settle("a", batch, [Outcome(one.id, DeliveryStatus.DELIVERED) for one in batch])
                assert len(list(store.documents(only=["@timestamp"]))) <= DOCUMENTS
                buried = [letter for letter in store.dead_letters("a") if letter.reason == DAMAGED_TEXT]
                outcome = "set aside" if aside else "one lost" if buried else "as before"
                return Found(outcome, got, lost + len(buried))
        except StoreError as error:
            last = error
    raise AssertionError(f"never whole again: {last}")


def flip_bit(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1 << bit]))


def flip(path: Path, chance: random.Random) -> str:
    """Flip a bit, in half of the cases in the header of a page; return its position."""
    size = path.stat().st_size
    page = chance.randrange(size // PAGE_SIZE)
    within = chance.randrange(160) if chance.random() < 0.5 else chance.randrange(PAGE_SIZE)
    bit = chance.randrange(8)
    flip_bit(path, page * PAGE_SIZE + within, bit)
    return f"byte {within} of page {page}, bit {bit}"


HOSTILE: Final = (
    None, "", b"", "x", b"\xff\xfe", 0, -1, 1 << 62, 1.5, 1e999, "9" * 400, "\0", "\x1b[2J\u202e", "2026",
)  # fmt: skip
"""Values that are wrong for some columns."""


def scribble(path: Path, chance: random.Random) -> str:
    """Write a value into a column of a row, ignoring the schema; return the place."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for _ in range(100):
        table = chance.choice(tables)
        columns = list(connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)))
        key = ", ".join(f'"{name}"' for name, pk in columns if pk) or "rowid"
        column, value = chance.choice(columns)[0], chance.choice(HOSTILE)
        (rows,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
        if not rows:
            continue
        row = chance.randrange(rows)
        chosen = f'SELECT {key} FROM "{table}" LIMIT 1 OFFSET ?'
        try:
            connection.execute(
                f'UPDATE "{table}" SET "{column}" = ? WHERE ({key}) IN ({chosen})', (value, row)
            )
        except sqlite3.IntegrityError:  # a check that no bit flip passes stops the statement too
            continue
        break
    connection.close()
    return f"{table}.{column} of row {row} = {value!r}"


def read(path: Path) -> None:
    """Read a damaged store like the commands: it is intact, or an error reports the damage."""
    try:
        with Store(path, readonly=True) as store:
            store.status()
            store.refusals()
            list(store.dead_letters())
            list(store.documents())
            list(store.crashes())
            store.newest_crashes(10)
            store.signatures()
            store.profiles()
    except StoreError as error:
        assert "is damaged" in str(error)  # noqa: PT017 - a reader need not detect all damage


def check(found: Found) -> None:
    """Check a damaged store against the guarantees."""
    for name, body in found.got.items():
        assert EVERYTHING[name] == body
    missing = OWED - set(found.got)
    assert len(missing) <= found.told, f"{len(missing)} lost in silence"
    assert len(missing) <= 1


@pytest.mark.parametrize("seed", [*range(30), 5723, 10349])
def test_one_flipped_bit_loses_one_document_at_most_and_says_so(path: Path, seed: int) -> None:
    flip(path, random.Random(seed))
    check(drain(path))


@pytest.mark.parametrize(("byte", "bit"), [(0, 2), (0, 3), (4, 1)], ids=["type", "inner page", "none left"])
def test_a_damaged_head_of_a_page_loses_none_of_its_documents(path: Path, byte: int, bit: int) -> None:
    data = path.read_bytes()
    heads = (data[place : place + 5] for place in range(0, len(data), PAGE_SIZE))
    last = max(number for number, head in enumerate(heads) if head == b"\x0d\0\0\0\x02")  # two texts
    flip_bit(path, last * PAGE_SIZE + byte, bit)
    found = drain(path)
    check(found)
    assert set(found.got) >= OWED


def changed(statement: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE documents SET id = CAST(x'ff' || id AS TEXT) WHERE seq = 30",
        "UPDATE documents SET occurred = x'80', incident = CAST(x'c3' AS TEXT), kept = 0 WHERE seq = 30",
        "UPDATE documents SET added = 'x', fatal = 'y', kept = x'00' WHERE seq = 30",
        "UPDATE outputs SET cursor = 40 WHERE name = 'a'",
        "UPDATE outputs SET cursor_copy = 'text', delivered = x'ff' WHERE name = 'a'",
        "UPDATE outputs SET trouble = CAST(x'ff80' AS TEXT), trouble_since = 'since', last_delivery = 'when'",
        "UPDATE outputs SET name = CAST(x'ff' AS TEXT) WHERE name = 'a'",
        "UPDATE outputs SET sending = 'x'",
        "UPDATE retries SET seq = 20 WHERE seq = 4",
        "UPDATE retries SET output = 'nobody', reason = CAST(x'ff' AS TEXT)",
        "UPDATE dead_letters SET reason = CAST(x'ff' AS TEXT), at = 'never', output = x'00'",
        "UPDATE positions SET value = CAST(x'ff' AS TEXT), key = x'ff' WHERE value = '20'",
        "UPDATE bodies SET seq = 1000 WHERE seq = 30",
        "UPDATE bodies SET body = 'text' WHERE seq = 30",
        "DELETE FROM documents WHERE seq = 30",
        "DELETE FROM documents WHERE seq = 60",
        "DELETE FROM bodies WHERE seq = 30",
        "DELETE FROM created",
        "UPDATE created SET at = 'x'",
        "UPDATE sqlite_sequence SET seq = 59",
        "UPDATE crashes SET at = x'' WHERE seq = 30",
        "UPDATE crashes SET at = 9e18, first = 'x', host = x'ff', profile = 1.5 WHERE seq = 30",
        "UPDATE incidents SET fatal = 9e999 WHERE first = 30",
        "PRAGMA user_version = 77",
        "PRAGMA user_version = 0",
        "PRAGMA application_id = 0",
        "UPDATE sqlite_schema SET sql = replace(sql, 'cursor ', 'cursed ') WHERE name = 'outputs'",
        "UPDATE sqlite_schema SET sql = CAST(x'ff80' AS TEXT) WHERE name = 'bodies'",
        "UPDATE sqlite_schema SET rootpage = 1 WHERE name = 'retries'",
    ],
)
def test_damage_to_any_column_loses_one_document_at_most_and_says_so(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(statement)
    connection.commit()
    connection.close()
    with Store(path.with_name("other.db")):
        pass
    read(path)
    check(drain(path))


@pytest.mark.parametrize("seed", range(12))
def test_any_value_in_a_column_loses_one_document_at_most_and_is_reported(path: Path, seed: int) -> None:
    scribble(path, random.Random(seed))
    read(path)
    check(drain(path))


def test_a_salvage_that_finds_no_room_leaves_everything_for_the_next_opening(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with path.open("r+b") as file:
        file.seek(PAGE_SIZE * 3)
        file.write(b"\xff" * PAGE_SIZE)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("kpanic.shipper.store.salvage._Salvage.copy", full)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"is damaged, and a new one cannot be started: .* is full"):
                Store(path)
    assert path.read_bytes() == before
    with Store(path) as store:
        assert store.set_aside is not None
        assert store.set_aside.read_bytes() == before
        assert store.salvaged is not None
        assert store.salvaged.documents + store.salvaged.lost >= DOCUMENTS - 10


def main() -> None:
    """Damage many stores, and count the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole" / "kpanic.db"
        make(whole)
        body = whole.read_bytes()
        for seed in range(options.seed, options.seed + options.stores):
            path = Path(folder) / str(seed) / "kpanic.db"
            path.parent.mkdir(mode=0o700)
            path.write_bytes(body)
            at = (flip, scribble)[seed % 2](path, random.Random(seed))
            try:
                read(path)
                found = drain(path)
                check(found)
                outcomes[f"{found.outcome}, {len(OWED - set(found.got))} missing"] += 1
            except Exception as error:  # noqa: BLE001 - counted
                outcomes["broken"] += 1
                print(f"seed {seed}: {at}: {error!r}", flush=True)
            shutil.rmtree(path.parent)
    print(dict(outcomes))


if __name__ == "__main__":
    main()
