"""Log files and standard input, read once from beginning to end.

Compressed files are decompressed, and of a memory dump the log inside is read. A damaged file is read up to
the damage, which is then reported. Named pipes, sockets and devices are not opened: they may never end.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from kpanic.shipper.api import (
    WATCHDOG,
    Crash,
    TooCostly,
    Unreadable,
    cost,
    hide_secrets,
    parse_fault,
    too_costly,
)
from kpanic.shipper.crashed_host import is_own
from kpanic.shipper.files import NotRegularFile, open_named
from kpanic.shipper.inputs import kdump_names, memory_dump
from kpanic.shipper.inputs.compression import (
    RATIO,
    WINDOW,
    Bomb,
    Meter,
    Trailing,
    decompressor,
    one_at_a_time,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = [
    "EMPTY",
    "STANDARD_INPUT",
    "ByteFile",
    "Chunks",
    "ConnectionBroken",
    "crashes",
    "explained",
    "grows",
    "looks_binary",
    "origin_of",
    "read",
    "read_fault",
]

STANDARD_INPUT = "-"
EMPTY = "is empty, there is nothing to read"
"""Why an empty file is unreadable."""
CHUNK = 1 << 18
"""Bytes read at a time: one block of the scan."""

PSTORE = r"(?a:dmesg-[a-z_]+-\d+(?:\.enc\.z)?)"
"""Names of pstore's records."""
_ODD = bytes(set(range(0x20)) - set(b"\t\n\v\f\r\b\x1b\0"))  # NULs: the holes that a crash leaves in logs
_BINARY_SHARE = 0.02
_CUT_MEMBER = "unexpected end of data"
"""tarfile's message about a member that ends too early."""
_TOO_MUCH_MEMORY = ("memory usage limit", "too much memory")
"""Messages of liblzma and zstd about a window that is larger than allowed."""


def origin_of(path: str, base: Origin) -> Origin:
    """Return ``base`` with what a file's path and metadata tell about its crashes."""
    if path == STANDARD_INPUT:
        return replace(base, path=path, host_stated=base.hosts.of(path))
    stated = base.hosts.of(path)
    try:
        status = os.stat(path)  # noqa: PTH116 - half the cost of pathlib's, for each of thousands
    except (OSError, ValueError):  # not of this machine: it may hold a NUL
        mtime = None
    else:
        mtime = status.st_mtime if stat.S_ISREG(status.st_mode) else None
    if (folder := kdump_names.recognise(path)) is not None:
        return replace(
            base,
            provider="kdump",
            path=path,
            host_stated=stated,
            host_ip=folder.ip,
            host_name=folder.host,
            own=is_own(path),
            folder_epoch=folder.epoch,
            mtime=mtime,
        )
    name = os.path.basename(path)  # noqa: PTH119
    if name.startswith("dmesg-") and re.fullmatch(PSTORE, name):
        return replace(base, provider="pstore", path=path, host_stated=stated, own=is_own(path), mtime=mtime)
    return replace(base, path=path, host_stated=stated, mtime=mtime)


def read(path: str, base: Origin) -> Iterator[Crash]:
    """Yield the crashes of one file in the order of the log.

    The last crash in a log that kdump saved is fatal, whatever its text says.

    :param path: the file; ``-`` is standard input.
    :param base: what is known of every crash.
    :raises Unreadable: before the first crash, or after the last one that could be read.
    """
    yield from crashes(path, Chunks(path), origin_of(path, base))


def crashes(path: str, chunks: Chunks, origin: Origin, *, ahead: bool | None = None) -> Iterator[Crash]:
    """Yield the crashes of an open file, as :func:`read` does, and close it.

    :param ahead: whether another thread may read it; by default if it is a regular file, which never waits.
    """
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

    ahead = origin.mtime is not None if ahead is None else ahead
    held: CrashReport | None = None
    reports = grammars.parse(chunks, ahead=ahead)
    try:
        while True:
            try:
                report = WATCHDOG.watched(lambda: next(reports, None), lambda: cost(chunks.size))
            except TooCostly:
                chunks.fault = too_costly(chunks.size)
                break
            except Exception as error:  # noqa: BLE001 - for hostile text
                chunks.fault = parse_fault(error)
                break
            if report is None:
                break
            if held is not None:
                yield Crash(held, origin)
            held = report
    finally:
        reports.close()
        chunks.close()
    if held is not None:
        yield Crash(grammars.died(held) if origin.provider == "kdump" else held, origin)
    elif kdump_names.is_dump(os.path.basename(path)) and not chunks.fault:  # noqa: PTH119
        raise Unreadable(
            path,
            "has the name of a dump and is not one: copy it again, or see in the log of the capture kernel"
            " why kdump could not save it",
        )
    elif chunks.looks_binary and not chunks.fault:
        raise Unreadable(path, "is binary, no kernel log was found in it")
    if chunks.fault:
        raise Unreadable(path, chunks.fault)


class ByteFile(Protocol):
    """A file that can be read."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes, none at the end."""

    def seekable(self) -> bool:
        """Tell whether :meth:`seek` works."""

    def seek(self, place: int, whence: int = 0, /) -> int:
        """Go to a place."""

    def tell(self) -> int:
        """Return the current offset."""

    def close(self) -> None:
        """Close it."""


