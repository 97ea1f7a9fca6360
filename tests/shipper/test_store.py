from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kpanic.shipper.api import DeliveryStatus, Outcome, Stored
from kpanic.shipper.store import Position, Store, StoreDamaged, StoreError, StoreInUse
from tests.engines import parts
from tests.shipper.samples import packed
from tests.waiting import stays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.packed import Packed


def outcomes(batch: list[Stored], verdict: DeliveryStatus, reason: str = "") -> list[Outcome]:
    return [Outcome(stored.id, verdict, reason) for stored in batch]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "kpanic.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def test_a_document_comes_back_as_it_went_in(store: Store) -> None:
    assert store.add([packed(1), packed(2)]) == 2
    store.register_output("a")
    assert [stored.body for stored in store.pending("a", 10)] == [packed(1).body, packed(2).body]
    assert [document["number"] for document in store.documents()] == [2, 1]


def test_the_ledger_takes_each_document_once(store: Store) -> None:
    assert store.add([packed(1), packed(1)]) == 1
    assert store.add([packed(1), packed(2)]) == 1
    assert store.known_ids(["id1", "id2", "id3"]) == {"id1", "id2"}


def test_nothing_leaves_before_its_output_has_it(store: Store) -> None:
    store.add([packed(n) for n in range(5)])
    store.register_output("a")
    for _ in range(3):
        assert len(store.pending("a", 3)) == 3
    batch = store.pending("a", 3)
    store.settle("a", batch, outcomes(batch, DeliveryStatus.DELIVERED))
    assert [stored.id for stored in store.pending("a", 9)] == ["id3", "id4"]


def test_a_document_without_a_body_is_listed_as_delivered(store: Store) -> None:
    for name in ("a", "other"):
        store.register_output(name)
    bare = [packed(n)._replace(body=b"") for n in range(6)]
    assert store.add(bare[:3], [], ["a"]) == 3
    assert store.add([packed(1), packed(9)]) == 1
    assert store.add(bare[3:], [], ["a"]) == 3
    assert [(one.delivered, one.pending) for one in store.outputs()] == [(6, 1), (0, 1)]
    (stored,) = batch = store.pending("a", 10)
    assert stored.id == "id9"
    store.settle("a", batch, outcomes(batch, DeliveryStatus.DELIVERED))
    assert not store.has_pending("a")
    assert [(one.delivered, one.pending) for one in store.outputs()] == [(7, 0), (0, 1)]
    assert (store.status().documents, store.status().kept) == (7, 1)


def test_outputs_do_not_know_of_each_other_and_a_new_one_gets_everything(store: Store) -> None:
    store.register_output("a")
    store.add([packed(1)])
    batch = store.pending("a", 9)
    store.settle("a", batch, outcomes(batch, DeliveryStatus.DELIVERED))
    store.register_output("b")
    assert store.pending("a", 9) == []
    assert [stored.id for stored in store.pending("b", 9)] == ["id1"]


def test_outputs_read_side_by_side(store: Store) -> None:
    documents = [packed(n)._replace(body=os.urandom(20_000).hex().encode()) for n in range(64)]
    store.add(documents)
    outputs = [f"output {n}" for n in range(4)]
    for output in outputs:
        store.register_output(output)
    expected = [document.body for document in documents]
    with ThreadPoolExecutor(len(outputs)) as pool:
        for _ in range(25):
            for read in pool.map(lambda output: store.pending(output, 64), outputs):
                assert [stored.body for stored in read] == expected


def test_a_document_without_an_outcome_is_tried_again_before_the_rest(store: Store) -> None:
    store.add([packed(n) for n in range(4)])
    store.register_output("a")
    batch = store.pending("a", 3)
    store.settle(
        "a",
        batch,
        [
            Outcome("id0", DeliveryStatus.DELIVERED),
            Outcome("id2", DeliveryStatus.RETRY, "429: too many requests"),
        ],
    )
    assert [stored.id for stored in store.pending("a", 9)] == ["id1", "id2", "id3"]
    assert [stored.id for stored in store.pending("a", 1)] == ["id1"]


