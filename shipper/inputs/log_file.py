"""Files and standard input, read once from beginning to end.

gzip, xz, zstd and bzip2 are known by their first bytes, not by their names, and so are memory dumps, of which
the log is read. What can be read of a damaged file is read; then the damage is told. Named pipes, sockets and
devices are not opened: nobody knows when they end.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Protocol

from kpanic.shipper.api import Crash, Unreadable, parse_fault
from kpanic.shipper.files import NotRegularFile, open_named
from kpanic.shipper.inputs import kdump_names, memory_dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.document import Origin

__all__ = ["STANDARD_INPUT", "Chunks", "grows", "looks_binary", "origin_of", "read"]

STANDARD_INPUT = "-"
CHUNK = 1 << 18
"""Bytes read at a time: what the scan looks at in one go."""
BITE = 1024
"""Compressed bytes taken at a time: 32 MB at the very most when unpacked."""

PSTORE = re.compile(r"dmesg-[a-z_]+-\d+(?:\.enc\.z)?", re.ASCII)
_ODD = bytes(set(range(0x20)) - set(b"\t\n\v\f\r\b\x1b\0"))  # NULs: the holes that a crash leaves in logs
_BINARY_SHARE = 0.02


def origin_of(path: str, base: Origin) -> Origin:
    """Return ``base`` with what the path and the file's metadata tell."""
    if path == STANDARD_INPUT:
        return replace(base, path=path)
    try:
        status = os.stat(path)  # noqa: PTH116 - half the cost of pathlib's, for each of thousands
    except OSError:
        mtime = None
    else:
        mtime = status.st_mtime if stat.S_ISREG(status.st_mode) else None
    if (folder := kdump_names.recognise(path)) is not None:
        return replace(
            base,
            provider="kdump",
            path=path,
            host_ip=folder.ip,
            host_name=folder.host,
            folder_epoch=folder.epoch,
            mtime=mtime,
        )
    provider = "pstore" if PSTORE.fullmatch(os.path.basename(path)) else base.provider  # noqa: PTH119
    return replace(base, provider=provider, path=path, mtime=mtime)


def read(path: str, base: Origin) -> Iterator[Crash]:
    """Yield the crashes of one file (``-``: standard input) in the order of the log.

    The last crash that kdump saved is the one that the machine died of, whatever its words.

    :raises Unreadable: before or after what could be read.
    """
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

    chunks = Chunks(path)
    origin = origin_of(path, base)
    held: CrashReport | None = None
    reports = grammars.parse(chunks, ahead=origin.mtime is not None)  # a regular file: it is soon read
    try:
        while True:
            try:
                report = next(reports, None)
            except Exception as error:  # noqa: BLE001 - whatever hostile text provokes
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
            "has a dump's name and is none: copy it again, or see in the log of the capture kernel why kdump"
            " could not save it",
        )
    elif chunks.looks_binary and not chunks.fault:
        raise Unreadable(path, "is binary, no kernel log was found in it")
    if chunks.fault:
        raise Unreadable(path, chunks.fault)


class Chunks:
    """The bytes of a file, decompressed; ends at the first damage and keeps what it was."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.fault = ""
        self.looks_binary = False
        if path == STANDARD_INPUT and sys.stdin is None:
            raise Unreadable(path, "standard input is closed")
        with _explained(path):
            self._file: IO[bytes] = sys.stdin.buffer if path == STANDARD_INPUT else open_named(path)
        try:
            with _explained(path):
                self._head = self._file.read(CHUNK)
        except BaseException:
            self.close()
            raise
        if not self._head:
            self.close()
            raise Unreadable(path, "is empty, there is nothing to read")
        if memory_dump.is_dump(self._head):
            self.close()
            if path == STANDARD_INPUT:
                raise Unreadable(path, "is a memory dump: name its file, and the log is taken out of it")
            self._file = memory_dump.log_of(path, self._head)
            self._head = self._file.read(CHUNK)

    def __iter__(self) -> Iterator[bytes]:
        unpack = _unpacker(self._head)
        if unpack is None:
            self.looks_binary = looks_binary(self._head)
        stream = _Rewound(self._head, self._file)
        try:
            yield from _unpacked(stream, unpack) if unpack else _pieces(stream)
        except Exception as error:  # noqa: BLE001 - each library has its own; all mean that the bytes are damaged
            self.fault = _damage(error)

    def close(self) -> None:
        """Let go of the file."""
        if self._path != STANDARD_INPUT:
            self._file.close()


class _Rewound:
    """A stream whose beginning was already read."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
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


