"""Folders of logs: which of their files are read.

In a folder that kdump made, only its logs are read: beside them lie the dump itself and the log of the
capture kernel. Elsewhere every regular file is read. Links to folders are not followed: there are no loops.

A folder may change while it is read: kdump renames its files, logrotate others. A file that is gone is looked
for under another name.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.shipper.files import open_folder
from kpanic.shipper.inputs import kdump_names
from kpanic.shipper.inputs.log_file import STANDARD_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Found", "open_folder_below", "walk", "walk_folders"]

LOOKS: Final = 3
"""Maximum times that a folder is listed while its files are being renamed."""


class Found(Struct, frozen=True):
    """A file to read, or a path and what is wrong with it."""

    path: str
    fault: str = ""
    state: str = ""
    """What changes with the file's content, such as size and ETag; empty if unknown, and for local files."""
    size: int = 0
    """Bytes; 0 if unknown."""


def _ignore(_: OSError) -> None:
    """Ignore an error."""


def walk_folders(path: str, refused: Callable[[OSError], None] = _ignore) -> Iterator[tuple[str, list[str]]]:
    """Yield ``path`` and every folder below it, by name, each with the names of its files.

    As ``os.walk`` does, but to any depth.

    :param refused: receives the error where a folder cannot be read.
    """
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        below: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        names.append(entry.name)
                    elif not entry.is_symlink():
                        below.append(entry.path)
        except OSError as error:
            refused(error)
            continue
        yield folder, names
        waiting += sorted(below, reverse=True)


def open_folder_below(root: str, folder: str) -> int:
    """Return a descriptor of a folder of :func:`walk_folders`, following no link below ``root``.

    :raises OSError: it cannot be opened, or a link stands on the way.
    """
    descriptor = open_folder(root)
    for name in folder[len(root) :].split("/"):
        if name:
            above = descriptor
            try:
                descriptor = open_folder(name, beneath=above)
            finally:
                os.close(above)
    return descriptor


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def walk(path: str, seen: Callable[[str], None] | None = None) -> Iterator[Found]:
    """Yield the files to read at ``path``: itself if it is not a folder, else all below it, by name.

    :param seen: receives each folder.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - paths stay as the user wrote them
        if path == STANDARD_INPUT or os.path.lexists(path):
            yield Found(path, size=_size(path))
        else:
            yield Found(path, "does not exist")
        return
    faults: list[Found] = []

    def unreadable(error: OSError) -> None:
        where = os.fsdecode(error.filename)
        if where == path or not isinstance(error, FileNotFoundError):  # else it was moved meanwhile
            faults.append(Found(where, f"cannot be read: {error.strerror}"))

    for folder, names in walk_folders(path, unreadable):
        yield from faults
        faults.clear()
        if seen:
            seen(folder)
        yield from _files(folder, names)
    yield from faults


def _files(folder: str, names: list[str]) -> Iterator[Found]:
    """Yield the files to read of a folder; a file that was renamed meanwhile comes under its new name."""
    met: set[str] = set()
    for _ in range(LOOKS):
        chosen = kdump_names.logs(folder, names)
        if chosen == []:
            yield Found(folder, "holds a packed dump without its log: unpack it, and its log is extracted")
        gone = False
        for name in sorted(names) if chosen is None else chosen:
            if name in met:
                continue
            try:
                found = _regular(os.path.join(folder, name))  # noqa: PTH118
            except FileNotFoundError:
                gone = True
                continue
            met.add(name)
            if found:
                yield found
        if not gone:
            return
        names = next((names for _, names in walk_folders(folder)), [])


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except (OSError, ValueError):  # reported when it is read
        return 0


def _regular(path: str) -> Found | None:
    """Return a file to read, or what is wrong with it; None for a folder.

    :raises FileNotFoundError: it is gone.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        if os.path.lexists(path):
            return Found(path, "is a link to nothing")
        raise
    except OSError as error:
        return Found(path, f"cannot be read: {error.strerror}")
    if stat.S_ISREG(status.st_mode):
        return Found(path, size=status.st_size)
    return None if stat.S_ISDIR(status.st_mode) else Found(path, "is not a regular file and is left alone")