def test_held_and_new_documents_do_not_delay_each_other(store: Store) -> None:
    store.add([packed(n) for n in range(8)])
    store.register_output("a")
    store.settle("a", store.pending("a", 4), [])
    held, new = [f"id{n}" for n in range(4)], [f"id{n}" for n in range(4, 8)]
    first = store.pending("a", 4)
    assert [stored.id for stored in first] == [*held[:2], *new[:2]]
    assert [stored.id for stored in store.pending("a", 9)] == held + new
    assert [stored.id for stored in store.pending("a", 7)] == held + new[:3]
    store.settle("a", first, [Outcome(name, DeliveryStatus.DELIVERED) for name in new[:2]])
    assert [stored.id for stored in store.pending("a", 4)] == [*held[2:], *new[2:]]
    store.settle("a", store.pending("a", 4), [Outcome(name, DeliveryStatus.DELIVERED) for name in new[2:]])
    assert [stored.id for stored in store.pending("a", 3)] == held[:3]


@pytest.mark.parametrize("held", [0, 2, 5])
def test_a_batch_that_was_sent_and_not_settled_is_the_same_again(store: Store, held: int) -> None:
    store.register_output("a")
    store.add([packed(n) for n in range(held)])
    if held:
        store.settle("a", store.pending("a", held), [])
    assert store.unsettled_until("a") is None
    store.add([packed(n) for n in range(held, 7)])
    batch = store.pending("a", 8)[:7]
    store.note_sending("a", batch)
    store.add([packed(n) for n in range(7, 20)])
    assert store.pending("a", 8, store.unsettled_until("a")) == batch
    store.settle("a", batch, [])
    assert store.unsettled_until("a") is None


def test_refused_documents_are_kept_with_the_reason_and_can_be_replayed(store: Store) -> None:
    store.add([packed(1), packed(2)])
    store.register_output("a")
    batch = store.pending("a", 9)
    store.settle(
        "a",
        batch,
        [Outcome("id1", DeliveryStatus.REJECTED, "mapping"), Outcome("id2", DeliveryStatus.DELIVERED)],
    )
    assert [(dead.output, dead.id, dead.reason) for dead in store.dead_letters()] == [("a", "id1", "mapping")]
    assert store.pending("a", 9) == []
    assert store.replay("b") == 0
    assert store.replay("a") == 1
    assert [stored.id for stored in store.pending("a", 9)] == ["id1"]
    assert list(store.dead_letters()) == []


def test_replay_of_everything_starts_at_the_beginning(store: Store) -> None:
    store.add([packed(n) for n in range(3)])
    store.register_output("a")
    batch = store.pending("a", 9)
    store.settle("a", batch, outcomes(batch, DeliveryStatus.DELIVERED))
    assert store.replay("a", everything=True) == 3
    assert len(store.pending("a", 9)) == 3
    store.settle("a", batch, outcomes(batch, DeliveryStatus.DELIVERED))
    assert store.outputs()[0].delivered == 3


def test_an_empty_store_replays_nothing(store: Store) -> None:
    store.register_output("a")
    assert store.replay(everything=True) == 0


def test_status_counts_incidents_and_what_each_output_lacks(store: Store) -> None:
    store.add([packed(0), packed(1), packed(2, fatal=False), packed(4)])
    store.register_output("a")
    batch = store.pending("a", 2)
    store.settle(
        "a", batch, [Outcome("id0", DeliveryStatus.DELIVERED), Outcome("id1", DeliveryStatus.REJECTED, "no")]
    )
    store.note_trouble("a", "refused")
    status = store.status()
    assert (status.documents, status.kept, status.incidents, status.fatal) == (4, 4, 3, 2)
    (output,) = status.outputs
    assert (output.delivered, output.pending, output.dead, output.trouble) == (1, 2, 1, "refused")
    store.note_trouble("a", "")
    assert store.status().outputs[0].trouble_since is None


def test_age_takes_only_what_every_output_has_and_the_ledger_remembers_it(store: Store) -> None:
    store.add([packed(n) for n in range(4)])
    for name in ("a", "b"):
        store.register_output(name)
    everything = store.pending("a", 9)
    store.settle("a", everything, outcomes(everything, DeliveryStatus.DELIVERED))
    store.settle(
        "b",
        everything[:3],
        [
            Outcome("id0", DeliveryStatus.DELIVERED),
            Outcome("id1", DeliveryStatus.REJECTED, "x"),
            Outcome("id2", DeliveryStatus.RETRY),
        ],
    )
    assert store.expire(["a", "b"], before=time.time() - 60) == (0, 0)
    assert store.expire(["a", "b"], before=time.time() + 60) == (1, 0)
    assert [document["number"] for document in store.documents()] == [3, 2, 1]
    assert store.add([packed(0)]) == 0
    assert [stored.id for stored in store.pending("b", 9)] == ["id2", "id3"]
    assert (store.status().documents, store.status().kept) == (4, 3)


