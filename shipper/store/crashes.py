"""Crashes: the columns of the kept documents, for lists and reports that need no text.

One document of each transport brings a crash, so an incident may have several rows.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from kpanic.shipper import columns
from kpanic.shipper.store.columns import VALUES, restored
from kpanic.shipper.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kpanic.shipper.columns import Profile

__all__ = ["ALL", "Crash", "Crashes", "Selection", "Signature"]

SIGNATURE: Final = '"kernel.panic.signature.id"'
RECENT: Final = 1_000
"""Rows among which a selection is looked for first."""
ROWS: Final = 10_000
"""Rows that are taken from SQLite at once."""


class Crash(NamedTuple):
    """A row: one document of a crash."""

    at: int
    """Milliseconds since 1970 UTC."""
    incident: int
    """``seq`` of the incident's first document."""
    host: str
    profile: int
    seq: int


class Signature(NamedTuple):
    """The crashes of one signature."""

    id: str
    incidents: int
    hosts: int
    first: int
    """Milliseconds since 1970 UTC."""
    last: int


class Selection(NamedTuple):
    """Which crashes to return."""

    host: str | None = None
    """``host.name``."""
    since: int | None = None
    """From this time on, milliseconds since 1970 UTC."""
    until: int | None = None
    """Before this time."""
    fields: Mapping[str, str | bool] = MappingProxyType({})
    """Values of fields of :data:`~kpanic.shipper.columns.PROFILE`."""


ALL: Final = Selection()


class Crashes(Database):
    """What lists and reports ask for."""

    def crashes(self, skip: int = 0) -> Iterator[list[Crash]]:
        """Yield the rows of all crashes in lists: those of an incident together, the oldest incident first.

        :param skip: number of rows to leave out at the beginning.
        """
        query = (
            "SELECT at, first, host, profile, seq FROM crashes AS own ORDER BY"
            " iif(first = seq, at, coalesce((SELECT at FROM crashes WHERE seq = own.first), at)), first, at"
            " LIMIT -1 OFFSET ?"
        )
        with self._reading() as connection:
            cursor = connection.cursor()
            cursor.execute(query, (skip,))
            while rows := cursor.fetchmany(ROWS):
                yield list(map(Crash._make, rows))

    def newest_crashes(self, count: int, only: Selection = ALL) -> list[Crash]:
        """Return a row of each of the newest incidents, the newest first."""
        chosen: dict[int, Crash] = {}
        wanted = count
        while True:
            rows = self._newest(wanted, only)
            for row in rows:
                chosen.setdefault(row.incident, row)
            if len(chosen) >= count or len(rows) < wanted:
                return list(chosen.values())[:count]
            wanted *= 2

    def _newest(self, count: int, only: Selection) -> list[Crash]:
        """Return the newest rows."""
        values: dict[str, object] = {f"value{n}": value for n, value in enumerate(only.fields.values())}
        values |= {"count": count, "host": only.host, "since": only.since, "until": only.until}
        like = " AND ".join(f'"{name}" = :value{n}' for n, name in enumerate(only.fields))
        within = [
            *["at >= :since"] * (only.since is not None),
            *["at < :until"] * (only.until is not None),
            *["host = :host"] * (only.host is not None),
        ]
        where = " AND ".join(within) or "1"
        newest = "ORDER BY at DESC, seq DESC LIMIT :count"
        rows = "SELECT at, first, host, crashes.profile, seq FROM"
        queries = [f"{rows} crashes WHERE {where} {newest}"]
        if only.fields:
            # Most of what is asked for is among the newest rows. Else each profile is looked at, and no more
            # of its rows than are asked for: a fault may be common, or its crashes all old.
            recent = f"SELECT * FROM crashes WHERE {where} ORDER BY at DESC, seq DESC LIMIT {RECENT}"  # noqa: S608
            own = f"own.profile = profiles.profile AND {where}"
            of_each = f"SELECT seq FROM crashes AS own WHERE {own} {newest}"  # noqa: S608 - no word of others
            queries = [
                f"{rows} ({recent}) AS crashes JOIN profiles USING (profile) WHERE {like} {newest}",
                f"{rows} profiles CROSS JOIN crashes ON seq IN ({of_each}) WHERE {like} {newest}"
                if only.host is None
                else f"{rows} crashes JOIN profiles USING (profile) WHERE {where} AND {like} {newest}",
            ]
        found: list[Crash] = []
        with self._reading() as connection:
            for query in queries:
                found = list(map(Crash._make, connection.execute(query, values)))
                if len(found) == count:
                    break
        return found

    def signatures(self, only: str | None = None) -> list[Signature]:
        """Count the crashes of each signature, or of one; those of most incidents first.

        :param only: ``kernel.panic.signature.id``.
        """
        query = f"""
            SELECT {SIGNATURE}, count(DISTINCT first) AS incidents, count(DISTINCT nullif(host, '')), min(at),
            max(at)
            FROM profiles JOIN crashes USING (profile)
            WHERE {SIGNATURE} IS NOT NULL AND (:only IS NULL OR {SIGNATURE} = :only)
            GROUP BY {SIGNATURE} ORDER BY incidents DESC, {SIGNATURE}
        """  # noqa: S608 - fixed texts
        with self._reading() as connection:
            return list(map(Signature._make, connection.execute(query, {"only": only})))

    def incidents_by(self, column: Literal["host", "host.os.kernel"], signature: str) -> dict[str, int]:
        """Count the incidents of a signature by host or kernel, the most first."""
        query = f"""
            SELECT "{column}" AS key, count(DISTINCT first) AS incidents
            FROM profiles JOIN crashes USING (profile)
            WHERE {SIGNATURE} = ? AND key != '' GROUP BY key ORDER BY incidents DESC, key
        """  # noqa: S608 - fixed texts
        with self._reading() as connection:
            return dict(connection.execute(query, (signature,)).fetchall())

    def seen(self, signature: str, other_than: str) -> tuple[int, int | None]:
        """Count the incidents of a signature but one, and return the time of the newest (milliseconds).

        :param other_than: ``event.id`` of the one.
        """
        query = f"""
            SELECT count(DISTINCT first), max(at) FROM profiles JOIN crashes USING (profile)
            WHERE {SIGNATURE} = ? AND first NOT IN (SELECT seq FROM documents WHERE incident = ?)
        """  # noqa: S608 - fixed texts
        with self._reading() as connection:
            count, newest = connection.execute(query, (signature, other_than)).fetchone()
        return count, newest

    def profiles(self, only: Iterable[int] | None = None) -> dict[int, dict[str, Any]]:
        """Return profiles as parts of documents, by their number.

        :param only: the profiles to return, not all.
        """
        found = {}
        with self._reading() as connection:
            query = f"SELECT profile, {VALUES} FROM profiles"  # noqa: S608 - fixed texts
            if only is None:
                rows = connection.execute(query).fetchall()
            else:
                query = f"{query} WHERE profile = ?"
                rows = [row for one in only for row in connection.execute(query, (one,))]
            for number, *values in rows:
                profile: Profile = tuple(values)
                if columns.digest(profile) != number:
                    profile = restored(connection, number)
                found[number] = columns.nested(profile)
        return found

    def incident_ids(self, incidents: Sequence[int]) -> list[str]:
        """Return the ``event.id`` of incidents, each named by the ``seq`` of its first document."""
        with self._reading() as connection:
            found = (
                connection.execute(
                    "SELECT CAST(incident AS TEXT) FROM documents WHERE seq = ?", (one,)
                ).fetchone()
                for one in incidents
            )
            return [row[0] if row else "" for row in found]
