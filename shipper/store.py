"""The store: one SQLite file that is spool, ledger, dead-letter box and the data of the local dashboard.

Every document that was ever added has a row in ``documents``: that is the ledger, by ``_id``. Its JSON lies
beside it in ``bodies`` (zstd). An output has a cursor: everything up to it is settled, save what ``retries``
lists; what a receiver will never take is in ``dead`` with its reason. A new output starts at the beginning.

Durable means ``synchronous=FULL`` on a write-ahead log: what :meth:`Store.add` and :meth:`Store.settle`
have returned from survives a power cut. One process writes (a lock beside the file says which); any number
may read meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import sqlite3
import threading
import time
from array import array
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self, TypedDict

import msgspec

from kpanic.shipper.api import DeliveryStatus, Stored
from kpanic.shipper.terminal import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.shipper.api import Outcome
    from kpanic.shipper.document import Packed

__all__ = [
    "Dead",
    "Expired",
    "OutputStatus",
    "Position",
    "Refusal",
    "Status",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInUse",
]

FILE_NAME = "kpanic.db"
PAGE_SIZE = 8192  # a document fits a page or two once it is compressed
ZSTD_LEVEL = 3
MOST = (1 << 63) - 1
"""SQLite's largest integer."""
LARGEST = 1 << 28
"""Bytes of a text; what says that it is larger is damaged."""
DAMAGED = "its text is damaged in the store"
WAL_PAGES = 512
"""Pages of the write-ahead log between two checkpoints, fewer where the disk is small."""

_MIGRATIONS = (
    """
    CREATE TABLE documents (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        incident TEXT NOT NULL,
        occurred TEXT NOT NULL,
        added REAL NOT NULL,
        fatal INTEGER NOT NULL,
        kept INTEGER NOT NULL DEFAULT 1
    );
    CREATE INDEX documents_incident ON documents (incident, fatal);
    CREATE TABLE bodies (seq INTEGER PRIMARY KEY REFERENCES documents (seq), body BLOB NOT NULL);
    CREATE TABLE outputs (
        name TEXT PRIMARY KEY,
        cursor INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0,
        last_delivery REAL,
        trouble TEXT NOT NULL DEFAULT '',
        trouble_since REAL
    );
    CREATE TABLE retries (
        output TEXT NOT NULL REFERENCES outputs (name),
        seq INTEGER NOT NULL REFERENCES documents (seq),
        reason TEXT NOT NULL,
        PRIMARY KEY (output, seq)
    ) WITHOUT ROWID;
    CREATE TABLE positions (
        input TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (input, key)
    ) WITHOUT ROWID;
    CREATE TABLE dead (
        output TEXT NOT NULL REFERENCES outputs (name),
        seq INTEGER NOT NULL REFERENCES documents (seq),
        reason TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (output, seq)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE begun (at REAL NOT NULL);
    INSERT INTO begun SELECT coalesce(min(added), (julianday('now') - 2440587.5) * 86400.0) FROM documents;
    """,
    """
    ALTER TABLE retries ADD COLUMN tried REAL NOT NULL DEFAULT 0;
    ALTER TABLE outputs ADD COLUMN sending INTEGER;
    """,
)
"""One script a version of the schema (``PRAGMA user_version``); what was released stays as it is."""
_TABLES = {"documents", "bodies", "outputs", "retries", "positions", "dead"}
"""That there are since the first."""

NONE_YET = "{}: there is no store yet; 'kpanic ship' starts one"


class StoreError(OperatorError):
    """The store cannot be used."""


class StoreInUse(StoreError):  # noqa: N818 - it says what the store is
    """Another process writes to it."""


class StoreFull(StoreError):  # noqa: N818 - likewise
    """The disk has no room for more; what is kept can still be read and settled."""


class StoreDamaged(StoreError):  # noqa: N818 - likewise
    """The file is no longer what SQLite wrote; the next opening sets it aside."""


