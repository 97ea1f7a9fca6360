"""Documents and the positions of inputs, as they are added and read back."""

from __future__ import annotations

import time
from array import array
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from kpanic.shipper.columns import NO_PROFILE, Columns, milliseconds
from kpanic.shipper.store import columns, incidents
from kpanic.shipper.store.damage import position_checksum
from kpanic.shipper.store.database import Database
from kpanic.shipper.store.deliveries import count_delivered

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.shipper.packed import Packed
    from kpanic.shipper.store.records import Position

__all__ = ["Documents"]

MOST_VARIABLES = 500
"""Values of one statement; SQLite takes at least 999."""


class Documents(Database):
    """The ledger, the texts and the positions."""

    def add(
        self,
        documents: Iterable[Packed],
        positions: Iterable[Position] = (),
        delivered_to: Iterable[str] = (),
    ) -> int:
        """Store documents together with their input's positions; both are durable on return.

        A document without a body is recorded like one whose text has expired, with its own incident.

        :param delivered_to: outputs that have the documents without a body.
        :return: how many documents were new; the others are in the ledger already and are skipped.
        :raises StoreError: nothing was stored.
        """
        now = time.time()
        added = listed = 0
        documents = list(documents)
        with self._transaction() as connection:
            # not ON CONFLICT: that would use up a seq, and seqs have no gaps
            known = _known(connection, [document.id for document in documents])
            for stated in documents:
                if stated.id in known:
                    continue
                known.add(stated.id)
                kept = bool(stated.body)
                document = incidents.joined(connection, stated) if kept else stated
                first = incidents.first(connection, document.incident)
                inserted = connection.execute(
                    "INSERT INTO documents (id, incident, occurred, added, fatal, kept)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (document.id, document.incident, document.occurred, now, document.fatal, kept),
                )
                seq = inserted.lastrowid or 0
                incidents.note(connection, seq, stated)
                incidents.count(connection, seq if first is None else first, fatal=document.fatal)
                if kept:
                    body = self._bodies.pack(document.body)
                    connection.execute("INSERT INTO bodies VALUES (?, ?)", (seq, body))
                    columns.note(connection, seq, seq if first is None else first, _columns(document))
                else:
                    listed += 1
                added += 1
            if listed:
                count_delivered(connection, delivered_to, listed, now)
            for source, key, value in positions:
                if value is None:
                    connection.execute("DELETE FROM positions WHERE input = ? AND key = ?", (source, key))
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
                        (source, key, value, position_checksum(source, key, value)),
                    )
        return added

    def positions(self, input_name: str) -> dict[str, str]:
        """Return the positions of an input, by its own keys; a damaged position is left out."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT key, value, checksum FROM positions WHERE input = ?", (input_name,)
            ).fetchall()
        return {
            key: value
            for key, value, checksum in rows
            if checksum == position_checksum(input_name, key, value)
        }

    def position(self, input_name: str, key: str) -> str | None:
        """Return the position of an input for one key; None if it is unknown or damaged."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT value, checksum FROM positions WHERE input = ? AND key = ?", (input_name, key)
            ).fetchone()
        return row[0] if row and row[1] == position_checksum(input_name, key, row[0]) else None

    def known_ids(self, ids: Sequence[str]) -> set[str]:
        """Return those of ``ids`` that the ledger has."""
        with self._reading() as connection:
            return _known(connection, ids)

    def documents(
        self, *, only: Iterable[str] | None = None, newest: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents whose text is kept, newest crash first.

        :param only: dotted names of the fields to decode, which is faster than all of them.
        :param newest: the most to yield.
        """
        decode = msgspec.json.Decoder(dict[str, Any] if only is None else _type_of_fields(only)).decode
        with self._reading() as connection:
            order = array(
                "q",
                (
                    row[0]
                    for row in connection.execute(
                        "SELECT seq FROM crashes ORDER BY at DESC, seq DESC LIMIT ?",
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

    def documents_by_seq(self, seqs: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the documents of these ``seq`` whose text is kept and whole."""
        for seq in seqs:
            with self._reading() as connection:
                row = connection.execute("SELECT body FROM bodies WHERE seq = ?", (seq,)).fetchone()
            text = None if row is None else self._unpack(seq, row[0])
            if text is not None:
                yield seq, msgspec.json.decode(text)

    def created(self) -> float:
        """Return when this store was made, seconds since 1970 UTC: crashes before that are history.

        If that moment is in the future, the clock was wrong then, and the store counts as made now.
        """
        now = time.time()
        with self._reading() as connection:
            at = float(connection.execute("SELECT at FROM created").fetchone()[0])
        if at <= now:
            return at
        with self._transaction() as connection:
            connection.execute("UPDATE created SET at = ?", (now,))
        return now


def _columns(document: Packed) -> Columns:
    return document.columns or Columns(milliseconds(document.occurred), "", NO_PROFILE)


def _known(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Return those of ``ids`` that the ledger has."""
    known: set[str] = set()
    for start in range(0, len(ids), MOST_VARIABLES):
        some = ids[start : start + MOST_VARIABLES]
        places = ", ".join("?" * len(some))
        rows = connection.execute(f"SELECT id FROM documents WHERE id IN ({places})", some)  # noqa: S608
        known.update(row[0] for row in rows)
    return known


def _type_of_fields(names: Iterable[str]) -> Any:  # noqa: ANN401 - a type made here
    """Return a type that decodes only some fields of a nested document."""
    tree: dict[str, Any] = {}
    for name in names:
        *path, leaf = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = Any

    def typed(node: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made here
        parts = {key: typed(child) if isinstance(child, dict) else child for key, child in node.items()}
        return TypedDict("_Part", parts, total=False)  # type: ignore[operator] # made at run time

    return typed(tree)
