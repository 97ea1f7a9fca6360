"""Opens files that other users may own, exchange or fill while they are read.

No function here waits for a writer, opens a device, or reads holes. A file is checked again once it is open,
because the path may lead to another file by then.

As types of configuration, :data:`FilePath` is a path, and :data:`ReadFile` is one that ``kpanic test config``
opens.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from typing import IO, TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "FilePath",
    "NotRegularFile",
    "ReadFile",
    "WritableByAnybody",
    "file_role",
    "is_url",
    "open_beneath",
    "open_folder",
    "open_named",
    "open_trusted",
]

FilePath = Annotated[str, msgspec.Meta(min_length=1, extra={"file": "path"})]
ReadFile = Annotated[str, msgspec.Meta(extra={"file": "read"})]

LARGEST_HOLE = 1 << 16
"""Bytes of a hole that are read as NULs; of a larger hole only its last bytes are read."""

URL = ("s3://", "gs://", "abfs://", "hdfs://", "sftp://", "https://")
"""Beginning of a path whose file is on another machine."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DESCRIPTOR = r"/dev/(?:stdin|fd/\d+)|/proc/(?:self|\d+)/fd/\d+"
"""Paths that the shell passes for ``<(…)``, and standard input."""
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a symbolic link"),
)


class NotRegularFile(OSError):  # noqa: N818 - a property of the file
    """A named pipe, socket, device or symbolic link stands where a file is expected."""


class WritableByAnybody(OSError):  # noqa: N818 - a property of the file
    """A file that has to be trusted may be written by every user."""


def open_named(path: str) -> IO[bytes]:
    """Open a file that the operator named, through links; a pipe only if it is a descriptor of this process.

    :raises NotRegularFile: the file is a pipe, socket or device; ``strerror`` says which.
    :raises OSError: it cannot be opened.
    :raises ValueError: the path holds a NUL or half a surrogate pair.
    """
    if path.startswith(("/dev/", "/proc/")) and re.fullmatch(_DESCRIPTOR, path):
        return open(path, "rb")  # noqa: PTH123
    _refuse_other_kinds(os.stat(path).st_mode)  # noqa: PTH116 - opening a device may act on it
    return _reader(os.open(path, _READ))


def is_url(path: str) -> bool:
    """Tell whether a path names a file on another machine."""
    return path.startswith(URL)


def open_trusted(path: str) -> IO[bytes]:
    """Open a file that configures kpanic, or holds a secret, as :func:`open_named` does.

    :raises WritableByAnybody: every user may write to it.
    :raises OSError, ValueError: as of :func:`open_named`.
    """
    file = open_named(path)
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        file.close()
        raise WritableByAnybody(0, "may be written by anybody: 'chmod o-w' it")
    return file


def open_beneath(folder: int, name: str) -> IO[bytes]:
    """Open the regular file ``name`` of a folder that other users may write to; links are not followed.

    :param folder: descriptor of the folder, as of :func:`open_folder`.
    :param name: one component of a path.
    :raises NotRegularFile: it is something else, even if it changed just now.
    :raises OSError: it cannot be opened.
    """
    _refuse_other_kinds(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return _reader(os.open(name, _READ | os.O_NOFOLLOW, dir_fd=folder))


def open_folder(path: str, *, beneath: int | None = None) -> int:
    """Return a descriptor of a folder, to be closed by the caller.

    :param beneath: descriptor of the folder that holds it: ``path`` is then one name, and no link.
        Without ``beneath``, ``path`` is the operator's and may be a link.
    :raises OSError: it cannot be opened or is not a folder.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if beneath is None else os.O_NOFOLLOW)
    return os.open(path, flags, dir_fd=beneath)


def file_role(kind: object) -> str:
    """Return ``path`` or ``read`` for the two types above or a list of them, an empty text for others."""
    for candidate in (kind, *getattr(kind, "__args__", ())):
        for meta in getattr(candidate, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.extra and "file" in meta.extra:
                return str(meta.extra["file"])
    return ""


class _SparseReader(io.FileIO):
    """A regular file without its holes, which may be terabytes that take no room on the disk."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "rb")

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        status = os.fstat(self.fileno())  # holes may appear while it is read
        if status.st_blocks * 512 < status.st_size and not self._skip_hole():
            return 0
        return super().readinto(buffer)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: io.RawIOBase.read(self, 1 << 18) or b"", b""))

    def _skip_hole(self) -> bool:
        """Seek to the end of the hole at this offset, if there is one; return whether data follows."""
        here = self.tell()
        try:
            data = os.lseek(self.fileno(), here, os.SEEK_DATA)
        except OSError as error:
            at_end = error.errno == errno.ENXIO  # else this file system does not report holes
            self.seek(0 if at_end else here, os.SEEK_END if at_end else os.SEEK_SET)
            return not at_end
        self.seek(max(here, data - LARGEST_HOLE))
        return True


def _reader(descriptor: int) -> IO[bytes]:
    """Return a descriptor as a file.

    :raises NotRegularFile: it is something else.
    :raises IsADirectoryError: it is a folder.
    """
    try:
        _refuse_other_kinds(os.fstat(descriptor).st_mode)
        return io.BufferedReader(_SparseReader(descriptor))
    except OSError:
        os.close(descriptor)
        raise


def _refuse_other_kinds(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise NotRegularFile(0, f"is {name}, not a file")