class Position(NamedTuple):
    """How far an input is with one of its sources."""

    input: str
    key: str
    value: str | None
    """None forgets it."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A document that a receiver will not take."""

    output: str
    id: str
    reason: str
    at: float
    """Seconds since 1970 UTC."""


class Expired(NamedTuple):
    """How many documents lost their text."""

    delivered: int
    undelivered: int
    """Not delivered everywhere: only the limit of size does that."""


class Refusal(NamedTuple):
    """A reason of dead letters."""

    output: str
    reason: str
    """Of one of them, where many differ only in what they quote."""
    documents: int


class OutputStatus(msgspec.Struct, frozen=True):
    """How far one output is."""

    name: str
    delivered: int
    pending: int
    """Neither delivered nor refused, those to be tried again included."""
    retrying: int
    dead: int
    last_delivery: float | None
    trouble: str
    """Why nothing is delivered just now; empty if all is well."""
    trouble_since: float | None


class Status(msgspec.Struct, frozen=True):
    """What is in the store."""

    path: str
    bytes: int
    documents: int
    kept: int
    """Documents whose text is still there; of the others the ledger knows the ``_id``."""
    incidents: int
    fatal: int
    """Incidents that the kernel died of."""
    first: str | None
    """Time of the earliest crash."""
    last: str | None
    outputs: list[OutputStatus]


class _Unpacking(threading.local):
    """A decompressor for each thread: zstd's may not be shared, and outputs read side by side."""

    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - who only counts needs none of it

        self._decompress = zstandard.ZstdDecompressor().decompress
        self._size = zstandard.frame_content_size
        self._error = zstandard.ZstdError

    def __call__(self, body: bytes) -> bytes | None:
        """Return a text; None if it is damaged."""
        try:
            return self._decompress(body) if self._size(body) <= LARGEST else None
        except (self._error, TypeError, MemoryError):
            return None


def _shape(names: Iterable[str]) -> Any:  # noqa: ANN401 - a type made here
    """Return the type of a nested document of which only some fields are decoded."""
    tree: dict[str, Any] = {}
    for name in names:
        *path, leaf = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = Any

    def typed(node: dict[str, Any]) -> Any:  # noqa: ANN401
        parts = {key: typed(child) if isinstance(child, dict) else child for key, child in node.items()}
        return TypedDict("_Part", parts, total=False)  # type: ignore[operator] # made at run time

    return typed(tree)


