"""Finds what a command reads at a path: a file, here or on another machine, or each file in an archive."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from kpanic.shipper.api import Unreadable
from kpanic.shipper.files import is_url
from kpanic.shipper.inputs import archive, kdump_names, remote
from kpanic.shipper.inputs.folders import Found, walk
from kpanic.shipper.inputs.log_file import EMPTY, Chunks, crashes, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kpanic.shipper.api import Crash
    from kpanic.shipper.origin import Origin

__all__ = ["Source", "crashes_at", "files_at", "named_files", "sources"]

DEPTH: Final = 4
"""Maximum depth of archives within archives."""


class Source(Struct, frozen=True):
    """A file with what it holds.

    :ivar crashes: its crashes as from :func:`.log_file.read`; they have to be read before the next source.
    """

    path: str
    crashes: Iterator[Crash]


def named_files(paths: Iterable[str]) -> Iterator[Found]:
    """Yield the files that are named, and those at URLs, which may be folders and patterns."""
    for path in paths:
        if is_url(path):
            yield from remote.walk_url(remote.without_secrets(path))
        else:
            yield Found(path)


def files_at(path: str) -> Iterator[Found]:
    """Yield the files at a path or URL: itself, or all below it if it is a folder."""
    if is_url(path) or _split(path)[1]:
        return named_files([path])
    return walk(path)


def sources(path: str, base: Origin) -> Iterator[Source]:
    """Yield the files at a path: itself, or those in it.

    :param path: a file, ``-``, or a URL as of :func:`.remote.without_secrets`; an archive may be followed by
        a slash and a pattern of the files in it.
    :raises Unreadable: it cannot be opened; for an archive, after the files that could be read.
    """
    outer, inside = _split(path)
    if is_url(path):
        try:
            file = remote.open_url(path)
            outer, inside = path, ""  # a folder has the name of an archive
        except Unreadable:
            if not inside:
                raise
            file = remote.open_url(outer)
        chunks = Chunks(outer, file)
        origin = replace(origin_of(outer, base), mtime=file.mtime)
    else:
        chunks = Chunks(outer)
        origin = origin_of(outer, base)
    if archive.is_archive(chunks.first()):
        yield from _in_archive(outer, inside, chunks, base, DEPTH)
    elif inside:
        chunks.close()
        raise Unreadable(path, f"{posixpath.basename(outer)} is not an archive")
    else:
        yield Source(path, crashes(path, chunks, origin, ahead=is_url(outer) or None))


def crashes_at(path: str, base: Origin, tell: Callable[[Unreadable], object]) -> Iterator[tuple[str, Crash]]:
    """Yield the crashes of all files at a path, each with its file.

    :param tell: receives what cannot be read.
    """
    try:
        for source in sources(path, base):
            try:
                for crash in source.crashes:
                    yield source.path, crash
            except Unreadable as error:
                tell(error)
    except Unreadable as error:
        tell(error)


def _split(path: str) -> tuple[str, str]:
    """Return an archive and the pattern of files in it. A folder may have an archive's name, too."""
    outer, inside = archive.split(path)
    if not inside or (not is_url(path) and not os.path.isfile(outer)):  # noqa: PTH113 - as the user wrote it
        return path, ""
    return outer, inside


def _in_archive(path: str, inside: str, chunks: Chunks, base: Origin, depth: int) -> Iterator[Source]:
    """Yield the files of an archive; from kdump's folders only the logs."""
    dumps: set[str] = set()
    logs: set[str] = set()
    empty = True
    try:
        for member in archive.members(chunks, inside):
            if chunks.meter.exceeded:
                break  # said of the file before
            empty = False
            inner = f"{path}/{member.name}"
            folder, name = posixpath.split(inner)
            if kdump_names.is_dump(name):
                dumps.add(folder)
            elif not kdump_names.is_capture_log(folder, name):
                if kdump_names.recognise(inner):
                    logs.add(folder)
                yield from _in_member(inner, member, chunks, base, depth)
    except archive.DamagedArchive as error:
        raise Unreadable(path, chunks.fault or str(error)) from None
    finally:
        chunks.close()
    for folder in sorted(dumps - logs):
        yield _unreadable(folder, "holds a dump without its log: unpack it, and its log is extracted")
    if chunks.fault:
        raise Unreadable(path, chunks.fault)
    if inside and empty:
        raise Unreadable(path, f"holds no file {inside}")


def _in_member(
    path: str, member: archive.Member, outer: Chunks, base: Origin, depth: int
) -> Iterator[Source]:
    if member.file is None:
        yield _unreadable(path, member.fault)
        return
    try:
        chunks = Chunks(path, member.file, outer.meter)
    except Unreadable as error:
        if error.reason != EMPTY:
            yield _unreadable(path, error.reason)
        return
    if not archive.is_archive(chunks.first()):
        origin = replace(origin_of(path, base), mtime=member.mtime, own=False)
        yield Source(path, _of_text(path, chunks, origin))
    elif not depth:
        yield _unreadable(path, f"is in more than {DEPTH} nested archives: unpack it to read it")
    else:
        try:
            yield from _in_archive(path, "", chunks, base, depth - 1)
        except Unreadable as error:
            yield _unreadable(error.path, error.reason)


def _of_text(path: str, chunks: Chunks, origin: Origin) -> Iterator[Crash]:
    """Yield the crashes of a file. Most files of an archive are no logs, so a binary file is no fault."""
    try:
        yield from crashes(path, chunks, origin, ahead=False)
    except Unreadable:
        if chunks.fault or not chunks.looks_binary:
            raise


def _unreadable(path: str, reason: str) -> Source:
    def crashes() -> Iterator[Crash]:
        raise Unreadable(path, reason)
        yield

    return Source(path, crashes())
