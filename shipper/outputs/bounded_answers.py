"""HTTP answers within limits of size and time, for the connection pools of the engines' clients.

A client's timeout applies to each read, and its reads have no limit of size: a slow answer outlives the
timeout, and a large one fills the memory. Here both limits apply to the whole answer.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

__all__ = ["bound_answers"]

LARGEST: Final = 16 << 20
"""Maximum bytes of an answer with its headers; the answer to a usual bulk request has some 100 KB."""


def bound_answers(pool: Any) -> None:  # noqa: ANN401 - urllib3's pool, of either client
    """Make a urllib3 connection pool refuse answers that are too large, take too long or are compressed.

    A whole answer may take as long as the timeout of a single read.
    """
    pool.ConnectionCls = type("BoundedConnection", (pool.ConnectionCls,), {"response_class": _Answer})


class _Answer(HTTPResponse):
    """An answer that is read within limits."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(_Socket(sock), *arguments, **options)  # type: ignore[arg-type] # all that it uses

    def begin(self) -> None:
        """Read the headers."""
        super().begin()
        if self.getheader("content-encoding", "identity") != "identity":
            raise OSError("the answer is compressed, which was not asked for")


class _Socket:
    """The one method of a socket that an answer uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return _Buffered(_Limited(self._socket))


class _Buffered(io.BufferedReader):
    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST:  # else the caller would reserve so much memory
            raise _too_large()
        return super().read(size)


class _Limited(io.RawIOBase):
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._left = LARGEST
        seconds = sock.gettimeout()
        self._until = None if seconds is None else time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out: the answer takes too long")
            self._socket.settimeout(left)
        size = self._raw.readinto(buffer) or 0
        self._left -= size
        if self._left < 0:
            raise _too_large()
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


def _too_large() -> OSError:
    return OSError(f"the answer is larger than {LARGEST >> 20} MB")
