"""Lines of source code, if the kernel's sources are on this machine.

File names come from debug information, which is untrusted: nothing is read outside the folders of sources,
and no link in them is followed.
"""

from __future__ import annotations

import functools
import itertools
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kpanic.shipper.files import open_beneath, open_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["SYSTEM", "Sources"]

SYSTEM: Final = "/usr/src"
"""Folders in which distributions install sources: ``debug/kernel-*/linux-*`` (Red Hat, SUSE),
``linux-source-*``.
"""
LARGEST: Final = 4 << 20
"""Maximum bytes of a file; the kernel's largest of code has 1 MB."""
FILES: Final = 100
"""Maximum files that are read."""
FOLDERS: Final = 1000
"""Maximum folders that are searched for the kernel's sources."""
DEEPEST: Final = 64
"""Maximum components of a name."""
WIDE: Final = 160
"""Maximum characters of a line."""
AROUND: Final = 2
"""Lines that are shown before and after the one in question."""
_PLACES: Final = ("*", "*/*", "debug/*/*", "usr/src/*", "usr/src/*/*", "usr/src/debug/*/*")
"""Below a folder of debug information, which may be an unpacked package, or below the system's."""
_MAKEFILE: Final = re.compile(rb"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", re.MULTILINE)
_UPSTREAM: Final = re.compile(r"\d+\.\d+(?:\.\d+)?")
_DEBIAN: Final = re.compile(r" Debian (\d+\.\d+\.\d+)")
"""In the version of a Debian kernel, whose release names no stable update (``6.1.0-56-amd64``)."""


class Sources:
    """The sources of a kernel and of its modules.

    :param release: the kernel's release, as ``uname -r`` prints it.
    :param version: the kernel's version, as ``uname -v`` prints it.
    :param folders: folders to look in before the system's. One that is the top of a kernel's sources is taken
        as it is; of other trees those whose name has the release, or whose Makefile has the version.
    """

    def __init__(self, release: str, version: str = "", folders: Sequence[str] = ()) -> None:
        self._release = release
        self._named = tuple(folders)
        upstream = _DEBIAN.search(version)
        found = _UPSTREAM.match(release)
        self._version = upstream[1] if upstream else found[0] if found else ""
        self._files: dict[str, list[bytes]] = {}

    def line(self, name: str, number: int) -> str:
        """Return a line without its indentation; empty if it is not here.

        :param name: path of the file in the debug information.
        :param number: counted from 1.
        """
        rows = self._rows(name)
        return _text(rows[number - 1]).strip() if 0 < number <= len(rows) else ""

    def around(self, name: str, number: int) -> tuple[str, ...]:
        """Return a line with its neighbours, each with its number; empty if it is not here."""
        rows = self._rows(name)
        if not 0 < number <= len(rows):
            return ()
        shown = range(max(1, number - AROUND), min(len(rows), number + AROUND) + 1)
        return tuple(
            f"{one:6}{'>' if one == number else ' '} {_text(rows[one - 1])}".rstrip() for one in shown
        )

    def _rows(self, name: str) -> list[bytes]:
        if name not in self._files:
            if len(self._files) == FILES:
                return []
            self._files[name] = next(self._found(name), [])
        return self._files[name]

    def _found(self, name: str) -> Iterator[list[bytes]]:
        """Yield the lines of each file of this name."""
        if not name.startswith("/"):
            places: Iterable[tuple[str, str]] = ((tree, name) for tree in self._trees)
        else:
            absolute = posixpath.normpath(name)
            places = [(folder, absolute.lstrip("/")) for folder in self._named]
            places += [
                (folder, absolute[len(folder) :].lstrip("/"))
                for folder in (*self._named, SYSTEM)
                if absolute.startswith(folder.rstrip("/") + "/")
            ]
        for folder, inner in places:
            try:
                yield _read(folder, inner)
            except (OSError, ValueError):
                continue

    @functools.cached_property
    def _trees(self) -> list[str]:
        """The tops of this kernel's sources."""
        named = [folder for folder in self._named if _is_tree(folder)]
        return [*named, *(path for path in _folders((*self._named, SYSTEM)) if self._is_own(path))]

    def _is_own(self, path: str) -> bool:
        """Tell whether a folder has the sources of this very kernel."""
        own, _, flavour = self._release.rpartition("-")
        names = {self._release} | ({own} if "-" in own and not flavour[:1].isdigit() else set())
        if any(name in path for name in names if name):
            return True
        return bool(self._version) and _makefile(path) == self._version


def _folders(roots: Iterable[str]) -> Iterator[str]:
    found = (
        str(path)
        for root in dict.fromkeys(roots)
        for place in _PLACES
        for path in sorted(itertools.islice(Path(root).glob(place), FOLDERS))
        if path.is_dir()
    )
    yield from itertools.islice(dict.fromkeys(found), FOLDERS)


def _is_tree(folder: str) -> bool:
    return bool(_makefile(folder))


def _makefile(folder: str) -> str:
    """Return the version in the Makefile at the top of a kernel's sources; empty if there is none."""
    try:
        rows = _read(folder, "Makefile")[:20]
    except (OSError, ValueError):
        return ""
    parts = dict(_MAKEFILE.findall(b"\n".join(rows)))
    return b".".join(parts.values()).decode("ascii") if len(parts) == 3 else ""  # noqa: PLR2004 - the three names


def _read(folder: str, name: str) -> list[bytes]:
    """Return the lines of a file in a folder or below.

    :param name: relative path; no component of it may be a link.
    :raises OSError: the file is missing or not a regular file.
    :raises ValueError: the name leads out of the folder, or the file is too large.
    """
    *outer, last = posixpath.normpath(name).split("/")
    if name.startswith("/") or ".." in {*outer, last} or len(outer) >= DEEPEST:
        raise ValueError("the name leads elsewhere")
    descriptor = open_folder(folder)
    try:
        for part in outer:
            inner = open_folder(part, beneath=descriptor)
            os.close(descriptor)
            descriptor = inner
        with open_beneath(descriptor, last) as file:
            content = file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST:
        raise ValueError("the file is too large")
    return content.split(b"\n")


def _text(row: bytes) -> str:
    """Return a line as text that is safe on a terminal."""
    text = row.decode("utf-8", "replace").expandtabs(4).rstrip()
    return "".join(sign if sign.isprintable() else "�" for sign in text[:WIDE])
