"""Takes over the readable content of a damaged file.

Documents come from the ledger and the texts, whose checksums tell which are intact. Rows that the file's
trees no longer lead to are searched for in its pages. If it is unknown whether an output has a document, the
output gets it again: receivers know documents by their ``_id``.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from kpanic.shipper.store.bodies import Bodies
from kpanic.shipper.store.columns import derive
from kpanic.shipper.store.damage import position_checksum
from kpanic.shipper.store.incidents import count_all
from kpanic.shipper.store.pages import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Salvaged", "salvage"]

BATCH = 200
"""Documents in one transaction."""

_SCRATCH = """
    CREATE TEMP TABLE ledger (
        old INTEGER, id TEXT PRIMARY KEY, incident TEXT, occurred TEXT, added REAL, fatal INTEGER, kept
        INTEGER
    );
    CREATE TEMP TABLE texts (id TEXT PRIMARY KEY, body BLOB);
    CREATE TEMP TABLE numbers (old INTEGER PRIMARY KEY, new INTEGER);
"""


class Salvaged(NamedTuple):
    """The number of copied documents."""

    documents: int
    """Documents with their text."""
    lost: int
    """Documents of the ledger whose text is missing or cannot be read."""


class _Event(msgspec.Struct):
    id: str = ""


class _Panic(msgspec.Struct):
    fatal: bool = True


class _Kernel(msgspec.Struct):
    panic: _Panic = msgspec.field(default_factory=_Panic)


class _Document(msgspec.Struct):
    """The fields of a document that its row in the ledger repeats."""

    id: str = msgspec.field(name="_id", default="")
    occurred: str = msgspec.field(name="@timestamp", default="")
    event: _Event = msgspec.field(default_factory=_Event)
    kernel: _Kernel = msgspec.field(default_factory=_Kernel)


def salvage(old: Path, new: sqlite3.Connection, page_size: int) -> Salvaged:
    """Copy the readable content of the file ``old`` into the empty store that ``new`` is open on.

    :param page_size: bytes of a page of ``old``.
    :raises sqlite3.Error: ``new`` cannot be written; a part may have been copied.
    """
    with closing(sqlite3.connect(old, isolation_level=None)) as source:
        source.text_factory = lambda text: text.decode("utf-8", "replace")
        with suppress(sqlite3.Error):  # committed changes go from the write-ahead log into the pages
            source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        run = _Salvage(old, source, new, page_size)
        try:
            return run.copy()
        finally:
            for table in ("ledger", "texts", "numbers"):
                new.execute(f"DROP TABLE IF EXISTS temp.{table}")


class _Salvage:
    """Copies documents under new numbers, without gaps and in the old order, those without a number last."""

    def __init__(
        self, path: Path, source: sqlite3.Connection, new: sqlite3.Connection, page_size: int
    ) -> None:
        self._path = path
        self._source = source
        self._new = new
        self._page_size = page_size
        self._unpack = Bodies().unpack
        self._cut_off = False
        """Some rows could not be read."""
        new.executescript(_SCRATCH)

    def copy(self) -> Salvaged:
        self._new.execute("BEGIN")
        self._read_ledger()
        self._read_texts()
        if self._cut_off or self._incomplete():
            self._read_pages()
        self._list_unlisted()
        self._new.execute("COMMIT")
        salvaged = self._copy_documents()
        self._new.execute("BEGIN")
        self._copy_sightings()
        self._copy_deliveries()
        self._copy_positions()
        self._copy_creation()
        self._new.execute("COMMIT")
        return salvaged

    def _select(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the readable rows of the damaged file."""
        try:
            yield from self._source.execute(query)
        except (sqlite3.Error, OverflowError):
            self._cut_off = True

    def _select_from_both_ends(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows before a damaged page and those after it; all rows twice if no page is damaged."""
        yield from self._select(f"{query} ORDER BY seq")
        yield from self._select(f"{query} ORDER BY seq DESC")

    def _is_whole(self, table: str) -> bool:
        return list(self._select(f"PRAGMA quick_check({table})")) == [("ok",)]

    # --- reading -----------------------------------------------------------------------------------

    def _read_ledger(self) -> None:
        query = "SELECT seq, id, incident, occurred, added, fatal, kept FROM documents"
        for row in self._select_from_both_ends(query):
            if list(map(type, row)) == [int, str, str, str, float, int, int] and row[0] > 0:
                self._list(row)

    def _read_texts(self) -> None:
        for seq, body in self._select_from_both_ends("SELECT seq, body FROM bodies"):
            self._take_text(seq, body)

    def _read_pages(self) -> None:
        for rowid, columns in rows(self._path, self._page_size):
            kinds = list(map(type, columns))
            if kinds == [type(None), bytes]:
                self._take_text(rowid, columns[1])
            elif kinds == [type(None), str, str, str, type(None), type(None), type(None)]:
                self._list((rowid, *columns[1:4], time.time(), 1, 0))

    def _list(self, row: tuple[object, ...]) -> None:
        self._new.execute("INSERT OR IGNORE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _take_text(self, seq: object, body: object) -> None:
        """Take an intact text; its document is known from the text itself or from its number."""
        text = self._unpack(body)
        if text is None:
            return
        try:
            name = msgspec.json.decode(text, type=_Document).id
        except msgspec.MsgspecError:
            return
        if not name:
            listed = self._new.execute("SELECT id FROM ledger WHERE old = ?", (seq,)).fetchone()
            name = listed[0] if listed else ""
        if name:
            self._new.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (name, body))

    def _incomplete(self) -> bool:
        """Tell whether a row of the ledger is missing, or the text of one."""
        query = (
            "SELECT count(*) IS NOT coalesce(max(old), 0) OR sum(kept AND id NOT IN (SELECT id FROM texts))"
            " OR (SELECT count(*) FROM texts) > count(*) FROM ledger"
        )
        return bool(self._new.execute(query).fetchone()[0])

    def _list_unlisted(self) -> None:
        """Make ledger rows, without a number, for texts that have none."""
        query = "SELECT id, body FROM texts WHERE id NOT IN (SELECT id FROM ledger)"
        for name, body in self._new.execute(query).fetchall():
            found = msgspec.json.decode(self._unpack(body) or b"{}", type=_Document)
            incident = found.event.id or name
            self._list((None, name, incident, found.occurred, time.time(), int(found.kernel.panic.fatal), 1))

    # --- copying -----------------------------------------------------------------------------------

    def _copy_documents(self) -> Salvaged:
        number = copied = lost = 0
        query = "SELECT ledger.*, body FROM ledger LEFT JOIN texts USING (id) ORDER BY old IS NULL, old"
        cursor = self._new.cursor()
        cursor.execute(f"CREATE TEMP TABLE merged AS {query}")
        for first in range(
            1, cursor.execute("SELECT coalesce(max(rowid), 0) FROM merged").fetchone()[0] + 1, BATCH
        ):
            self._new.execute("BEGIN")
            for old, *columns, kept, body in cursor.execute(
                "SELECT * FROM merged WHERE rowid BETWEEN ? AND ?", (first, first + BATCH - 1)
            ).fetchall():
                if kept and body is None:
                    lost += 1
                    continue
                number += 1
                self._new.execute(
                    "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *columns, body is not None)
                )
                if body is not None:
                    self._new.execute("INSERT INTO bodies VALUES (?, ?)", (number, body))
                    derive(self._new, number, columns[1], self._unpack(body))
                    copied += 1
                if old is not None:
                    self._new.execute("INSERT OR IGNORE INTO numbers VALUES (?, ?)", (old, number))
            self._new.execute("COMMIT")
        cursor.execute("DROP TABLE merged")
        count_all(self._new)
        return Salvaged(copied, lost)

    def _copy_sightings(self) -> None:
        query = "SELECT seq, stated, host, printed, provider, at, timed FROM sightings"
        for seq, *columns in self._select(query):
            if list(map(type, columns)) == [str, str, str, str, float, int]:
                self._new.execute(
                    "INSERT OR IGNORE INTO sightings SELECT new, ?, ?, ?, ?, ?, ? FROM numbers WHERE old = ?",
                    (*columns, seq),
                )

    def _copy_deliveries(self) -> None:
        all_retries_known = self._is_whole("retries")
        names = []
        for name, cursor, copy, delivered, last_delivery, sending in self._select(
            "SELECT name, cursor, cursor_copy, delivered, last_delivery, sending FROM outputs"
        ):
            if not isinstance(name, str) or not isinstance(delivered, int):
                continue
            names.append(name)
            known = all_retries_known and isinstance(cursor, int) and cursor == copy
            self._new.execute(
                "INSERT OR IGNORE INTO outputs (name, cursor, cursor_copy, delivered, last_delivery, sending)"
                " VALUES (?1, ?2, ?2, ?3, ?4, ?5)",
                (
                    name,
                    self._number_until(cursor) if known else 0,
                    delivered,
                    last_delivery if isinstance(last_delivery, float) else None,
                    self._number_until(sending) if known and isinstance(sending, int) else None,
                ),
            )
        for output, seq, copy, reason, tried in self._select("SELECT * FROM retries"):
            certain = output in names and seq == copy
            for name in [output] if certain else names:
                for number in {seq, copy}:
                    self._copy_retry(name, number, reason, tried)
        for output, seq, reason, at in self._select("SELECT * FROM dead_letters"):
            if output in names and isinstance(reason, str) and isinstance(at, float):
                self._new.execute(
                    "INSERT OR IGNORE INTO dead_letters SELECT ?, new, ?, ? FROM numbers WHERE old = ?",
                    (output, reason, at, seq),
                )

    def _number_until(self, old: int) -> int:
        """Return the new number of the last document up to an old number."""
        row = self._new.execute("SELECT coalesce(max(new), 0) FROM numbers WHERE old <= ?", (old,)).fetchone()
        return int(row[0])

    def _copy_retry(self, output: str, seq: object, reason: object, tried: object) -> None:
        """Copy a retry, unless the output has yet to get its document."""
        self._new.execute(
            "INSERT OR IGNORE INTO retries SELECT ?1, new, new, ?3, ?4 FROM numbers"
            " WHERE old = ?2 AND new <= (SELECT cursor FROM outputs WHERE name = ?1)"
            " AND new IN (SELECT seq FROM bodies)",
            (
                output,
                seq if isinstance(seq, int) else None,
                reason if isinstance(reason, str) else "",
                tried if isinstance(tried, float) else 0.0,
            ),
        )

    def _copy_positions(self) -> None:
        for row in self._select("SELECT input, key, value, checksum FROM positions"):
            if list(map(type, row)) == [str, str, str, int] and row[3] == position_checksum(*row[:3]):
                self._new.execute("INSERT OR IGNORE INTO positions VALUES (?, ?, ?, ?)", row)

    def _copy_creation(self) -> None:
        """Copy the moment when the store was made; if it is damaged, use the moment of its first document."""
        now = time.time()
        candidates = [row[0] for row in self._select("SELECT at FROM created")]
        candidates += self._new.execute("SELECT min(added) FROM documents").fetchone()
        at = next((one for one in candidates if isinstance(one, float) and 0 < one <= now), now)
        self._new.execute("UPDATE created SET at = ?", (at,))
