"""Files that an operator names: opened without waiting for whoever may write into a pipe some day.

As types of configuration they are :data:`FilePath`, which no number is, and :data:`ReadFile`, which has to be
there: ``kpanic test config`` looks.
"""

from __future__ import annotations

import os
import re
import stat
from typing import IO, Annotated

import msgspec

__all__ = ["FilePath", "Odd", "ReadFile", "named", "opened"]

FilePath = Annotated[str, msgspec.Meta(min_length=1, extra={"file": "path"})]
ReadFile = Annotated[str, msgspec.Meta(extra={"file": "read"})]

_DESCRIPTOR = re.compile(r"/dev/(?:stdin|fd/\d+)|/proc/(?:self|\d+)/fd/\d+")
"""What the shell makes of ``<(…)``, and standard input."""
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Odd(OSError):  # noqa: N818 - it says what the file is
    """No file: a named pipe, a socket or a device."""


def named(kind: object) -> str:
    """Return ``path`` or ``read`` of one of these types or a list of one; empty for any other."""
    for of in (kind, *getattr(kind, "__args__", ())):
        for meta in getattr(of, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.extra and "file" in meta.extra:
                return str(meta.extra["file"])
    return ""


def opened(path: str) -> IO[bytes]:
    """Open a file; a pipe only where it is a descriptor of this process.

    :raises Odd: it is none; ``strerror`` says what it is.
    :raises OSError: it cannot be opened.
    :raises ValueError: it can be no name of a file.
    """
    if _DESCRIPTOR.fullmatch(path):
        return open(path, "rb")  # noqa: PTH123
    _refuse(os.stat(path).st_mode)  # noqa: PTH116 - to open a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _refuse(os.fstat(descriptor).st_mode)  # it may be another by now
        return os.fdopen(descriptor, "rb")
    except OSError:  # a directory is opened, too
        os.close(descriptor)
        raise


def _refuse(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    for is_one, name in _KINDS:
        if is_one(mode):
            raise Odd(0, f"is {name}, not a file")
