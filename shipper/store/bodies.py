"""The text of documents as it stands in the file: zstd, with a checksum that shows damage.

Texts are compressed with a dictionary of what kernels print (``texts-1.zdict``; a text names it by number).
It stands in the package and not in the file, where damage to it would be damage to every text. A dictionary
of a release stays in the package.
"""

from __future__ import annotations

import re
import threading
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from zstandard import ZstdCompressionDict

__all__ = ["Bodies", "id_in"]

LEVEL = 3
LARGEST = 1 << 28
"""Bytes of a text; a frame that announces more is damaged."""

_ID = re.compile(rb'\{"_id":"([^"\\]+)"')


def id_in(text: bytes) -> str:
    """Return the ``_id`` that a document's text begins with, empty if it does not."""
    found = _ID.match(text)
    return found[1].decode() if found else ""


class Bodies:
    """Packs and unpacks texts. zstd is imported when it is first used."""

    @cached_property
    def pack(self) -> Callable[[bytes], bytes]:
        """Return the function that compresses a text; one thread at a time may call it."""
        import zstandard  # noqa: PLC0415 - a status needs none of it

        dictionary = _dictionary()
        dictionary.precompute_compress(level=LEVEL)
        return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, dict_data=dictionary).compress

    @cached_property
    def unpack(self) -> _Unpacker:
        """Return the function that decompresses a text, or returns None if it is damaged."""
        return _Unpacker()


class _Unpacker(threading.local):
    """A decompressor for each thread: they may not share one, and outputs read at the same time."""

    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - a status needs none of it

        self._with = zstandard.ZstdDecompressor(dict_data=_dictionary()).decompress
        self._without = zstandard.ZstdDecompressor().decompress
        self._parameters = zstandard.get_frame_parameters
        self._error = zstandard.ZstdError

    def __call__(self, body: object) -> bytes | None:
        if not isinstance(body, bytes):
            return None
        try:
            parameters = self._parameters(body)
            decompress = self._with if parameters.dict_id else self._without
            return decompress(body) if parameters.content_size <= LARGEST else None
        except (self._error, MemoryError):
            return None


@cache
def _dictionary() -> ZstdCompressionDict:
    import zstandard  # noqa: PLC0415

    return zstandard.ZstdCompressionDict((files("kpanic.shipper.store") / "texts-1.zdict").read_bytes())