def test_size_takes_the_oldest_delivered_first_and_tells_what_was_not(store: Store) -> None:
    store.add([noise(n) for n in range(1200)])
    store.register_output("a")
    batch = store.pending("a", 600)
    store.settle("a", batch, outcomes(batch, DeliveryStatus.DELIVERED))
    full = store.status().bytes
    assert store.expire(["a"], size=10**9) == (0, 0)
    first = store.expire(["a"], size=full * 3 // 4)
    assert 0 < first.delivered < 600
    assert first.undelivered == 0
    second = store.expire(["a"], size=full // 3)
    assert first.delivered + second.delivered == 600
    assert store.pending("a", 1)[0].seq == 601 + second.undelivered > 601


def noise(number: int) -> Packed:
    body = json.dumps({"x": random.Random(number).randbytes(2000).hex()}).encode()  # noqa: S311
    return packed(number)._replace(body=body)


def test_positions_are_kept_with_the_documents_or_not_at_all(store: Store) -> None:
    store.add([packed(1)], [Position("kdump", "a", "1"), Position("kdump", "b", "1")])
    store.add([], [Position("kdump", "b", None)])
    assert store.positions("kdump") == {"a": "1"}

    def failing() -> Iterator[Packed]:
        yield packed(2)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.add(failing(), [Position("kdump", "a", "2")])
    assert store.positions("kdump") == {"a": "1"}
    assert store.known_ids(["id2"]) == set()


@pytest.mark.process
def test_a_second_process_learns_which_one_writes(store: Store, path: Path) -> None:
    script = f"from kpanic.shipper.store import Store; Store({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"process {os.getpid()} is writing to this store" in done.stderr
    store.close()
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_within_a_process_too_there_is_one_writer_and_readers_as_they_like(store: Store, path: Path) -> None:
    with pytest.raises(StoreInUse):
        Store(path)
    store.add([packed(1)])
    with Store(path, readonly=True) as reader:
        assert reader.status().documents == 1
        with pytest.raises(StoreError):
            reader.add([packed(2)])


def test_reading_what_is_not_there_says_how_to_start(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store yet; 'kpanic ship' starts one"):
        Store(path, readonly=True)


def test_a_user_with_read_access_can_read(path: Path) -> None:
    with Store(path) as store:
        store.add([packed(1)])
    folders = [path.parent, *path.parents[1:5]]
    modes = [folder.stat().st_mode for folder in folders]
    user = os.geteuid()
    for folder in folders:
        folder.chmod(0o555)
    if user == 0:  # root may write everywhere
        path.chmod(0o444)
        os.seteuid(65534)
    try:
        with Store(path, readonly=True) as store:
            assert store.status().documents == 1
    finally:
        os.seteuid(user)
        for folder, mode in zip(folders, modes, strict=True):
            folder.chmod(mode)


@pytest.mark.parametrize("where", [0, 50_000])
def test_a_damaged_file_is_set_aside_and_a_new_one_started(path: Path, where: int) -> None:
    with Store(path) as store:
        store.add([packed(n) for n in range(500)])
    lock = path.with_name("kpanic.db.lock")
    lock.write_text("4242\n")  # the last writer did not close it
    with path.open("r+b") as file:
        file.seek(where)
        file.write(random.Random(1).randbytes(20_000))  # noqa: S311 - not for secrets
    with Store(path) as store:
        assert store.set_aside is not None
        assert store.set_aside.stat().st_size > 50_000
        assert store.add([packed(1000)]) == 1
    with Store(path) as store:
        assert store.set_aside is None


def test_damage_that_shows_later_is_reported(store: Store, path: Path) -> None:
    store.add([packed(n) for n in range(500)])
    store.close()
    opened = Store(path)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 400_000)
    with pytest.raises(StoreDamaged, match="run again: it is set aside then"):
        list(opened.documents())
    opened.close()
    with Store(path) as again:
        assert again.set_aside is not None


def test_one_damaged_text_costs_that_document_and_no_other(store: Store, path: Path) -> None:
    store.add([packed(n) for n in range(9)])
    for output in ("a", "b"):
        store.register_output(output)
    store.close()
    with sqlite3.connect(path) as connection:
        (body,) = connection.execute("SELECT body FROM bodies WHERE seq = 5").fetchone()
        flipped = bytes([*body[:-8], body[-8] ^ 1, *body[-7:]])
        for seq, damage in ((1, b"\0"), (5, flipped), (9, b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8)):
            connection.execute("UPDATE bodies SET body = ? WHERE seq = ?", (damage, seq))
    connection.close()
    said: list[str] = []
    with Store(path, warn=said.append) as again:
        assert len(list(again.documents())) == 6
        assert [seq for seq, _ in again.documents_by_seq(range(1, 10))] == [2, 3, 4, 6, 7, 8]
        while batch := again.pending("a", 2):
            again.settle("a", batch, outcomes(batch, DeliveryStatus.DELIVERED))
        (a, b) = again.outputs()
        assert (a.delivered, a.pending, a.dead) == (6, 0, 3)
        assert (b.delivered, b.pending, b.dead) == (0, 9, 0)
        assert {letter.reason for letter in again.dead_letters()} == {"its text is damaged in the store"}
    assert said == [f"{path}: the text of a document is damaged and left out, of others perhaps too"]


def test_a_store_knows_since_when_it_is(store: Store, path: Path) -> None:
    begun = store.created()
    assert 0 <= time.time() - begun < 600
    store.close()
    with Store(path) as again:
        assert again.created() == begun


def test_a_store_made_with_a_clock_ten_years_ahead_counts_as_made_now(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created, now = store.created(), time.time()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE created SET at = at + 315576000")
    connection.close()
    assert now <= store.created() <= time.time()
    assert created <= now
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert store.created() < now + 1000


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.executescript("ALTER TABLE documents ADD COLUMN later; PRAGMA user_version = 99")
    connection.close()
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"is of a newer kpanic \(schema 99\); update this one"):
            Store(path, readonly=readonly)
    assert path.exists()


@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_of_somebody_else_is_left_alone(path: Path, *, readonly: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"is not kpanic's; set path\.data to a folder of your own"):
        Store(path, readonly=readonly)
    assert path.read_bytes() == before


def test_a_file_that_lacks_a_part_is_damaged(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE dead_letters")
    connection.close()
    told = r"its tables are not as they were made\); the next 'kpanic ship' sets it aside"
    with pytest.raises(StoreDamaged, match=told):
        Store(path, readonly=True)
    with Store(path) as store:
        assert store.set_aside is not None


def test_reading_does_not_create_a_store(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(StoreError, match="there is no store yet"):
        Store(path, readonly=True)
    path.write_bytes(b"no database at all, but more than a header's hundred bytes of text" * 3)
    with pytest.raises(StoreDamaged, match="sets it aside"):
        Store(path, readonly=True)


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"set path\.data to a folder of your own"):
        Store(tmp_path / "file" / "kpanic.db")

    with pytest.raises(StoreError, match=r"set path\.data to a folder of your own"):
        Store(tmp_path / "a\0b" / "kpanic.db")


WRITER = """
import sys
from kpanic.shipper.store import Position, Store
sys.path.insert(0, {here!r})
from tests.engines import parts
from tests.shipper.samples import packed
with Store({path!r}) as store:
    start = int(store.positions("test").get("next", 0))
    for number in range(start, 10**9, 7):
        store.add([packed(n) for n in range(number, number + 7)], [Position("test", "next", str(number + 7))])
        print(number + 7, flush=True)
"""


@pytest.mark.process
def test_kill_9_while_writing_loses_nothing_that_was_acknowledged(path: Path) -> None:
    here = str(Path(__file__).parent.parent.parent)
    chance = random.Random(7)  # noqa: S311
    for _ in range(8):
        script = WRITER.format(here=here, path=str(path))
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=here
        ) as writer:
            assert writer.stdout
            told = int(writer.stdout.readline())
            stays(lambda: writer.poll() is None, chance.uniform(0, 0.05))
            os.kill(writer.pid, signal.SIGKILL)
            told = max([told, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        with Store(path) as store:
            assert store.set_aside is None
            position = int(store.positions("test")["next"])
            assert position >= told
            assert store.status().documents == position
            assert store.known_ids([f"id{n}" for n in range(position)]) == {f"id{n}" for n in range(position)}


@pytest.mark.slow
def test_status_looks_at_few_pages_of_many_documents(tmp_path: Path) -> None:
    with Store(tmp_path / "kpanic.db") as store:
        store.register_output("a")
        for start in range(0, 20_000, 2_000):
            store.add([packed(n) for n in range(start, start + 2_000)])

    def seconds() -> float:
        began = time.process_time()  # CPU time, since other processes may be running
        with Store(tmp_path / "kpanic.db", readonly=True) as store:
            assert store.status().outputs[0].pending == 20_000
        return time.process_time() - began

    assert any(seconds() < 0.1 for _ in range(20))


def test_refusals_are_counted_by_what_an_engine_says_before_it_quotes_the_document(store: Store) -> None:
    store.add([packed(n) for n in range(5)])
    store.register_output("a")
    batch = store.pending("a", 9)
    words = (
        "400: mapper_parsing_exception: failed to parse field [kernel.panic.cpu] of type [long] in document"
    )
    reasons = [f"{words} with id '{stored.id}'" for stored in batch[:4]] + ["413: too large"]
    store.settle(
        "a",
        batch,
        [Outcome(one.id, DeliveryStatus.REJECTED, why) for one, why in zip(batch, reasons, strict=True)],
    )
    assert store.refusals() == [("a", f"{words} with id 'id0'", 4), ("a", "413: too large", 1)]


class Ledger(RuleBasedStateMachine):
    """For any order of operations, each output gets each document once, or it is refused or pending."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile  # noqa: PLC0415

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "kpanic.db"
        self.store = Store(self.path)
        self.added: set[str] = set()
        self.got: dict[str, list[str]] = {"a": [], "b": []}
        self.dead: dict[str, set[str]] = {"a": set(), "b": set()}
        for name in self.got:
            self.store.register_output(name)

    @rule(numbers=st.lists(st.integers(0, 30), max_size=8))
    def add(self, numbers: list[int]) -> None:
        new = {f"id{number}" for number in numbers} - self.added
        assert self.store.add([packed(number) for number in numbers]) == len(new)
        self.added |= new

    @rule(
        name=st.sampled_from("ab"),
        limit=st.integers(1, 5),
        verdicts=st.lists(st.sampled_from([*DeliveryStatus, None]), min_size=5, max_size=5),
    )
    def deliver(self, name: str, limit: int, verdicts: list[DeliveryStatus | None]) -> None:
        batch = self.store.pending(name, limit)
        pairs = list(zip(batch, verdicts, strict=False))
        self.store.settle(name, batch, [Outcome(s.id, v, "why") for s, v in pairs if v is not None])
        self.got[name] += [stored.id for stored, verdict in pairs if verdict is DeliveryStatus.DELIVERED]
        self.dead[name] |= {stored.id for stored, verdict in pairs if verdict is DeliveryStatus.REJECTED}

    @rule(name=st.sampled_from("ab"))
    def replay(self, name: str) -> None:
        assert self.store.replay(name) == len(self.dead[name])
        self.dead[name] = set()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store(self.path)

    @invariant()
    def each_document_is_in_one_place(self) -> None:
        for name, got in self.got.items():
            waiting = [stored.id for stored in self.store.pending(name, 1000)]
            everywhere = [*got, *waiting, *self.dead[name]]
            assert len(everywhere) == len(set(everywhere))
            assert set(everywhere) == self.added

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


Ledger.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestLedger = Ledger.TestCase


FULL = """
import os, sys
sys.path.insert(0, {here!r})
from kpanic.shipper.api import DeliveryStatus, Outcome
from kpanic.shipper.store import Store, StoreError
from tests.engines import parts
from tests.shipper.samples import packed

def fill(store, number):
    try:
        while True:
            store.add([packed(n)._replace(body=os.urandom(3000)) for n in range(number, number + 5)])
            number += 5
    except StoreError as error:
        print(error)
        return number

with Store({path!r}) as store:
    store.register_output("a")
    kept = fill(store, 0)
    assert 100 < kept == store.status().documents == len(list(store.pending("a", 9999)))
    while batch := store.pending("a", 50):
        store.settle("a", batch, [Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in batch])
    assert store.expire(["a"], size=500_000).undelivered == 0
    assert store.add([packed(10**6)]) == 1
    os.system("mount -o remount,size=4m {folder}")
    fill(store, 10**7)
    assert fill(store, 10**8) > 10**8 + 50
"""


@pytest.mark.root
def test_a_full_disk_is_reported_loses_nothing_and_the_store_grows_with_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    script = FULL.format(
        here=str(Path(__file__).parent.parent.parent), path=str(folder / "kpanic.db"), folder=folder
    )
    mount = f"mount -t tmpfs -o size=2m,mode=700 tmpfs {folder}"
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, mount], check=False, capture_output=True).returncode:
        parts.missing("a small disk", "this user may not mount one")
    done = subprocess.run(
        [*alone, f'{mount} && exec "$0" -c "$1"', sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "database or disk is full; nothing that was kept is lost" in done.stdout
