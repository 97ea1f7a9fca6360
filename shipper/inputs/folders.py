"""Folders of logs: which of their files to read.

In a folder that kdump made, only its logs: beside them lie the dump itself and the log of the capture kernel.
Elsewhere every regular file. Symbolic links to folders are not followed, so that no loop can be.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from kpanic.shipper.inputs import kdump_names
from kpanic.shipper.inputs.log_file import STANDARD_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Found", "entered", "walk"]


class Found(NamedTuple):
    """A file to read, or what is wrong with a place."""

    path: str
    fault: str = ""


def entered(path: str, refused: Callable[[OSError], object] = id) -> Iterator[tuple[str, list[str]]]:
    """Yield ``path`` and every folder below it, by name, with the names of what is there and is no folder.

    As ``os.walk`` does, but however deep they are.

    :param refused: is told why a folder cannot be read.
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def walk(path: str, seen: Callable[[str], None] | None = None) -> Iterator[Found]:
    """Yield the files to read at ``path``: itself if it is no folder, else all below it, by name.

    :param seen: is told of each folder.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - paths stay as the user wrote them
        there = path == STANDARD_INPUT or os.path.lexists(path)
        yield Found(path, "" if there else "does not exist")
        return
    faults: list[Found] = []

    def unreadable(error: OSError) -> None:
        faults.append(Found(os.fsdecode(error.filename), f"cannot be read: {error.strerror}"))

    for folder, names in entered(path, unreadable):
        yield from faults
        faults.clear()
        if seen:
            seen(folder)
        chosen = kdump_names.logs(folder, names)
        if chosen == []:
            yield Found(
                folder, "holds a packed dump without its log: unpack it, and the log is taken out of it"
            )
        for name in sorted(names) if chosen is None else chosen:
            yield from _regular(os.path.join(folder, name))  # noqa: PTH118
    yield from faults


def _regular(path: str) -> Iterator[Found]:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except FileNotFoundError:
        yield Found(path, "is a link to nothing, or has just vanished")
    except OSError as error:
        yield Found(path, f"cannot be read: {error.strerror}")
    else:
        if stat.S_ISREG(mode):
            yield Found(path)
        elif not stat.S_ISDIR(mode):
            yield Found(path, "is no regular file and is left alone")
