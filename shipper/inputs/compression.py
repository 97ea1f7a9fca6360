"""Decompression of logs, piece by piece: gzip, xz, zstd and bzip2, known by their first bytes.

A file may hold several frames, one after another, because programs append to it. The libraries' own file
objects are not used: they disagree on what follows a frame, zstd's takes a cut frame for a whole one, and
none limits how much a few bytes unpack to.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Bomb", "Meter", "Trailing", "decompressor", "one_at_a_time", "unpack"]

PIECE: Final = 1 << 18
"""Maximum bytes unpacked at a time."""
READ: Final = 1 << 14
"""Compressed bytes read at a time."""
WINDOW: Final = 1 << 26
"""Maximum bytes of a dictionary or window: as many as ``xz -9`` uses, the most of usual settings."""
XZ_MEMORY: Final = WINDOW + (1 << 24)
RATIO: Final = 2000
"""Maximum ratio of text to file, beyond :data:`SMALL`; gzip reaches 1032, logs some dozens."""
SMALL: Final = 256 << 20
"""Bytes that any file may unpack to."""


TURN: Final = 60.0
"""Seconds that a file waits for the file that another thread unpacks."""
_UNPACKING = threading.Lock()


class Bomb(Exception):  # noqa: N818 - a property of the file
    """The file unpacks to more than :data:`RATIO` times its size."""


class Trailing(Exception):  # noqa: N818 - a property of the file
    """Something that is not a frame follows the last one."""


class Meter:
    """Compares how much a file unpacks to, with all files packed in it, with how much was read of it.

    :ivar exceeded: whether the file is a bomb.
    """

    def __init__(self) -> None:
        self._size = self._text = 0
        self.exceeded = False

    def read(self, size: int) -> None:
        """Count bytes read from the file itself."""
        self._size += size

    def unpacked(self, size: int) -> None:
        """Count unpacked bytes.

        :raises Bomb: the text is too long for the size of the file.
        """
        self._text += size
        self.exceeded = self._text > SMALL and self._text > RATIO * self._size
        if self.exceeded:
            raise Bomb


class Decompressor(Protocol):
    """One frame."""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether all input is unpacked."""

    @property
    def unused_data(self) -> bytes:
        """Bytes after the end of the frame."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return the next bytes, ``max_length`` at most."""


def decompressor(head: bytes) -> Callable[[], Decompressor] | None:
    """Return the factory of decompressors for the frames of a file that begins so; None for plain text."""
    if head.startswith(b"\x1f\x8b"):
        return _Gzip
    if head.startswith(b"\xfd7zXZ\x00"):
        import lzma  # noqa: PLC0415 - only for those who need it, as below

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
    if head.startswith(b"BZh"):
        import bz2  # noqa: PLC0415

        return bz2.BZ2Decompressor
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        from kpanic.shipper.zstd import zstd  # noqa: PLC0415

        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW.bit_length() - 1}
        return lambda: zstd.ZstdDecompressor(options=options)
    return None


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other thread of this process unpacks a file: memory has room for one window.

    A file that is not read on gives way after :data:`TURN`.
    """
    taken = _UNPACKING.acquire(timeout=TURN)
    try:
        yield
    finally:
        if taken:
            _UNPACKING.release()


def unpack(
    read: Callable[[int], bytes], new: Callable[[], Decompressor], meter: Meter | None = None
) -> Iterator[bytes]:
    """Yield the text of all frames; NULs between them are skipped.

    :param read: returns up to so many compressed bytes, none at the end.
    :param new: see :func:`decompressor`.
    :param meter: that of the outermost file; by default ``read`` reads that file itself.
    :raises EOFError: the last frame is cut.
    :raises Trailing: something else follows the last frame.
    :raises Bomb: the text is too long for the size of the file.
    :raises Exception: each library has its own; each means that the bytes are damaged or need too much
        memory.
    """
    frame, whole, text = new(), 0, 0
    own, meter = meter is None, meter or Meter()
    try:
        while data := read(READ):
            if own:
                meter.read(len(data))
            while data := data.lstrip(b"\0") if frame.eof else data:
                if frame.eof:
                    frame, whole, text = new(), whole + 1, 0
                for piece in _pieces(frame, data):
                    text += len(piece)
                    yield piece
                    meter.unpacked(len(piece))
                data = frame.unused_data if frame.eof else b""
    except Exception as error:
        if whole and not text:
            raise Trailing from error
        raise
    if not frame.eof:
        raise Trailing if whole and not text else EOFError


def _pieces(frame: Decompressor, data: bytes) -> Iterator[bytes]:
    """Yield what a frame unpacks from more bytes."""
    while True:
        if piece := frame.decompress(data, PIECE):
            yield piece
        data = b""
        if frame.eof or frame.needs_input:
            return


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        import zlib  # noqa: PLC0415

        self._object = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)
