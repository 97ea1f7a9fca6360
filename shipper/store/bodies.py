"""The text of documents as stored in the file: zstd, with a checksum that shows damage.

Texts are compressed with a dictionary of what kernels print (``texts-1.zdict``; a text names it by number).
The dictionary is in the package and not in the file, where damage to it would damage every text. The package
keeps the dictionaries of all releases.
"""

from __future__ import annotations

import re
from functools import cache, cached_property, partial
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.shipper.zstd import zstd

__all__ = ["Bodies", "id_in"]

LEVEL = 6
"""Level of zstd: texts are a tenth smaller than at level 3, and take 60 µs more each."""
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
        """Return the function that compresses a text; only one thread at a time may call it."""
        from kpanic.shipper.zstd import zstd  # noqa: PLC0415 - a status needs none of it

        parameter = zstd.CompressionParameter
        options: dict[int, int] = {parameter.compression_level: LEVEL, parameter.checksum_flag: 1}
        compressor = zstd.ZstdCompressor(options=options, zstd_dict=_dictionary().as_digested_dict)
        return partial(compressor.compress, mode=zstd.ZstdCompressor.FLUSH_FRAME)

    def unpack(self, body: object) -> bytes | None:
        """Decompress a text; None if it is damaged. All threads may call it."""
        from kpanic.shipper.zstd import zstd  # noqa: PLC0415

        if not isinstance(body, bytes):
            return None
        try:
            frame = zstd.get_frame_info(body)
            if frame.decompressed_size is None or frame.decompressed_size > LARGEST:
                return None
            dictionary = _dictionary().as_digested_dict if frame.dictionary_id else None
            decompressor = zstd.ZstdDecompressor(zstd_dict=dictionary)
            text = decompressor.decompress(body, frame.decompressed_size + 1)
        except (zstd.ZstdError, MemoryError):
            return None
        return text if decompressor.eof and len(text) == frame.decompressed_size else None


@cache
def _dictionary() -> zstd.ZstdDict:
    from kpanic.shipper.zstd import zstd  # noqa: PLC0415

    return zstd.ZstdDict((files("kpanic.shipper.store") / "texts-1.zdict").read_bytes())
