"""Writes the columns of documents: ``incidents``, ``crashes`` and ``profiles``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from kpanic.shipper.columns import NO_PROFILE, PROFILE, Columns, Profile, columns, digest
from kpanic.shipper.store import incidents
from kpanic.shipper.store.bodies import Bodies

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = ["VALUES", "derive", "distinct", "fill", "forget", "mend", "note", "restored"]

TRIED: Final = 20
"""Maximum texts that are read to restore a damaged profile."""
VALUES: Final = ", ".join(f'"{name}"' for name in PROFILE)
_PLACES: Final = ", ".join("?" * len(PROFILE))


def distinct(column: str) -> str:
    """Return a query of the distinct values of an indexed column of ``crashes``, each by the index."""
    return f"""
        WITH RECURSIVE known (value) AS (
            SELECT min({column}) FROM crashes
            UNION ALL SELECT (SELECT min({column}) FROM crashes WHERE {column} > known.value) FROM known
            WHERE known.value IS NOT NULL
        )
        SELECT value AS {column} FROM known WHERE value IS NOT NULL
    """


def note(connection: sqlite3.Connection, seq: int, first: int, found: Columns) -> None:
    """Add the columns of a document.

    :param first: ``seq`` of the first document of its incident.
    """
    profile = digest(found.profile)
    connection.execute(
        f"INSERT OR IGNORE INTO profiles VALUES (?, {_PLACES})",
        (profile, *found.profile),
    )
    connection.execute(
        "INSERT INTO crashes VALUES (?, ?, ?, ?, ?)", (seq, found.at, first, found.host, profile)
    )


def forget(connection: sqlite3.Connection, seqs: Iterable[tuple[int]]) -> None:
    """Delete the columns of documents, and the profiles that no other document has."""
    for (seq,) in seqs:
        row = connection.execute("SELECT profile FROM crashes WHERE seq = ?", (seq,)).fetchone()
        connection.execute("DELETE FROM crashes WHERE seq = ?", (seq,))
        if row is not None:
            connection.execute(
                "DELETE FROM profiles WHERE profile = ?1"
                " AND NOT EXISTS (SELECT 1 FROM crashes WHERE profile = ?1)",
                row,
            )


def derive(connection: sqlite3.Connection, seq: int, incident: str, text: bytes | None) -> None:
    """Add the columns of a document of the ledger from its text.

    :param text: None if it is damaged: its columns are empty.
    """
    first = incidents.first(connection, incident)
    note(connection, seq, seq if first is None else first, _columns(text))


def fill(connection: sqlite3.Connection) -> None:
    """Derive the columns of all documents in a store without columns."""
    incidents.count_all(connection)
    unpack = Bodies().unpack
    rows = connection.execute(
        "SELECT seq, CAST(incident AS TEXT), body FROM documents JOIN bodies USING (seq)"
    )
    for seq, incident, body in rows:
        derive(connection, seq, incident, unpack(body))


def restored(connection: sqlite3.Connection, number: int) -> Profile:
    """Return the values of a profile from the text of a document that has it; none if unreadable."""
    unpack = Bodies().unpack
    query = "SELECT body FROM crashes JOIN bodies USING (seq) WHERE profile = ? LIMIT ?"
    for (body,) in connection.execute(query, (number, TRIED)):
        profile = _columns(unpack(body)).profile
        if digest(profile) == number:
            return profile
    return NO_PROFILE


def mend(connection: sqlite3.Connection) -> None:
    """Restore damaged profiles: those whose values do not match their number."""
    for number in connection.execute(distinct("profile")).fetchall():
        row = connection.execute(f"SELECT {VALUES} FROM profiles WHERE profile = ?", number).fetchone()
        if row is None or digest(row) != number[0]:
            connection.execute(
                f"INSERT OR REPLACE INTO profiles VALUES (?, {_PLACES})",
                (*number, *restored(connection, *number)),
            )


def _columns(text: bytes | None) -> Columns:
    try:
        document = msgspec.json.decode(text or b"{}", type=dict[str, Any])
    except msgspec.MsgspecError:
        return Columns(0, "", NO_PROFILE)
    return columns(document)
