"""The tables, and the version of a file's schema.

- ``documents``: the ledger, one row for each document ever added, in the order of ``seq`` and without gaps.
  ``kept`` is 0 once its text has expired.
- ``bodies``: the text of each kept document, zstd with a checksum.
- ``sightings``: how each document's crash was seen (:class:`kpanic.shipper.identity.Sighting`), and the
  incident that it states by itself.
- ``outputs``: one row for each output. Documents up to ``cursor`` are settled but for ``retries``;
  ``cursor_copy`` is the same number, so that damage to one shows. ``sending`` is the last ``seq`` of a batch
  that was sent and is not settled.
- ``retries``: documents before the cursor that an output has to be sent again; ``seq_copy`` as above.
- ``dead_letters``: documents that an output's receiver will never take.
- ``positions``: how far each input has read its sources, with a CRC-32 of the row.
- ``created``: when the store was made.
"""

from __future__ import annotations

import sqlite3
from functools import cache

__all__ = ["MIGRATIONS", "is_empty", "is_marked", "is_of", "migrate", "version"]

APPLICATION_ID = int.from_bytes(b"kpnc")
"""Marks a file as kpanic's (``PRAGMA application_id``)."""

MIGRATIONS = (
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
        cursor_copy INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0,
        last_delivery REAL,
        trouble TEXT NOT NULL DEFAULT '',
        trouble_since REAL,
        sending INTEGER
    );
    CREATE TABLE retries (
        output TEXT NOT NULL REFERENCES outputs (name),
        seq INTEGER NOT NULL REFERENCES documents (seq),
        seq_copy INTEGER NOT NULL,
        reason TEXT NOT NULL,
        tried REAL NOT NULL,
        PRIMARY KEY (output, seq)
    ) WITHOUT ROWID;
    CREATE TABLE dead_letters (
        output TEXT NOT NULL REFERENCES outputs (name),
        seq INTEGER NOT NULL REFERENCES documents (seq),
        reason TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (output, seq)
    ) WITHOUT ROWID;
    CREATE TABLE positions (
        input TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (input, key)
    ) WITHOUT ROWID;
    CREATE TABLE sightings (
        seq INTEGER PRIMARY KEY REFERENCES documents (seq),
        stated TEXT NOT NULL,
        host TEXT NOT NULL,
        printed TEXT NOT NULL,
        provider TEXT NOT NULL,
        at REAL NOT NULL,
        timed INTEGER NOT NULL
    );
    CREATE INDEX sightings_stated ON sightings (stated);
    CREATE INDEX sightings_printed ON sightings (printed, host, at);
    CREATE TABLE created (at REAL NOT NULL);
    INSERT INTO created VALUES ((julianday('now') - 2440587.5) * 86400.0);
    """,
)
"""One script for each version of the schema; a script of a release is never changed."""


def version(connection: sqlite3.Connection) -> int:
    """Return the version of a file's schema (``PRAGMA user_version``), 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to the newest version."""
    have = version(connection)
    for number, script in enumerate(MIGRATIONS[have:], have + 1):
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}"
        connection.executescript(f"BEGIN; {script}; {marks}; COMMIT;")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether a file has no table."""
    return not _definitions(connection)


def is_marked(connection: sqlite3.Connection) -> bool:
    """Tell whether a file says that it is kpanic's."""
    return bool(connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID)


def is_of(connection: sqlite3.Connection, number: int) -> bool:
    """Tell whether a file has exactly the schema of version ``number``."""
    return _definitions(connection) == _expected(number)


def _definitions(connection: sqlite3.Connection) -> frozenset[tuple[object, ...]]:
    return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall())


@cache
def _expected(number: int) -> frozenset[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:")
    for script in MIGRATIONS[:number]:
        connection.executescript(script)
    found = _definitions(connection)
    connection.close()
    return found
