"""The SQLite file: opening it, transactions on it, and SQLite's errors in the operator's words.

Durable means ``synchronous=FULL`` on a write-ahead log: once a transaction has returned, its changes survive
a power cut.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kpanic.shipper.store import schema
from kpanic.shipper.store.bodies import Bodies
from kpanic.shipper.store.columns import fill, mend
from kpanic.shipper.store.damage import (
    CHECKED_ALWAYS,
    check_columns,
    check_tables,
    check_whole,
    is_damage,
)
from kpanic.shipper.store.errors import StoreDamaged, StoreError, StoreFull
from kpanic.shipper.store.folder import ADVICE, make_private, own_folder, refuse_other_kinds
from kpanic.shipper.store.lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.shipper.store.salvage import Salvaged

__all__ = ["PAGE_SIZE", "Database"]

PAGE_SIZE = 8192
"""Bytes; a compressed document fits one page or two."""
LOG_PAGES = 512
"""Pages of the write-ahead log between two checkpoints; fewer on a small disk."""
BUSY_TIMEOUT = 30.0
"""Seconds that SQLite waits for another process."""

_ENDS = ("", "-wal", "-shm")
NO_STORE_YET = "{}: there is no store yet; 'kpanic ship' starts one"

OLDER = "{}: is of an older kpanic (schema {}); the next 'kpanic ship', or the service, brings it up to date"


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _say_nothing(_message: str) -> None:
    """Ignore a message."""


class Database:
    """The file, open. Its methods may be called from any thread.

    :param path: the SQLite file; its folder is created.
    :param readonly: take no lock and change nothing; the file must exist.
    :param warn: is called once if the text of a document is damaged.
    :raises StoreInUse: another process writes to it.
    :raises StoreError: the file cannot be opened.
    :ivar set_aside: the path to which a damaged file was moved at this opening; None if the file was intact.
    :ivar salvaged: what was taken over from that file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        readonly: bool = False,
        warn: Callable[[str], object] = _say_nothing,
    ) -> None:
        self.path = Path(path)
        self.set_aside: Path | None = None
        self.salvaged: Salvaged | None = None
        self._warn = warn
        self._bodies = Bodies()
        self._damaged_bodies: set[int] = set()
        self._guard = threading.RLock()
        self._lock: WriterLock | None = None
        self._readonly = readonly
        self._sound = True
        self._log_pages = LOG_PAGES
        if readonly:
            self._connection = self._open_to_read()
            return
        with own_folder(self.path.parent) as folder:
            self._lock = WriterLock(folder, self.path.with_name(f"{self.path.name}.lock"))
            try:
                self._connection = self._open_to_write(folder, self._lock)
            except BaseException:
                self._lock.release(clean=False)
                raise

    def size(self) -> int:
        """Return the bytes of the store's files."""
        size = 0
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):  # the last process to close it removes the log
                size += path.stat().st_size
        return size

    def close(self) -> None:
        """Close the file and let others write."""
        with self._guard:
            self._connection.close()
            if self._lock is not None:
                lock, self._lock = self._lock, None
                lock.release(clean=self._sound)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- transactions ------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction, which is durable at the end of the context.

        :raises StoreError: nothing was written.
        """
        with self._guard, self._translated_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._guard, self._translated_errors():
            yield self._connection

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if is_damage(error, writable=self._writable()):
                raise self._damage(str(error)) from error
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                self._leave_room(self._connection)  # the disk may have more room by the next try
                raise StoreFull(
                    f"{self.path}: {error}; nothing that was kept is lost; make room on its disk"
                ) from error
            raise StoreError(f"{self.path}: {error}; nothing that was kept is lost") from error

    def _damage(self, what: str) -> StoreDamaged:
        """Have the next opening set the file aside, and return the error to raise."""
        self._sound = False
        if self._lock is not None:
            self._lock.note_damage()
        return StoreDamaged(f"{self.path}: is damaged ({what}); run again: it is set aside then")

    def _unpack(self, seq: int, body: object) -> bytes | None:
        """Return a document's text; None if it is damaged. The first damaged text causes a warning."""
        text = self._bodies.unpack(body)
        if text is None and seq not in self._damaged_bodies:
            if not self._damaged_bodies:
                self._warn(
                    f"{self.path}: the text of a document is damaged and left out, of others perhaps too"
                )
            self._damaged_bodies.add(seq)
        return text

    def _writable(self) -> bool:
        paths = (self.path, self.path.parent)
        return not self._readonly and all(os.access(path, os.W_OK, effective_ids=True) for path in paths)

    # --- opening -----------------------------------------------------------------------------------

    def _files(self) -> list[Path]:
        return [_beside(self.path, end) for end in _ENDS]

    def _open_to_read(self) -> sqlite3.Connection:
        try:
            mode = os.lstat(self.path).st_mode
        except (OSError, ValueError) as error:
            if isinstance(error, PermissionError):
                raise StoreError(f"{self.path}: cannot be read by this user: {error.strerror}") from None
            raise StoreError(NO_STORE_YET.format(self.path)) from None
        refuse_other_kinds(self.path, mode)
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        if not self._files()[1].exists() and not os.access(self.path.parent, os.W_OK, effective_ids=True):
            uri += "&immutable=1"  # there is no writer, and SQLite could not make the file that readers share
        try:
            connection = self._connected(uri, uri=True)
            version = self._examine(connection)
            if not version:
                raise StoreError(NO_STORE_YET.format(self.path))
            if version < len(schema.MIGRATIONS):
                raise StoreError(OLDER.format(self.path, version))
            if self.size() <= CHECKED_ALWAYS:
                check_columns(connection)
        except sqlite3.DatabaseError as error:
            if not is_damage(error, writable=self._writable()):
                raise StoreError(f"{self.path}: cannot be read by this user: {error}") from None
            raise StoreDamaged(
                f"{self.path}: is damaged ({error}); the next 'kpanic ship' sets it aside, starts a new one"
            ) from None
        return connection

    def _open_to_write(self, folder: int, lock: WriterLock) -> sqlite3.Connection:
        """Open the file; a damaged one is moved aside, and its readable content goes into a new one."""
        for path in self._files()[1:]:
            if os.path.lexists(path):
                make_private(folder, path)
        try:
            if not lock.left_damaged:
                make_private(folder, self.path)
                return self._connect_to_write(self.path, thoroughly=lock.left_open)
        except sqlite3.DatabaseError as error:
            if not is_damage(error, writable=self._writable()):
                raise StoreError(f"{self.path}: cannot be opened: {error}") from None
        return self._start_anew(folder, lock)

    def _start_anew(self, folder: int, lock: WriterLock) -> sqlite3.Connection:
        """Copy the readable content of a damaged file into a new file, then replace the damaged one.

        :raises StoreError: it is not possible now; the damaged file stays where it is.
        """
        from kpanic.shipper.store.salvage import salvage  # noqa: PLC0415 - a rare need

        lock.note_damage()
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            for end in _ENDS:
                _beside(new, end).unlink(missing_ok=True)
            make_private(folder, new)
            with contextlib.closing(self._connect_to_write(new)) as connection:
                self.salvaged = salvage(self.path, connection, PAGE_SIZE)
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            names = (
                f"{self.path.name}.damaged-{stamp}{end}" for end in ("", *(f"-{n}" for n in range(2, 100)))
            )
            aside = next(path for path in map(self.path.with_name, names) if not os.path.lexists(path))
            aside.hardlink_to(self.path)
            for end in _ENDS[1:]:  # before the new file exists, to which they do not belong
                with contextlib.suppress(FileNotFoundError):
                    _beside(self.path, end).rename(_beside(aside, end))
            new.replace(self.path)
            self.set_aside = aside
            connection = self._connect_to_write(self.path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{self.path}: is damaged, and a new one cannot be started: {error}; make room on its disk"
            ) from None
        lock.note_use()
        return connection

    def _connect_to_write(self, path: Path, *, thoroughly: bool = False) -> sqlite3.Connection:
        connection = self._connected(str(path))
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            if self._examine(connection):
                check_whole(connection, path, thoroughly=thoroughly)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._leave_room(connection)
            schema.migrate(connection, fill)
            check_tables(connection)
            mend(connection)
            connection.execute("PRAGMA shrink_memory")  # the pages that the checks have read
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _connected(name: str, *, uri: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            name, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT, uri=uri
        )
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        return connection

    def _examine(self, connection: sqlite3.Connection) -> int:
        """Return the version of the file's schema, 0 for a new file.

        :raises sqlite3.DatabaseError: the file is damaged.
        :raises StoreError: it has a later schema, or is another program's.
        """
        version = schema.version(connection)
        if not version and schema.is_empty(connection):
            return 0
        newest = schema.is_of(connection, len(schema.MIGRATIONS))
        if not newest and not schema.is_marked(connection):
            raise StoreError(f"{self.path}: is not kpanic's; {ADVICE}")
        if not newest and version > len(schema.MIGRATIONS):
            raise StoreError(f"{self.path}: is of a newer kpanic (schema {version}); update this one")
        if not schema.is_of(connection, version):
            raise sqlite3.DatabaseError("its tables are not as they were made")
        return version

    def _leave_room(self, connection: sqlite3.Connection) -> None:
        """Let the file grow only so far that a full disk can still be worked off.

        SQLite can neither delete nor checkpoint where the disk itself is full. It can do both where
        ``max_page_count`` is reached.
        """
        disk = os.statvfs(self.path.parent)
        free = disk.f_bavail * disk.f_frsize + self.size()
        log = max(16, min(LOG_PAGES, free // PAGE_SIZE // 16))
        self._log_pages = log
        connection.execute(f"PRAGMA wal_autocheckpoint = {log}")
        connection.execute(f"PRAGMA journal_size_limit = {log * PAGE_SIZE}")
        connection.execute(f"PRAGMA max_page_count = {max(16, free // PAGE_SIZE - 4 * log)}")
