"""Crashes: the columns of the kept documents, for lists and reports that need no text.

One document of each transport brings a crash, so an incident may have several rows.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from kpanic.shipper import columns
from kpanic.shipper.store.columns import VALUES, distinct, restored
from kpanic.shipper.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kpanic.shipper.columns import Profile

__all__ = ["ALL", "Crash", "Crashes", "Selection", "Signature"]

SIGNATURE: Final = '"kernel.panic.signature.id"'
_WILDCARDS: Final = frozenset("*?[")
_ROW: Final = "at, first, crashes.host, crashes.profile, seq"
RECENT: Final = 1_000
"""Newest rows that are searched first."""
ROWS: Final = 10_000
"""Rows that SQLite returns at once."""


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
    """Which crashes to return. A text with ``*``, ``?`` or ``[`` is a pattern."""

    host: str = ""
    """``host.name``; empty for any."""
    since: int | None = None
    """First moment, milliseconds since 1970 UTC."""
    until: int | None = None
    """End of the time, exclusive, milliseconds since 1970 UTC."""
    fields: Mapping[str, str | bool] = MappingProxyType({})
    """Values of fields of :data:`~kpanic.shipper.columns.PROFILE`."""

    def values(self) -> dict[str, object]:
        """Return the values of the conditions' parameters."""
        given: dict[str, object] = {"since": self.since, "until": self.until, "host": self.host}
        given |= {f"value{n}": value for n, value in enumerate(self.fields.values())}
        return {
            key: value.replace("[!", "[^") if _is_pattern(value) else value  # type: ignore[attr-defined] # a text
            for key, value in given.items()
        }

    def of_times(self) -> str:
        """Return the conditions on the time of a row of ``crashes``."""
        since, until = self.since is not None, self.until is not None
        return _all(["at >= :since"] * since + ["at < :until"] * until)

    def of_rows(self) -> str:
        """Return the conditions on a row of ``crashes``."""
        return _all([self.of_times(), *[_compared("host", self.host, "host")] * bool(self.host)])

    def of_profiles(self) -> str:
        """Return the conditions on a row of ``profiles``.

        :raises ValueError: a field has no column; SQLite would read its name as a text.
        """
        if unknown := self.fields.keys() - set(columns.PROFILE):
            raise ValueError(f"no column: {', '.join(sorted(unknown))}")
        fields = enumerate(self.fields.items())
        return _all([_compared(f'"{name}"', value, f"value{n}") for n, (name, value) in fields])


def _is_pattern(value: object) -> bool:
    return isinstance(value, str) and not _WILDCARDS.isdisjoint(value)


def _compared(column: str, value: object, name: str) -> str:
    return f"{column} {'GLOB' if _is_pattern(value) else '='} :{name}"


def _all(conditions: list[str]) -> str:
    return " AND ".join(conditions) or "1"


ALL: Final = Selection()


class _Hosts(dict[bytes, str]):
    """Names of hosts, each decoded once."""

    def __missing__(self, name: bytes) -> str:
        self[name] = decoded = name.decode("utf-8", "replace")
        return decoded


class Crashes(Database):
    """The queries of lists and reports."""

    def crashes(self, skip: int = 0) -> Iterator[list[tuple[int, int, str, int, int]]]:
        """Yield lists with the rows of all crashes: those of an incident together, the oldest incident first.

        The rows are plain tuples of :class:`Crash`'s fields, because there may be millions.

        :param skip: number of rows to leave out at the beginning.
        """
        hosts = _Hosts()
        query = (
            "SELECT at, first, CAST(host AS BLOB), profile, seq FROM crashes AS own ORDER BY"
            " iif(first = seq, at, coalesce((SELECT at FROM crashes WHERE seq = own.first), at)), first, at"
        )
        with self._reading() as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            deque(islice(cursor, skip), maxlen=0)  # with OFFSET, SQLite's sort takes three times as long
            while rows := cursor.fetchmany(ROWS):
                yield [(at, first, hosts[host], profile, seq) for at, first, host, profile, seq in rows]

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
        """Return the newest rows.

        Most selections match among the newest rows of all. Else each matching host or profile is read, but no
        more of its rows than are asked for: a fault may be common, or its crashes all old.
        """
        newest = "ORDER BY at DESC, seq DESC LIMIT :count"
        rows, like = only.of_rows(), only.of_profiles()
        recent = f"SELECT * FROM crashes WHERE {rows} ORDER BY at DESC, seq DESC LIMIT {RECENT}"
        queries = [
            f"SELECT {_ROW} FROM ({recent}) AS crashes JOIN profiles USING (profile) WHERE {like} {newest}"
        ]
        if only.host:
            hosts = f"SELECT host FROM ({distinct('host')}) WHERE {_compared('host', only.host, 'host')}"
            of_each = f"""
                SELECT seq FROM crashes AS own JOIN profiles USING (profile)
                WHERE own.host = hosts.host AND {only.of_times()} AND {like} {newest}
            """
            source = f"({hosts}) AS hosts"
        else:
            of_each = f"""
                SELECT seq FROM crashes AS own WHERE own.profile = chosen.profile AND {rows} {newest}
            """
            source = f"(SELECT profile FROM profiles WHERE {like}) AS chosen"
        queries.append(f"SELECT {_ROW} FROM {source} CROSS JOIN crashes ON seq IN ({of_each}) {newest}")
        found: list[Crash] = []
        with self._reading() as connection:
            for query in queries:
                found = list(map(Crash._make, connection.execute(query, only.values() | {"count": count})))
                if len(found) == count:
                    break
        return found

    def each_crash(self, only: Selection = ALL) -> Iterator[Crash]:
        """Yield the rows of all crashes, the newest first."""
        query = (
            f"SELECT {_ROW} FROM crashes CROSS JOIN profiles USING (profile)"
            f" WHERE {only.of_rows()} AND {only.of_profiles()} ORDER BY at DESC, seq DESC"
        )
        with self._reading() as connection:
            for row in connection.execute(query, only.values()):
                yield Crash._make(row)

    def crashes_of(self, incident: int) -> list[Crash]:
        """Return the rows of an incident, the newest first."""
        query = (
            f"SELECT {_ROW} FROM documents JOIN crashes USING (seq)"
            " WHERE incident = (SELECT incident FROM documents WHERE seq = ?) ORDER BY at DESC, seq DESC"
        )
        with self._reading() as connection:
            return list(map(Crash._make, connection.execute(query, (incident,))))

    def count_incidents(self, only: Selection = ALL) -> int:
        """Return the number of incidents."""
        query = (
            "SELECT count(DISTINCT first) FROM profiles JOIN crashes USING (profile)"
            f" WHERE {only.of_rows()} AND {only.of_profiles()}"
        )
        with self._reading() as connection:
            return int(connection.execute(query, only.values()).fetchone()[0])

    def signatures(self, only: str | None = None) -> list[Signature]:
        """Count the crashes of each signature, or of one signature; the one with most incidents comes first.

        :param only: ``kernel.panic.signature.id``.
        """
        query = f"""
            SELECT {SIGNATURE}, count(DISTINCT first) AS incidents, count(DISTINCT nullif(host, '')), min(at),
            max(at)
            FROM profiles JOIN crashes USING (profile)
            WHERE {SIGNATURE} IS NOT NULL AND (:only IS NULL OR {SIGNATURE} = :only)
            GROUP BY {SIGNATURE} ORDER BY incidents DESC, {SIGNATURE}
        """
        with self._reading() as connection:
            return list(map(Signature._make, connection.execute(query, {"only": only})))

    def incidents_by(self, column: Literal["host", "host.os.kernel"], signature: str) -> dict[str, int]:
        """Count the incidents of a signature by host or kernel, the largest count first."""
        query = f"""
            SELECT "{column}" AS key, count(DISTINCT first) AS incidents
            FROM profiles JOIN crashes USING (profile)
            WHERE {SIGNATURE} = ? AND key != '' GROUP BY key ORDER BY incidents DESC, key
        """
        with self._reading() as connection:
            return dict(connection.execute(query, (signature,)).fetchall())

    def seen(self, signature: str, other_than: str) -> tuple[int, int | None]:
        """Count the incidents of a signature except one, and return the time of the newest (milliseconds).

        :param other_than: ``event.id`` of the excepted incident.
        """
        query = f"""
            SELECT count(DISTINCT first), max(at) FROM profiles JOIN crashes USING (profile)
            WHERE {SIGNATURE} = ? AND first NOT IN (SELECT seq FROM documents WHERE incident = ?)
        """
        with self._reading() as connection:
            count, newest = connection.execute(query, (signature, other_than)).fetchone()
        return count, newest

    def profiles(self, only: Iterable[int] | None = None) -> dict[int, dict[str, Any]]:
        """Return profiles as parts of documents, by their number.

        :param only: the profiles to return; by default all.
        """
        found = {}
        with self._reading() as connection:
            query = f"SELECT profile, {VALUES} FROM profiles"
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