def _unpacker(head: bytes) -> Callable[[], _Frame] | None:
    """Return what makes the unpacker of a frame of a stream that starts so; None for plain text."""
    if head.startswith(b"\x1f\x8b"):
        import zlib  # noqa: PLC0415 - only for who needs it, as below

        return lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)
    if head.startswith(b"\xfd7zXZ\x00"):
        import lzma  # noqa: PLC0415

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)
    if head.startswith(b"BZh"):
        import bz2  # noqa: PLC0415

        return bz2.BZ2Decompressor
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard  # noqa: PLC0415

        return lambda: zstandard.ZstdDecompressor().decompressobj()
    return None


def _pieces(stream: _Rewound) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


class _Frame(Protocol):
    """One of the compressed streams that a file may hold one after another."""

    @property
    def eof(self) -> bool:
        """Whether it is read to its end."""

    @property
    def unused_data(self) -> bytes:
        """What follows it."""

    def decompress(self, data: bytes, /) -> bytes:
        """Read on."""


class _Junk(Exception):  # noqa: N818 - it says what follows
    """What follows the last frame is none."""


def _unpacked(stream: _Rewound, new: Callable[[], _Frame]) -> Iterator[bytes]:
    """Unpack frames one after another, NULs between them left out.

    Not with the libraries' file objects: of what follows a frame each makes something else, and zstd's takes
    a cut frame for a whole one. In small bites, because what comes out of a bite is not bounded.

    :raises EOFError: the last frame is cut.
    :raises _Junk: what follows the last frame is no other.
    """
    frame, whole, got = new(), 0, 0
    try:
        while bite := stream.read(BITE):
            while bite:
                if frame.eof:
                    bite = bite.lstrip(b"\0")
                    if not bite:
                        break
                    frame, whole, got = new(), whole + 1, 0
                piece = frame.decompress(bite)
                got += len(piece)
                yield piece
                bite = frame.unused_data if frame.eof else b""
    except Exception as error:
        if whole and not got:
            raise _Junk from error
        raise
    if not frame.eof:
        raise _Junk if whole and not got else EOFError


def grows(head: bytes) -> bool:
    """Tell whether what begins so can be read while it grows: neither packed nor a memory dump."""
    return _unpacker(head) is None and not memory_dump.is_dump(head)


def looks_binary(head: bytes) -> bool:
    """Tell whether what begins so is no text."""
    sample = head[:8192]
    odd = len(sample) - len(sample.translate(None, _ODD))
    holes = sample.count(0)
    return odd > _BINARY_SHARE * len(sample) or holes == len(sample)


def _damage(error: Exception) -> str:
    if isinstance(error, _Junk):
        return "has something else behind its packed text: that is left out, all of the text was read"
    if isinstance(error, EOFError):
        return "is cut off: what is there was read; copy it again if the original is longer"
    if isinstance(error, MemoryError):
        return "needs more memory to decompress than there is"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"is damaged from some place on ({text}): what comes before was read"


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn the system's errors into one line each."""
    try:
        yield
    except FileNotFoundError:
        raise Unreadable(path, "does not exist") from None
    except PermissionError:
        raise Unreadable(path, "may not be read by this user: run as one who may, such as root") from None
    except IsADirectoryError:
        raise Unreadable(path, "is a directory: name its files, or 'kpanic ship' all of it") from None
    except NotRegularFile as error:
        raise Unreadable(path, f"{error.strerror}; 'kpanic parse -' reads what is piped into it") from None
    except (OSError, ValueError) as error:
        raise Unreadable(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
