"""Limits a store to one writing process: a file beside the store is locked and names that process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from kpanic.shipper.store.errors import StoreError, StoreInUse
from kpanic.shipper.store.folder import refuse_other_kinds

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WriterLock", "writer"]

DAMAGED = "damaged"
"""Content of the file instead of a process if the store has to be set aside."""


class WriterLock:
    """The lock of a store, held until :meth:`release`.

    :param folder: descriptor of the store's folder.
    :param path: the lock's file.
    :raises StoreInUse: another process holds it.
    :raises StoreError: the file cannot be made.
    :ivar left_open: whether the last writing process did not close the store.
    :ivar left_damaged: whether the last writing process found the store damaged.
    """

    def __init__(self, folder: int, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._file = os.open(path.name, flags, 0o600, dir_fd=folder)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; set path.data to a folder of your own") from None
        try:
            refuse_other_kinds(path, os.fstat(self._file).st_mode)
        except StoreError:
            os.close(self._file)
            raise
        holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise StoreInUse(
                f"{path.with_suffix('')}: process {holder or 'unknown'} is writing to this store;"
                " wait for it or stop it"
            ) from None
        os.fchmod(self._file, 0o600)
        self.left_open = bool(holder)
        self.left_damaged = holder == DAMAGED
        if not self.left_damaged:
            self.note_use()

    def note_use(self) -> None:
        """Write the number of this process into the file, for other processes' messages."""
        self._write(f"{os.getpid()}\n")

    def note_damage(self) -> None:
        """Mark the store as damaged, so that the next opening sets it aside."""
        self._write(f"{DAMAGED}\n")

    def release(self, *, clean: bool) -> None:
        """Release the lock.

        :param clean: the store is closed and not known to be damaged.
        """
        with contextlib.suppress(OSError):  # the disk may be gone
            if clean:
                os.ftruncate(self._file, 0)
        os.close(self._file)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the lock holds on a full disk too
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode(), 0)


def writer(store: Path) -> str:
    """Return the process that writes to a store, from the lock's file; empty if there is none."""
    try:
        file = os.open(
            store.with_name(f"{store.name}.lock"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return ""
    try:
        holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder or "unknown"
    finally:
        os.close(file)
    return ""
