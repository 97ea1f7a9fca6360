"""Deliveries: each output's cursor, the documents to send again, and those that its receiver never takes."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from kpanic.shipper.api import DeliveryStatus, Stored
from kpanic.shipper.store.bodies import id_in
from kpanic.shipper.store.database import Database
from kpanic.shipper.store.records import DeadLetter, OutputStatus, Refusal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.shipper.api import Outcome

__all__ = ["Deliveries", "count_delivered"]

DAMAGED_TEXT = "its text is damaged in the store"
REASON_HEAD = 90
"""Characters of a reason up to the receiver's quote of the document: "400: mapper_parsing_exception: failed
…".
"""

_KEPT = "documents LEFT JOIN bodies USING (seq) WHERE (kept OR body IS NOT NULL)"
"""The documents with their text; a damaged flag hides no existing text."""


class Deliveries(Database):
    """The delivered, pending and refused documents of each output.

    An output's cursor is the ``seq`` up to which every document is settled, except those that ``retries``
    lists. A new output begins at 0 and so gets everything.
    """

    def register_output(self, output: str, *, from_now: bool = False) -> None:
        """Register an output, unless it is registered.

        :param from_now: whether it gets only new documents.
        """
        cursor = (
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'documents'), 0)" if from_now else "0"
        )
        with self._transaction() as connection:
            connection.execute(
                f"INSERT INTO outputs (name, cursor, cursor_copy) VALUES (?, {cursor}, {cursor})"  # noqa: S608
                " ON CONFLICT DO NOTHING",
                (output,),
            )

    def pending(self, output: str, limit: int, until: int | None = None) -> list[Stored]:
        """Return the documents to deliver next: first retries, then new ones.

        Retries and new documents have half of the places each, and those that the other leaves, so that
        neither waits for the other. The retry with the oldest try comes first. A document whose text is
        damaged becomes a dead letter.

        :param until: the last new document to take.
        :raises StoreDamaged: documents are missing.
        """
        while True:
            with self._reading() as connection:
                cursor, last = self._range(connection, output, until)
                new = connection.execute(
                    f"SELECT seq, id, body FROM {_KEPT} AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",  # noqa: S608
                    (cursor, last, limit),
                ).fetchall()
                self._refuse_gaps(connection, cursor, new[-1][0] if len(new) == limit else last)
                retries = connection.execute(
                    "SELECT seq, id, body FROM retries"
                    " LEFT JOIN documents USING (seq) LEFT JOIN bodies USING (seq)"
                    " WHERE output = ? ORDER BY tried, seq LIMIT ?",
                    (output, max(limit - limit // 2, limit - len(new))),
                ).fetchall()
            rows = retries + new[: limit - len(retries)]
            if any(body is None for _, _, body in rows):
                raise self._damage("the text of a document is missing")
            texts = [(seq, name, self._unpack(seq, body)) for seq, name, body in rows]
            whole = [Stored(seq, id_in(text) or name, text) for seq, name, text in texts if text is not None]
            if len(whole) < len(texts):
                first = itertools.takewhile(lambda one: one[2] is None, texts[len(retries) :])
                over = max((seq for seq, _, _ in first), default=0)
                self._bury(output, [seq for seq, _, text in texts if text is None], over)
            if whole or not rows:
                return whole

    @staticmethod
    def _range(connection: sqlite3.Connection, output: str, until: int | None) -> tuple[int, int]:
        """Return an output's cursor, and the last document to deliver."""
        row = connection.execute("SELECT cursor FROM outputs WHERE name = ?", (output,)).fetchone()
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'documents'").fetchone()
        end = last[0] if last else 0
        return (row[0] if row else end), (end if until is None else min(until, end))

    def _refuse_gaps(self, connection: sqlite3.Connection, after: int, last: int) -> None:
        """Check that the ledger has every document after one and up to another.

        :raises StoreDamaged: it has not.
        """
        query = "SELECT count(*) FROM documents WHERE seq > ? AND seq <= ?"
        if connection.execute(query, (after, last)).fetchone()[0] != max(0, last - after):
            raise self._damage("documents are missing")

    def _bury(self, output: str, damaged: Sequence[int], over: int) -> None:
        """Make dead letters of documents, and move the cursor over those up to ``over``."""
        with self._transaction() as connection:
            for seq in damaged:
                connection.execute(
                    "INSERT OR IGNORE INTO dead_letters VALUES (?, ?, ?, ?)",
                    (output, seq, DAMAGED_TEXT, time.time()),
                )
                connection.execute("DELETE FROM retries WHERE output = ? AND seq = ?", (output, seq))
            connection.execute(
                "UPDATE outputs SET cursor = max(cursor, ?1), cursor_copy = max(cursor, ?1) WHERE name = ?2",
                (over, output),
            )

    def has_pending(self, output: str) -> bool:
        """Tell whether there is something to deliver."""
        with self._reading() as connection:
            cursor, last = self._range(connection, output, None)
            found = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM retries WHERE output = ?)"  # noqa: S608 - fixed texts
                f" OR EXISTS (SELECT 1 FROM {_KEPT} AND seq > ? AND seq <= ?)",
                (output, cursor, last),
            ).fetchone()
        return bool(found[0])

    def note_sending(self, output: str, batch: Sequence[Stored]) -> None:
        """Record the batch that is about to be sent; see :meth:`unsettled_until`."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE outputs SET sending = ? WHERE name = ?",
                (max(stored.seq for stored in batch), output),
            )

    def unsettled_until(self, output: str) -> int | None:
        """Return the last ``seq`` of a batch that was sent but not settled; None if there is none.

        :meth:`pending` up to it returns the same batch, which a receiver may recognise.
        """
        with self._reading() as connection:
            row = connection.execute("SELECT sending FROM outputs WHERE name = ?", (output,)).fetchone()
        return row[0] if row else None

    def settle(self, output: str, batch: Sequence[Stored], outcomes: Iterable[Outcome]) -> None:
        """Record the outcomes of a batch; a document without an outcome is tried again."""
        found = {outcome.id: outcome for outcome in outcomes}
        now = time.time()
        delivered = 0
        with self._transaction() as connection:
            for stored in batch:
                outcome = found.get(stored.id)
                key = (output, stored.seq)
                if outcome is None or outcome.status is DeliveryStatus.RETRY:
                    connection.execute(
                        "INSERT OR REPLACE INTO retries VALUES (?1, ?2, ?2, ?3, ?4)",
                        (*key, outcome.reason if outcome else "", now),
                    )
                    continue
                connection.execute("DELETE FROM retries WHERE output = ? AND seq = ?", key)
                if outcome.status is DeliveryStatus.REJECTED:
                    connection.execute(
                        "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?)", (*key, outcome.reason, now)
                    )
                else:
                    delivered += 1
            if batch:
                connection.execute(
                    "UPDATE outputs SET sending = NULL,"
                    " cursor = max(cursor, ?1), cursor_copy = max(cursor, ?1),"
                    " delivered = delivered + ?2, last_delivery = iif(?2, ?3, last_delivery) WHERE name = ?4",
                    (max(stored.seq for stored in batch), delivered, now, output),
                )

    def note_trouble(self, output: str, reason: str) -> None:
        """Record why nothing is delivered at the moment; an empty reason ends the trouble."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE outputs SET trouble = ?1,"
                " trouble_since = iif(?1 = '', NULL, coalesce(trouble_since, ?2)) WHERE name = ?3",
                (reason, time.time(), output),
            )

    def all_delivered(self, ids: Sequence[str], outputs: Sequence[str]) -> bool:
        """Tell whether each of ``outputs`` has delivered each of the documents ``ids``."""
        with self._reading() as connection:
            return all(
                connection.execute(
                    "SELECT 1 FROM documents WHERE id = ?2"
                    " AND seq <= (SELECT cursor FROM outputs WHERE name = ?1)"
                    " AND seq NOT IN (SELECT seq FROM retries WHERE output = ?1)"
                    " AND seq NOT IN (SELECT seq FROM dead_letters WHERE output = ?1)",
                    (output, one),
                ).fetchone()
                for one in ids
                for output in outputs
            ) and all(
                connection.execute("SELECT 1 FROM documents WHERE id = ?", (one,)).fetchone() for one in ids
            )

    def dead_letters(self, output: str | None = None) -> Iterator[DeadLetter]:
        """Yield the dead letters of one output or of all."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT CAST(output AS TEXT), CAST(id AS TEXT), CAST(reason AS TEXT), CAST(at AS REAL)"
                " FROM dead_letters JOIN documents USING (seq)"
                " WHERE ?1 IS NULL OR output = ?1 ORDER BY output, seq",
                (output,),
            ).fetchall()
        for row in rows:
            yield DeadLetter(*row)

    def refusals(self) -> list[Refusal]:
        """Count the dead letters by their reason, the most frequent first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT CAST(output AS TEXT), CAST(min(reason) AS TEXT), count(*) AS documents"
                " FROM dead_letters"
                " GROUP BY output, substr(reason, 1, ?) ORDER BY output, documents DESC",
                (REASON_HEAD,),
            ).fetchall()
        return [Refusal(*row) for row in rows]

    def replay(self, output: str | None = None, *, everything: bool = False) -> int:
        """Put dead letters back in the queue of one output or of all.

        :param everything: whether to put back every document whose text is kept.
        :return: the number of deliveries to come.
        """
        with self._transaction() as connection:
            revived = connection.execute(
                "INSERT OR REPLACE INTO retries SELECT output, seq, seq, reason, 0 FROM dead_letters"
                " JOIN bodies USING (seq) WHERE ?1 IS NULL OR output = ?1",
                (output,),
            ).rowcount
            connection.execute("DELETE FROM dead_letters WHERE ?1 IS NULL OR output = ?1", (output,))
            if everything:
                chosen = "name = ?1 OR (?1 IS NULL AND name NOT GLOB 'notify.*')"  # no message is sent twice
                names = f"SELECT name FROM outputs WHERE {chosen}"  # noqa: S608 - fixed texts
                connection.execute(f"DELETE FROM retries WHERE output IN ({names})", (output,))  # noqa: S608
                connection.execute(
                    "UPDATE outputs SET cursor = 0, cursor_copy = 0, delivered = max(0, delivered -"  # noqa: S608
                    " (SELECT coalesce(sum(kept), 0) FROM documents WHERE seq <= cursor))"
                    f" WHERE {chosen}",
                    (output,),
                )
                outputs = connection.execute(
                    f"SELECT count(*) FROM ({names})",  # noqa: S608
                    (output,),
                ).fetchone()[0]
                revived = (
                    outputs * connection.execute("SELECT coalesce(sum(kept), 0) FROM documents").fetchone()[0]
                )
        return int(revived)

    def outputs(self) -> list[OutputStatus]:
        """Return the state of each output."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT CAST(name AS TEXT), CAST(delivered AS INTEGER),"
                " max(0, (SELECT coalesce(max(seq), 0) FROM documents) - cursor)"
                " - (SELECT count(*) FROM documents WHERE NOT kept AND seq > cursor),"
                " (SELECT count(*) FROM retries WHERE output = name),"
                " (SELECT count(*) FROM dead_letters WHERE output = name),"
                " CAST(last_delivery AS REAL), CAST(trouble AS TEXT), CAST(trouble_since AS REAL)"
                " FROM outputs ORDER BY name"
            ).fetchall()
        return [
            OutputStatus(name, delivered, int(pending) + retrying, retrying, *rest)
            for name, delivered, pending, retrying, *rest in rows
        ]


def count_delivered(connection: sqlite3.Connection, outputs: Iterable[str], count: int, now: float) -> None:
    """Count documents that other processes delivered, and move cursors without pending documents.

    :param outputs: those that have the documents.
    :param now: seconds since 1970 UTC.
    """
    for output in outputs:
        connection.execute(
            "UPDATE outputs SET delivered = delivered + ?, last_delivery = ? WHERE name = ?",
            (count, now, output),
        )
    connection.execute(
        "UPDATE outputs SET (cursor, cursor_copy) = (SELECT max(seq), max(seq) FROM documents)"  # noqa: S608 - fixed texts
        f" WHERE NOT EXISTS (SELECT 1 FROM {_KEPT} AND seq > cursor)"
    )
