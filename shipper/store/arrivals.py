"""Arrivals: the documents before one document, for rules that fire once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.shipper.api import Stored
from kpanic.shipper.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Arrivals"]

_GROUPS: Final = {
    "host.name": "crashes.host",
    "host.os.kernel": 'profiles."host.os.kernel"',
    "kernel.panic.signature.id": 'profiles."kernel.panic.signature.id"',
}
"""Fields that documents are grouped by."""
_COUNTED: Final = {"host.name": "crashes.host", "event.id": "crashes.first"}
"""Fields whose distinct values are counted."""


class Arrivals(Database):
    """Questions about the documents before one."""

    def added(self, seq: int) -> float:
        """Return when a document was added, seconds since 1970 UTC."""
        with self._reading() as connection:
            row = connection.execute("SELECT added FROM documents WHERE seq = ?", (seq,)).fetchone()
        return float(row[0])

    def is_first_of_signature(self, seq: int, signature: str, *, fatal: bool) -> bool:
        """Tell whether no document before one has its signature and its ``kernel.panic.fatal``."""
        with self._reading() as connection:
            return not connection.execute(
                "SELECT 1 FROM profiles JOIN crashes USING (profile)"
                ' WHERE "kernel.panic.signature.id" = ? AND "kernel.panic.fatal" = ? AND seq < ? LIMIT 1',
                (signature, fatal, seq),
            ).fetchone()

    def of_incident_before(self, seq: int, incident: str) -> list[int]:
        """Return the documents of an incident before one."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT seq FROM documents WHERE incident = ? AND seq < ? ORDER BY seq", (incident, seq)
            ).fetchall()
        return [row[0] for row in rows]

    def of_group_before(self, seq: int, group: tuple[str, str], counted: str, since: float) -> list[int]:
        """Return the documents of a group before one document: the first of each value and profile.

        :param group: a field and its value.
        :param counted: the field whose values count once each.
        :param since: seconds since 1970 UTC; only documents that were added after this moment count.
        """
        field, value = group
        query = f"""
            SELECT min(seq) FROM crashes JOIN profiles USING (profile) JOIN documents USING (seq)
            WHERE {_GROUPS[field]} = ? AND seq < ? AND added > ? AND {_COUNTED[counted]} != ''
            GROUP BY {_COUNTED[counted]}, profile ORDER BY 1
        """  # noqa: S608 - fixed texts
        with self._reading() as connection:
            return [row[0] for row in connection.execute(query, (value, seq, since))]

    def stored(self, seqs: Iterable[int]) -> Iterator[Stored]:
        """Yield documents whose text is kept."""
        for seq in seqs:
            with self._reading() as connection:
                row = connection.execute(
                    "SELECT id, body FROM bodies JOIN documents USING (seq) WHERE seq = ?", (seq,)
                ).fetchone()
            text = None if row is None else self._unpack(seq, row[1])
            if text is not None:
                yield Stored(seq, row[0], text)