class Store:
    """The documents of one machine. Its methods may be called from any thread.

    :param path: the SQLite file; its folder is made.
    :param readonly: look only; no lock is taken, and the file must be there.
    :param tell: is told, once, that the text of a document is damaged; all others can be read.
    :raises StoreInUse: another process writes to it.
    :raises StoreError: the file cannot be opened.
    :ivar set_aside: where a damaged file was moved to when this one was opened; None if all was well.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        readonly: bool = False,
        tell: Callable[[str], object] = id,
    ) -> None:
        self.path = Path(path)
        self._tell = tell
        self._damaged: set[int] = set()
        self.set_aside: Path | None = None
        self._lock: IO[str] | None = None
        self._guard = threading.RLock()
        self._sound = True
        self._log_pages = WAL_PAGES
        if readonly:
            if not os.path.exists(self.path):  # noqa: PTH110 - pathlib's raises at a name that can be none
                raise StoreError(NONE_YET.format(self.path))
            self._connection = self._open_to_read()
            return
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.path.parent}: cannot be made: {error.strerror}; set path.data to a folder of your own"
            ) from None
        except ValueError:  # a NUL, half a surrogate pair
            raise StoreError(
                f"{self.path.parent}: is no name of a folder; set path.data to a folder of your own"
            ) from None
        unclean = self._take_lock()
        try:
            self._connection = self._open_to_write(suspicious=unclean)
        except BaseException:
            self._release_lock()
            raise

    # --- documents ---------------------------------------------------------------------------------

    def add(self, documents: Iterable[Packed], positions: Iterable[Position] = ()) -> int:
        """Keep documents and how far their input is; return how many were new. All is durable on return.

        :raises StoreError: none of it was kept.
        """
        now = time.time()
        added = 0
        with self._transaction() as connection:
            for document in documents:
                row = connection.execute(
                    "INSERT INTO documents (id, incident, occurred, added, fatal) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO NOTHING RETURNING seq",
                    (document.id, document.incident, document.occurred, now, document.fatal),
                ).fetchone()
                if row is not None:
                    connection.execute(
                        "INSERT INTO bodies VALUES (?, ?)", (row[0], self._pack(document.body))
                    )
                    added += 1
            for position in positions:
                if position.value is None:
                    connection.execute(
                        "DELETE FROM positions WHERE input = ? AND key = ?", (position.input, position.key)
                    )
                else:
                    connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", position)
        return added

    def positions(self, input_name: str) -> dict[str, str]:
        """Return how far an input is, by its own keys."""
        with self._reading() as connection:
            return dict(
                connection.execute(
                    "SELECT key, value FROM positions WHERE input = ?", (input_name,)
                ).fetchall()
            )

    def delivered(self, ids: Sequence[str], outputs: Sequence[str]) -> bool:
        """Tell whether every one of ``outputs`` has acknowledged every one of ``ids``."""
        with self._reading() as connection:
            return all(
                connection.execute(
                    "SELECT 1 FROM documents WHERE id = ?2"
                    " AND seq <= (SELECT cursor FROM outputs WHERE name = ?1)"
                    " AND seq NOT IN (SELECT seq FROM retries WHERE output = ?1)"
                    " AND seq NOT IN (SELECT seq FROM dead WHERE output = ?1)",
                    (output, one),
                ).fetchone()
                for one in ids
                for output in outputs
            ) and self.known(ids) == set(ids)

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of ``ids`` that the ledger has."""
        with self._reading() as connection:
            return {
                row[0]
                for one in ids
                for row in connection.execute("SELECT id FROM documents WHERE id = ?", (one,))
            }

    def documents(
        self, *, only: Iterable[str] | None = None, newest: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents, newest crash first.

        :param only: dotted names of the fields to read, a part of the time that whole documents take.
        :param newest: how many at most.
        """
        decode = msgspec.json.Decoder(dict[str, Any] if only is None else _shape(only)).decode
        with self._reading() as connection:
            order = array(
                "q",
                (
                    row[0]
                    for row in connection.execute(
                        "SELECT seq FROM documents WHERE kept ORDER BY occurred DESC, seq DESC LIMIT ?",
                        (-1 if newest is None else newest,),
                    )
                ),
            )
        for seq in order:
            with self._reading() as connection:
                row = connection.execute("SELECT body FROM bodies WHERE seq = ?", (seq,)).fetchone()
            text = None if row is None else self._unpack(seq, row[0])
            if text is not None:
                yield decode(text)

    def whole(self, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the documents of these ``_id`` whose text is still there."""
        for one in ids:
            with self._reading() as connection:
                row = connection.execute(
                    "SELECT seq, body FROM bodies JOIN documents USING (seq) WHERE id = ?", (one,)
                ).fetchone()
            text = None if row is None else self._unpack(*row)
            if text is not None:
                yield msgspec.json.decode(text)

    def begun(self) -> float:
        """Return when this store was begun, seconds since 1970 UTC: crashes before are history."""
        with self._reading() as connection:
            row = connection.execute("SELECT at FROM begun").fetchone()
        if row is None:
            row = (time.time(),)
            with self._transaction() as connection:
                connection.execute("INSERT INTO begun VALUES (?)", row)
        return float(row[0])

    # --- outputs -----------------------------------------------------------------------------------

    def register(self, output: str) -> None:
        """Make an output known; a new one has everything before it."""
        with self._transaction() as connection:
            connection.execute("INSERT INTO outputs (name) VALUES (?) ON CONFLICT DO NOTHING", (output,))

    def pending(self, output: str, limit: int, until: int | None = None) -> list[Stored]:
        """Return what is to be delivered next: first what is to be tried again, then what is new.

        Neither keeps the other waiting: each has half of the places, and those that the other leaves. Of the
        first, the longest untried come first. What has a damaged text becomes a dead letter.

        :param until: the last new document to take.
        """
        while True:
            with self._reading() as connection:
                new = connection.execute(
                    "SELECT seq, id, body FROM documents JOIN bodies USING (seq) WHERE"
                    " seq > (SELECT cursor FROM outputs WHERE name = ?) AND seq <= ? ORDER BY seq LIMIT ?",
                    (output, MOST if until is None else until, limit),
                ).fetchall()
                held = connection.execute(
                    "SELECT seq, id, body FROM retries JOIN documents USING (seq) JOIN bodies USING (seq)"
                    " WHERE output = ? ORDER BY tried, seq LIMIT ?",
                    (output, max(limit - limit // 2, limit - len(new))),
                ).fetchall()
            rows = held + new[: limit - len(held)]
            texts = [(seq, name, self._unpack(seq, body)) for seq, name, body in rows]
            whole = [Stored(seq, name, text) for seq, name, text in texts if text is not None]
            if len(whole) < len(texts):
                fresh = itertools.takewhile(lambda one: one[2] is None, texts[len(held) :])
                over = max((seq for seq, _, _ in fresh), default=0)
                self._bury(output, [seq for seq, _, text in texts if text is None], over)
            if whole or not rows:
                return whole

    def _bury(self, output: str, damaged: Sequence[int], over: int) -> None:
        """Make dead letters of documents, and let the cursor pass over those up to ``over``."""
        with self._transaction() as connection:
            for seq in damaged:
                connection.execute(
                    "INSERT OR IGNORE INTO dead VALUES (?, ?, ?, ?)", (output, seq, DAMAGED, time.time())
                )
                connection.execute("DELETE FROM retries WHERE output = ? AND seq = ?", (output, seq))
            connection.execute("UPDATE outputs SET cursor = max(cursor, ?) WHERE name = ?", (over, output))

    def waiting(self, output: str) -> bool:
        """Tell whether there is something to deliver."""
        return bool(self.pending(output, 1))

    def sending(self, output: str, batch: Sequence[Stored]) -> None:
        """Note what is about to be sent; see :meth:`sent`."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE outputs SET sending = ? WHERE name = ?",
                (max(stored.seq for stored in batch), output),
            )

    def sent(self, output: str) -> int | None:
        """Return until where the batch went that was sent and never settled; None if there is none.

        :meth:`pending` up to there is the same batch: a receiver may know it again.
        """
        with self._reading() as connection:
            row = connection.execute("SELECT sending FROM outputs WHERE name = ?", (output,)).fetchone()
        return row[0] if row else None

    def settle(self, output: str, batch: Sequence[Stored], outcomes: Iterable[Outcome]) -> None:
        """Record what became of a batch; a document without an outcome stays to be tried again."""
        found = {outcome.id: outcome for outcome in outcomes}
        now = time.time()
        delivered = 0
        with self._transaction() as connection:
            for stored in batch:
                outcome = found.get(stored.id)
                key = (output, stored.seq)
                if outcome is None or outcome.status is DeliveryStatus.RETRY:
                    connection.execute(
                        "INSERT OR REPLACE INTO retries VALUES (?, ?, ?, ?)",
                        (*key, outcome.reason if outcome else "", now),
                    )
                    continue
                connection.execute("DELETE FROM retries WHERE output = ? AND seq = ?", key)
                if outcome.status is DeliveryStatus.REJECTED:
                    connection.execute(
                        "INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?)", (*key, outcome.reason, now)
                    )
                else:
                    delivered += 1
            if batch:
                connection.execute(
                    "UPDATE outputs SET sending = NULL, cursor = max(cursor, ?), delivered = delivered + ?,"
                    " last_delivery = iif(?, ?, last_delivery) WHERE name = ?",
                    (max(stored.seq for stored in batch), delivered, delivered, now, output),
                )

    def trouble(self, output: str, reason: str) -> None:
        """Note why nothing is delivered just now; an empty reason ends it."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE outputs SET trouble = ?1,"
                " trouble_since = iif(?1 = '', NULL, coalesce(trouble_since, ?2)) WHERE name = ?3",
                (reason, time.time(), output),
            )

    def dead(self, output: str | None = None) -> Iterator[Dead]:
        """Yield the dead letters, of one output or of all."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT output, id, reason, at FROM dead JOIN documents USING (seq)"
                " WHERE ?1 IS NULL OR output = ?1 ORDER BY output, seq",
                (output,),
            ).fetchall()
        for row in rows:
            yield Dead(*row)

    def refusals(self) -> list[Refusal]:
        """Count the dead letters by their reason, the commonest first."""
        with self._reading() as connection:
            rows = connection.execute(
                # What an engine says before it quotes the document: "400: mapper_parsing_exception: failed…".
                "SELECT output, min(reason), count(*) AS documents FROM dead"
                " GROUP BY output, substr(reason, 1, 90) ORDER BY output, documents DESC"
            ).fetchall()
        return [Refusal(*row) for row in rows]

    def replay(self, output: str | None = None, *, everything: bool = False) -> int:
        """Put dead letters back in the queue, or everything that is kept; return how many."""
        with self._transaction() as connection:
            revived = connection.execute(
                "INSERT OR REPLACE INTO retries (output, seq, reason) SELECT output, seq, reason FROM dead"
                " WHERE ?1 IS NULL OR output = ?1",
                (output,),
            ).rowcount
            connection.execute("DELETE FROM dead WHERE ?1 IS NULL OR output = ?1", (output,))
            if everything:
                connection.execute("DELETE FROM retries WHERE ?1 IS NULL OR output = ?1", (output,))
                connection.execute(
                    "UPDATE outputs SET cursor = 0, delivered = max(0, delivered -"
                    " (SELECT coalesce(sum(kept), 0) FROM documents WHERE seq <= cursor))"
                    " WHERE ?1 IS NULL OR name = ?1",
                    (output,),
                )
                outputs = connection.execute(
                    "SELECT count(*) FROM outputs WHERE ?1 IS NULL OR name = ?1", (output,)
                ).fetchone()[0]
                revived = (
                    outputs * connection.execute("SELECT coalesce(sum(kept), 0) FROM documents").fetchone()[0]
                )
        return int(revived)

    # --- room ---------------------------------------------------------------------------------------

    def expire(
        self, outputs: Sequence[str], *, before: float | None = None, size: int | None = None
    ) -> Expired:
        """Let go of the text of old documents; the ledger keeps their ``_id``.

        :param outputs: who must have a document before its age counts; what they refused counts as not had.
        :param before: seconds since 1970 UTC; what was kept since is left.
        :param size: bytes that the file may use; the oldest go first, delivered ones before others.
        """
        delivered = undelivered = 0
        with self._reading() as connection:
            self._leave_room(connection)
        while before is not None and (gone := self._let_go(outputs, "added < ?", (before,))):
            delivered += gone
        while size is not None and self._used() > size:
            if gone := self._let_go(outputs, "1", ()):
                delivered += gone
            elif gone := self._let_go([], "1", ()):
                undelivered += gone
            else:
                break
        return Expired(delivered, undelivered)

    def make_way(self, outputs: Sequence[str]) -> int:
        """Let go of a little of what every one of ``outputs`` has, for a full disk; return how much."""
        return self._let_go(outputs, "1", ())

    def _leave_room(self, connection: sqlite3.Connection) -> None:
        """Let the file grow only so far that a full disk can still be worked off.

        Where the disk itself is full, SQLite can neither delete nor checkpoint; where ``max_page_count`` is
        reached it can do both.
        """
        disk = os.statvfs(self.path.parent)
        free = disk.f_bavail * disk.f_frsize + self.size()
        log = max(8, min(WAL_PAGES, free // PAGE_SIZE // 16))
        self._log_pages = log
        connection.execute(f"PRAGMA wal_autocheckpoint = {log}")
        connection.execute(f"PRAGMA journal_size_limit = {log * PAGE_SIZE}")
        connection.execute(f"PRAGMA max_page_count = {max(16, free // PAGE_SIZE - 4 * log)}")

    def _used(self) -> int:
        with self._reading() as connection:
            pages, free = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count")
            )
        return int(pages - free) * PAGE_SIZE

    def _let_go(self, outputs: Sequence[str], where: str, values: tuple[float, ...]) -> int:
        """Delete some of the oldest bodies that ``outputs`` have; return how many."""
        had = " AND ".join(
            [
                where,
                "kept",
                *(
                    "seq <= (SELECT cursor FROM outputs WHERE name = ?)"
                    " AND NOT EXISTS (SELECT 1 FROM retries WHERE output = ? AND retries.seq = documents.seq)"
                    " AND NOT EXISTS (SELECT 1 FROM dead WHERE output = ? AND dead.seq = documents.seq)"
                    for _ in outputs
                ),
            ]
        )
        names = [name for output in outputs for name in (output, output, output)]
        with self._transaction() as connection:
            gone = connection.execute(
                f"SELECT seq FROM documents WHERE {had} ORDER BY seq LIMIT ?",  # noqa: S608 - fixed texts
                (
                    *values,
                    *names,
                    max(1, self._log_pages // 4),
                ),  # a page or two each, and the log has to hold them
            ).fetchall()
            connection.executemany("DELETE FROM bodies WHERE seq = ?", gone)
            connection.executemany("DELETE FROM retries WHERE seq = ?", gone)
            connection.executemany("UPDATE documents SET kept = 0 WHERE seq = ?", gone)
        return len(gone)

    # --- the state of things -----------------------------------------------------------------------

    def status(self) -> Status:
        """Count what is here."""
        with self._reading() as connection:
            documents, kept, first, last = connection.execute(
                "SELECT count(*), coalesce(sum(kept), 0), min(occurred), max(occurred) FROM documents"
            ).fetchone()
            incidents, fatal = connection.execute(
                "SELECT count(*), coalesce(sum(fatal), 0) FROM"
                " (SELECT max(fatal) AS fatal FROM documents GROUP BY incident)"
            ).fetchone()
        return Status(
            str(self.path), self.size(), documents, kept, incidents, fatal, first, last, self.outputs()
        )

    def outputs(self) -> list[OutputStatus]:
        """Say how far each output is."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT name, delivered,"
                " (SELECT coalesce(sum(kept), 0) FROM documents WHERE seq > cursor),"
                " (SELECT count(*) FROM retries WHERE output = name),"
                " (SELECT count(*) FROM dead WHERE output = name),"
                " last_delivery, trouble, trouble_since FROM outputs ORDER BY name"
            ).fetchall()
        return [
            OutputStatus(name, delivered, pending + retrying, retrying, *rest)
            for name, delivered, pending, retrying, *rest in rows
        ]

    def size(self) -> int:
        """Return the bytes of its files."""
        return sum(path.stat().st_size for path in self._files() if path.exists())

    def close(self) -> None:
        """Close the file and let others write."""
        with self._guard:
            self._connection.close()
            self._release_lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def _pack(self) -> Callable[[bytes], bytes]:
        import zstandard  # noqa: PLC0415 - who only counts needs none of it

        return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress

    def _unpack(self, seq: int, body: bytes) -> bytes | None:
        """Return a document's text; None if it is damaged, which is told."""
        text = self._unpacking(body)
        if text is None and seq not in self._damaged:
            if not self._damaged:
                self._tell(
                    f"{self.path}: the text of a document is damaged and left out, of others perhaps too"
                )
            self._damaged.add(seq)
        return text

    @cached_property
    def _unpacking(self) -> _Unpacking:
        return _Unpacking()

    # --- below the waterline -----------------------------------------------------------------------

    def _files(self) -> list[Path]:
        return [self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm")]

    def _take_lock(self) -> bool:
        """Lock the store for this process; return whether the last one to write did not close it.

        :raises StoreInUse: another process has it.
        """
        name = self.path.with_name(self.path.name + ".lock")
        try:
            lock = name.open("a+", encoding="ascii", errors="replace")
        except OSError as error:
            raise StoreError(
                f"{name}: {error.strerror or error}; set path.data to a folder of your own"
            ) from None
        lock.seek(0)
        holder = lock.read(32).strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StoreInUse(
                f"{self.path}: process {holder or 'unknown'} is writing to this store; wait for it or stop it"
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock itself does
            lock.seek(0)
            lock.truncate()
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        self._lock = lock
        return bool(holder)

    def _release_lock(self) -> None:
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with contextlib.suppress(OSError):  # the disk may be gone
                if self._sound:  # else the next to open looks at every page
                    lock.truncate(0)
                lock.close()

    def _open_to_read(self) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        if not self._files()[1].exists() and not os.access(self.path.parent, os.W_OK, effective_ids=True):
            uri += "&immutable=1"  # nobody writes, and SQLite could not make what readers share
        try:
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=30)
            if not self._examine(connection, thoroughly=False):
                raise StoreError(NONE_YET.format(self.path))
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.path}: cannot be read by this user: {error}") from None
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(
                f"{self.path}: is damaged ({error}); the next 'kpanic ship' sets it aside, starts a new one"
            ) from None
        return connection

    def _open_to_write(self, *, suspicious: bool) -> sqlite3.Connection:
        """Open the file; one that is damaged is moved aside and a new one started."""
        try:
            return self._connect(check=suspicious)
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.path}: cannot be opened: {error}") from None
        except sqlite3.DatabaseError:
            pass
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.set_aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        for path in self._files():
            if path.exists():
                path.rename(str(path).replace(str(self.path), str(self.set_aside), 1))
        try:
            return self._connect(check=False)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be started anew: {error}") from None

    def _connect(self, *, check: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            version = self._examine(connection, thoroughly=check)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._leave_room(connection)
            for number, script in enumerate(_MIGRATIONS[version:], version + 1):
                connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def _examine(self, connection: sqlite3.Connection, *, thoroughly: bool) -> int:
        """Look whether this is a file for us; return the version of its schema, 0 of a new one.

        :raises sqlite3.DatabaseError: it is damaged.
        :raises StoreError: it is of a later schema, or somebody else's.
        """
        if thoroughly and (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(_MIGRATIONS):
            raise StoreError(f"{self.path}: is of a newer kpanic (schema {version}); update this one")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not version and tables:
            raise StoreError(f"{self.path}: is not kpanic's; set path.data to a folder of your own")
        if version and (missing := _TABLES - tables):
            raise sqlite3.DatabaseError(f"it has no table {min(missing)}")
        return version

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guard, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._guard, self._told():
            yield self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                self._leave_room(self._connection)  # there may be more by the next try
                raise StoreFull(
                    f"{self.path}: {error}; nothing that was kept is lost; make room on its disk"
                ) from error
            raise StoreError(f"{self.path}: {error}; nothing that was kept is lost") from error
        except sqlite3.DatabaseError as error:
            self._sound = False
            raise StoreDamaged(
                f"{self.path}: is damaged ({error}); run again: it is set aside then"
            ) from error