class Chunks:
    """The bytes of a file, decompressed, up to the first damage.

    :ivar fault: why it was not read to its end; empty if it was.
    :ivar size: bytes that were read, decompressed.
    :ivar meter: what it unpacks to.
    :param file: the file, if it is open already: it lies in another one or on another machine.
    :param meter: that of the file that it lies in.
    :raises Unreadable: it cannot be opened, or is empty.
    """

    def __init__(self, path: str, file: ByteFile | None = None, meter: Meter | None = None) -> None:
        self._path = path
        self._outermost = meter is None
        self.meter = meter or Meter()
        self.fault = ""
        self.size = 0
        if path == STANDARD_INPUT and sys.stdin is None:
            raise Unreadable(path, "standard input is closed")
        with explained(path):
            self._file: ByteFile = file or (sys.stdin.buffer if path == STANDARD_INPUT else open_named(path))
        try:
            with explained(path):
                self._head = self._file.read(CHUNK)
        except Unreadable:
            self.close()
            raise
        except Exception as error:  # noqa: BLE001 - of the archive or the store that it lies in
            self.close()
            raise Unreadable(path, read_fault(error)) from None
        if not self._head:
            self.close()
            raise Unreadable(path, EMPTY)
        self._pieces = self._unpacked()
        self._first = b""
        if memory_dump.is_dump(self._head):
            self.close()
            if file is not None:
                raise Unreadable(path, "is a memory dump: copy it here, and its log is extracted")
            if path == STANDARD_INPUT:
                raise Unreadable(path, "is a memory dump: name its file, and its log is extracted")
            self._file = memory_dump.log_of(path, self._head)
            self._head = self._file.read(CHUNK)

    def __iter__(self) -> Iterator[bytes]:
        if self._first:
            first, self._first = self._first, b""
            yield first
        yield from self._pieces

    @property
    def looks_binary(self) -> bool:
        """Whether the file is neither text nor compressed."""
        return decompressor(self._head) is None and looks_binary(self._head)

    def first(self) -> bytes:
        """Return the first piece; iterating yields it again."""
        self._first = self._first or next(self._pieces, b"")
        return self._first

    def file(self) -> ByteFile | None:
        """Return the file at its beginning, for random access; None if it is compressed or a stream."""
        if decompressor(self._head) is not None or not self._file.seekable():
            return None
        try:
            self._file.seek(0)
        except (OSError, ValueError):  # a web server that sends whole files only
            return None
        return self._file

    def _unpacked(self) -> Iterator[bytes]:
        new = decompressor(self._head)
        stream = _Rewound(self._head, self._file)

        def read(size: int) -> bytes:
            data = stream.read(size)
            if self._outermost:
                self.meter.read(len(data))
            return data

        try:
            with one_at_a_time() if new and self._outermost else nullcontext():
                for chunk in unpack(read, new, self.meter) if new else iter(lambda: read(CHUNK), b""):
                    self.size += len(chunk)
                    yield chunk
        except Exception as error:  # noqa: BLE001 - each library has its own; all mean damaged bytes
            self.fault = read_fault(error)

    def close(self) -> None:
        """Close the file, unless it is standard input."""
        if self._path != STANDARD_INPUT:
            self._file.close()


class _Rewound:
    """A stream whose beginning was already read."""

    def __init__(self, head: bytes, rest: ByteFile) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            head, self._head = self._head, b""
            return head + self._rest.read()
        head, self._head = self._head[:size], self._head[size:]
        return head


def grows(head: bytes) -> bool:
    """Tell by its beginning whether a file can be read while it grows: not compressed, no memory dump."""
    return decompressor(head) is None and not memory_dump.is_dump(head)


def looks_binary(head: bytes) -> bool:
    """Tell whether a file that begins so is not text."""
    sample = head[:8192]
    odd = len(sample) - len(sample.translate(None, _ODD))
    return odd > _BINARY_SHARE * len(sample) or not sample.strip(b"\0")


class ConnectionBroken(Exception):  # noqa: N818 - a property of the connection
    """A file on another machine could not be read on."""


def read_fault(error: Exception) -> str:
    """Return the fault of a file that was read in part."""
    if isinstance(error, Trailing):
        return "has something else behind its compressed text: that is left out, all of the text was read"
    if isinstance(error, Bomb):
        return (
            f"unpacks to more than {RATIO} times its size: the rest is left out; unpack it to read all of it"
        )
    if isinstance(error, EOFError) or str(error) == _CUT_MEMBER:
        return "is cut off: the existing part was read; copy it again if the original is longer"
    text = hide_secrets(" ".join(str(error).split()) or type(error).__name__)
    if isinstance(error, ConnectionBroken):
        return f"could not be read to its end ({text}): what comes before was read; try it again"
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _TOO_MUCH_MEMORY):
        return f"needs more than {WINDOW >> 20} MB of memory to unpack: unpack it to read it"
    return f"is damaged from some place on ({text}): what comes before was read"


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn errors of the system into :class:`Unreadable`."""
    try:
        yield
    except FileNotFoundError:
        raise Unreadable(path, "does not exist") from None
    except PermissionError:
        raise Unreadable(path, "may not be read by this user: run as one who may, such as root") from None
    except IsADirectoryError:
        raise Unreadable(path, "is a directory: name its files, or 'kpanic ship' all of it") from None
    except NotRegularFile as error:
        raise Unreadable(path, f"{error.strerror}; 'kpanic parse -' reads standard input") from None
    except (OSError, ValueError) as error:
        raise Unreadable(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
