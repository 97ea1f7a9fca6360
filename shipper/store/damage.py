"""Finds damage, by SQLite's own errors and by checks that the tables agree.

The store handles damage in three ways. A document whose text fails its checksum is lost and becomes a dead
letter. Where a position fails its checksum, the source is read from its start again: the ledger knows what
was read. All other damage raises ``sqlite3.DatabaseError``: the file is set aside, and
:mod:`~kpanic.shipper.store.salvage` takes over what can be read.
"""

from __future__ import annotations

import sqlite3
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CHECKED_ALWAYS", "check_columns", "check_tables", "check_whole", "is_damage", "position_checksum"]

CHECKED_ALWAYS = 16_000_000
"""Maximum bytes of a file that is read whole at every opening; a larger file is, only if it was not closed.
"""
SMALL_TABLES = ("outputs", "retries", "dead_letters", "positions", "created")

_ENVIRONMENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
"""Result codes about the disk, the user or another process: https://sqlite.org/rescode.html."""


def is_damage(error: sqlite3.Error, *, writable: bool) -> bool:
    """Tell whether an error of a fixed statement means that the file is damaged.

    :param writable: whether this process may write to the file; a header that forbids writing is then
        damaged.
    """
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    code = getattr(error, "sqlite_errorcode", None)  # None: Python's own error, about a value of another type
    if code is not None and code & 0xFF == sqlite3.SQLITE_READONLY:
        return writable
    return code is None or code & 0xFF not in _ENVIRONMENT


def check_whole(connection: sqlite3.Connection, path: Path, *, thoroughly: bool) -> None:
    """Read every page of a file; of a large file only the small tables' pages unless ``thoroughly``.

    :raises sqlite3.DatabaseError: it is damaged.
    """
    if thoroughly or path.stat().st_size <= CHECKED_ALWAYS:
        _quick_check(connection, "1")
        check_columns(connection)
        return
    for table in SMALL_TABLES:
        _quick_check(connection, table)


def check_columns(connection: sqlite3.Connection) -> None:
    """Check that the columns with which lists and reports calculate hold valid numbers.

    :raises sqlite3.DatabaseError: one holds something else.
    """
    if connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'crashes')").fetchone()[0]:
        for table, wrong in _WRONG_VALUES.items():
            query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {wrong})"  # noqa: S608 - fixed texts
            if connection.execute(query).fetchone()[0]:
                raise sqlite3.DatabaseError(f"the columns of {table} hold what they cannot")


_WRONG_VALUES = {
    "crashes": "typeof(at) != 'integer' OR at NOT BETWEEN -62135596800000 AND 253402300799999"
    " OR typeof(first) != 'integer' OR typeof(host) != 'text' OR typeof(profile) != 'integer'",
    "incidents": "typeof(first) != 'integer' OR typeof(fatal) != 'integer'",
}
"""The time is of the years 1 to 9999, in milliseconds since 1970."""


def _quick_check(connection: sqlite3.Connection, argument: str) -> None:
    found = connection.execute(f"PRAGMA quick_check({argument})").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def check_tables(connection: sqlite3.Connection) -> None:
    """Check that the tables agree, so that no document is skipped silently.

    :raises sqlite3.DatabaseError: they do not agree.
    """
    for what, query in _DISAGREEMENTS.items():
        if connection.execute(query).fetchone()[0]:
            raise sqlite3.DatabaseError(what)
    orphan = connection.execute("PRAGMA foreign_key_check(retries)").fetchone()
    if orphan is not None:
        raise sqlite3.DatabaseError("it lists a retry without a document")


_LAST = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'documents'), 0)"
_DISAGREEMENTS = {
    "its last document is missing": (
        f"SELECT coalesce(max(seq), 0) IS NOT {_LAST} FROM documents"  # noqa: S608 - fixed texts
    ),
    "the position of an output is damaged": (
        f"SELECT EXISTS (SELECT 1 FROM outputs WHERE cursor NOT BETWEEN 0 AND {_LAST}"  # noqa: S608 - likewise
        " OR cursor != cursor_copy OR typeof(cursor) != 'integer'"
        " OR typeof(name) != 'text' OR typeof(delivered) != 'integer'"
        " OR typeof(last_delivery) NOT IN ('real', 'null') OR typeof(trouble) != 'text'"
        " OR typeof(trouble_since) NOT IN ('real', 'null') OR typeof(sending) NOT IN ('integer', 'null'))"
    ),
    "the list of retries is damaged": (
        "SELECT EXISTS (SELECT 1 FROM retries WHERE seq IS NOT seq_copy OR typeof(seq) != 'integer')"
    ),
    "the time of its creation is damaged": "SELECT count(*) != 1 OR min(typeof(at)) != 'real' FROM created",
}


def position_checksum(input_name: str, key: str, value: str) -> int:
    """Return the CRC-32 of a position."""
    return zlib.crc32(f"{input_name}\0{key}\0{value}".encode("utf-8", "surrogatepass"))
