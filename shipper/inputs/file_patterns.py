"""Paths with ``*``, ``?`` and ``**``, and which of the matching files are rotated from others."""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING, Final

from kpanic.shipper.crashed_host import glob_of
from kpanic.shipper.inputs.folders import walk_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["expand", "rotated_files"]

_ROTATED: Final = re.compile(
    r"(?P<stem>.+?)(?:\.\d{1,5}|-\d{8}(?:[-T]\d{1,10})?|\.old)?(?:\.(?:gz|xz|zst|bz2))?", re.ASCII | re.DOTALL
)
"""Splits a path from what logrotate(8) appends: ``.1``, ``-20260429``, ``.old``, ``.2.gz``."""


def expand(pattern: str) -> Iterator[str]:
    """Yield the paths that match a pattern; ``**`` goes through folders, but not through links to them.

    ``{host}`` stands for a part of a name.
    """
    pattern = glob_of(pattern)
    if "**" not in pattern:
        yield from glob.iglob(pattern)  # noqa: PTH207 - paths stay as the user wrote them
        return
    head, _, tail = pattern.partition("**")
    for base in glob.iglob(head or "."):  # noqa: PTH207
        for folder, _ in walk_folders(base):
            yield from expand(os.path.join(glob.escape(folder), tail.lstrip("/") or "*"))  # noqa: PTH118


def rotated_files(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the live files, each with the files that were rotated from it.

    A file that looks rotated counts as live if its live file is not among the paths.

    >>> rotated_files(["/var/log/messages", "/var/log/messages-20260429.gz", "/var/log/kern.log.1"])
    {'/var/log/messages': ['/var/log/messages-20260429.gz'], '/var/log/kern.log.1': []}
    """
    present = set(paths)
    found: dict[str, list[str]] = {}
    for path in paths:
        match = _ROTATED.fullmatch(path)
        stem = match["stem"] if match else path
        if stem != path and stem in present:
            found.setdefault(stem, []).append(path)
        else:
            found.setdefault(path, [])
    return found
