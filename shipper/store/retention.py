"""Retention: deletes text and columns of old documents by age, size or on a full disk; the ledger stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.shipper.store import columns
from kpanic.shipper.store.database import PAGE_SIZE, Database
from kpanic.shipper.store.records import Expired

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Retention"]


class Retention(Database):
    """Deletes the text of documents."""

    def expire(
        self, outputs: Sequence[str], *, before: float | None = None, size: int | None = None
    ) -> Expired:
        """Delete the text of old documents; the ledger keeps their ``_id``.

        :param outputs: the outputs that must have delivered a document before its age counts; a refused
            document counts as not delivered.
        :param before: seconds since 1970 UTC; documents that were added later stay.
        :param size: maximum bytes of the file; the oldest documents go first, delivered ones before others.
        """
        delivered = undelivered = 0
        with self._reading() as connection:
            self._leave_room(connection)
        while before is not None and (gone := self._delete_oldest(outputs, "added < ?", (before,))):
            delivered += gone
        while size is not None and self._used() > size:
            if gone := self._delete_oldest(outputs):
                delivered += gone
            elif gone := self._delete_oldest([]):
                undelivered += gone
            else:
                break
        return Expired(delivered, undelivered)

    def free_some(self, outputs: Sequence[str]) -> int:
        """Delete the text of some documents that all ``outputs`` have, on a full disk; return how many."""
        return self._delete_oldest(outputs)

    def _used(self) -> int:
        with self._reading() as connection:
            pages, free = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count")
            )
        return int(pages - free) * PAGE_SIZE

    def _delete_oldest(self, outputs: Sequence[str], where: str = "1", values: tuple[float, ...] = ()) -> int:
        """Delete some of the oldest texts that ``outputs`` have; return how many."""
        delivered = (
            " AND seq <= (SELECT cursor FROM outputs WHERE name = ?)"
            " AND NOT EXISTS (SELECT 1 FROM retries WHERE output = ? AND retries.seq = documents.seq)"
            " AND NOT EXISTS"
            " (SELECT 1 FROM dead_letters WHERE output = ? AND dead_letters.seq = documents.seq)"
        )
        condition = f"{where} AND kept{delivered * len(outputs)}"
        names = [name for output in outputs for name in (output, output, output)]
        most = max(1, self._log_pages // 8)  # each takes some pages, and the write-ahead log has to hold them
        with self._transaction() as connection:
            gone = connection.execute(
                f"SELECT seq FROM documents WHERE {condition} ORDER BY seq LIMIT ?",  # noqa: S608 - fixed texts
                (*values, *names, most),
            ).fetchall()
            connection.executemany("DELETE FROM bodies WHERE seq = ?", gone)
            columns.forget(connection, gone)
            connection.executemany("DELETE FROM retries WHERE seq = ?", gone)
            connection.executemany("UPDATE documents SET kept = 0 WHERE seq = ?", gone)
        return len(gone)
