"""Checks that the store's folder and files belong to the writing user, and no other may exchange them."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kpanic.shipper.files import open_folder
from kpanic.shipper.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ADVICE", "make_private", "own_folder", "refuse_other_kinds"]

ADVICE = "set path.data to a folder of your own"
NOBODY = 65534
"""Owner shown for users outside this user namespace (/proc/sys/kernel/overflowuid)."""


@contextmanager
def own_folder(path: Path, advice: str = ADVICE) -> Iterator[int]:
    """Make a folder if it is missing, and yield its descriptor.

    :param advice: what the operator can do if it cannot be used.
    :raises StoreError: it cannot be made, belongs to another user, or others may write to it or its parents.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = open_folder(str(path))
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}; {advice}") from None
    except ValueError:  # a NUL, half a surrogate pair
        raise StoreError(f"{path}: cannot be the name of a folder; {advice}") from None
    try:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid():
            raise StoreError(f"{path}: belongs to another user (uid {status.st_uid}); {advice}")
        if status.st_mode & 0o022:
            raise StoreError(f"{path}: others may write to it; 'chmod go-w' it, or {advice}")
        for above in {*path.absolute().parents, *path.resolve().parents}:
            _refuse_shared(above, advice)
        yield folder
    finally:
        os.close(folder)


def _refuse_shared(folder: Path, advice: str) -> None:
    """Refuse a folder above the store's whose entries other users may exchange.

    :raises StoreError: other users may exchange its entries.
    """
    status = folder.stat()
    theirs = status.st_uid not in {0, os.geteuid(), NOBODY}
    if theirs or (status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX):
        raise StoreError(f"{folder}: other users may replace its files; {advice}")


def make_private(folder: int, path: Path) -> None:
    """Create an empty file of the store, or make one that exists unreadable for others.

    An existing file is not opened: closing it would release this process's SQLite locks on it.

    :raises StoreError: it is a link, not a file, or another user's.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(path.name, flags, 0o600, dir_fd=folder))
    except FileExistsError:
        status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        refuse_other_kinds(path, status.st_mode)
        if status.st_uid != os.geteuid():
            raise StoreError(f"{path}: belongs to another user (uid {status.st_uid}); {ADVICE}") from None
        if status.st_mode & 0o137:  # a group that may read, by the operator's choice, keeps that right
            os.chmod(path.name, status.st_mode & 0o640, dir_fd=folder)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}; {ADVICE}") from None


def refuse_other_kinds(path: Path, mode: int) -> None:
    """Refuse anything but a regular file.

    :param mode: as of ``lstat``, so that links show.
    :raises StoreError: it is something else.
    """
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: is {'a link' if stat.S_ISLNK(mode) else 'no file'}; {ADVICE}")
