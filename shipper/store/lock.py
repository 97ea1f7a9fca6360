"""One process writes to a store: a file beside it is locked, and says which process that is."""

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
"""Stands in the file in place of a process if the store has to be set aside."""


class WriterLock:
    """The lock of a store, held until :meth:`release`.

    :param folder: descriptor of the store's folder.
    :param path: the lock's file.
    :raises StoreInUse: another process holds it.
    :raises StoreError: the file cannot be made.
    :ivar left_open: the last process to write did not close the store.
    :ivar left_damaged: the last process to write found the store damaged.
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
        """Write down which process writes, for others to say."""
        self._write(f"{os.getpid()}\n")

    def note_damage(self) -> None:
        """Have the next opening set the store aside."""
        self._write(f"{DAMAGED}\n")

    def release(self, *, clean: bool) -> None:
        """Let others write.

        :param clean: the store is closed and not known to be damaged.
        """
        with contextlib.suppress(OSError):  # the disk may be gone
            if clean:
                os.ftruncate(self._file, 0)
        os.close(self._file)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk does not keep the lock from holding
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode(), 0)


def writer(store: Path) -> str:
    """Return the process that writes to a store, as its lock's file names it; empty if none does."""
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
