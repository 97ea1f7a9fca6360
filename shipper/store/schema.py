"""The tables, and the version of a file's schema.

- ``documents``: the ledger, one row for each document ever added, in the order of ``seq`` and without gaps.
  ``kept`` is 0 once its text has expired.
- ``bodies``: the text of each kept document, zstd with a checksum.
- ``sightings``: how each document's crash was seen (:class:`kpanic.shipper.identity.Sighting`), and the
  incident that it states by itself.
- ``outputs``: one row for each output. Documents up to ``cursor`` are settled but for ``retries``;
  ``cursor_copy`` is the same number, so that damage to one shows. ``sending`` is the last ``seq`` of a batch
  that was sent and is not settled.
- ``retries``: documents before the cursor to send to an output again; ``seq_copy`` is a copy as above.
- ``dead_letters``: documents that an output's receiver will never take.
- ``positions``: how far each input has read its sources, with a CRC-32 of the row.
- ``created``: when the store was made.
- ``incidents``: the first document of each incident, and whether one of its documents is fatal.
- ``crashes``: the columns of each kept document for lists and reports; ``first`` is the first ``seq`` of its
  incident.
- ``profiles``: the other fields of lists and reports (:data:`kpanic.shipper.columns.PROFILE`), once for all
  documents that agree in them. The number of a profile is a digest of its values.

``incidents``, ``crashes`` and ``profiles`` follow from the ledger and the texts.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """
    CREATE INDEX documents_expired ON documents (seq) WHERE NOT kept;
    DROP INDEX documents_incident;
    CREATE INDEX documents_incident ON documents (incident);
    CREATE TABLE incidents (
        first INTEGER PRIMARY KEY REFERENCES documents (seq),
        fatal INTEGER NOT NULL
    );
    CREATE INDEX incidents_fatal ON incidents (first) WHERE fatal;
    CREATE TABLE profiles (
        profile INTEGER PRIMARY KEY,
        "event.provider" TEXT,
        "event.reason" TEXT,
        "host.os.kernel" TEXT,
        "kernel.panic.cause" TEXT,
        "kernel.panic.fatal" INTEGER,
        "kernel.panic.function" TEXT,
        "kernel.panic.hardware.bios_version" TEXT,
        "kernel.panic.hardware.product" TEXT,
        "kernel.panic.kind" TEXT,
        "kernel.panic.parse.status" TEXT,
        "kernel.panic.rip.module" TEXT,
        "kernel.panic.rip.signature" TEXT,
        "kernel.panic.rip.symbol" TEXT,
        "kernel.panic.signature.id" TEXT,
        "kernel.panic.signature.quality" TEXT,
        "kernel.panic.taint.flags" TEXT,
        "kernel.panic.title" TEXT,
        "kernel.panic.vmcore.holder" TEXT,
        "kernel.panic.vmcore.lock" TEXT,
        "kernel.panic.vmcore.object" TEXT,
        "kernel.panic.vmcore.pointer" TEXT,
        "kernel.panic.vmcore.source" TEXT,
        "kernel.panic.vmcore.status" TEXT,
        "process.name" TEXT
    );
    CREATE INDEX profiles_kernel ON profiles ("host.os.kernel");
    CREATE INDEX profiles_cause ON profiles ("kernel.panic.cause");
    CREATE INDEX profiles_signature ON profiles ("kernel.panic.signature.id");
    CREATE TABLE crashes (
        seq INTEGER PRIMARY KEY REFERENCES documents (seq),
        at INTEGER NOT NULL,
        first INTEGER NOT NULL,
        host TEXT NOT NULL,
        profile INTEGER NOT NULL REFERENCES profiles (profile)
    );
    CREATE INDEX crashes_at ON crashes (at);
    CREATE INDEX crashes_host ON crashes (host, at);
    CREATE INDEX crashes_profile ON crashes (profile, at);
    """,
)
"""One script for each version of the schema; released scripts never change."""
WITH_COLUMNS = 2
"""First version in which documents have columns."""


def version(connection: sqlite3.Connection) -> int:
    """Return the version of a file's schema (``PRAGMA user_version``), 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, fill: Callable[[sqlite3.Connection], object]) -> None:
    """Bring a file to the newest version.

    :param fill: derives ``incidents``, ``crashes`` and ``profiles`` of the documents that a file has.
    """
    have = version(connection)
    for number, script in enumerate(MIGRATIONS[have:], have + 1):
        try:
            connection.executescript(f"BEGIN; {script}")
            if have and number == WITH_COLUMNS:
                fill(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether a file has no table."""
    return not _definitions(connection)


def is_marked(connection: sqlite3.Connection) -> bool:
    """Tell whether a file is marked as kpanic's."""
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
