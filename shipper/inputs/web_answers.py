"""Answers of web servers within limits, for fsspec, which reads pages and parts of files whole."""

from __future__ import annotations

import re
from typing import Any, Final

import aiohttp

__all__ = ["LIMITS", "BoundedAnswer"]

LARGEST: Final = 32 << 20
"""Maximum bytes of a page or of a part of a file; four times as many as are asked for."""
LONGEST_LINK: Final = 1024
"""Maximum characters of the tag of a link."""
_BLANKS: Final = re.compile(r"\s+")
_LINK: Final = re.compile(rf"<a [^<>]{{1,{LONGEST_LINK}}}>", re.IGNORECASE)


class BoundedAnswer(aiohttp.ClientResponse):  # type: ignore[misc] # it counts as untyped
    """An answer that is read up to :data:`LARGEST` bytes."""

    async def read(self) -> bytes:
        """Return the whole answer.

        :raises ValueError: it is too large.
        """
        data = bytearray()
        async for piece in self.content.iter_chunked(1 << 18):
            data += piece
            if len(data) > LARGEST:
                self.close()
                raise ValueError(f"the answer is larger than {LARGEST >> 20} MB")
        return bytes(data)

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Return the links of a page; fsspec's own search takes cubic time on endless blanks."""
        del encoding
        page = (await self.read()).decode("utf-8", "ignore" if errors == "strict" else errors)
        return "\n".join(_LINK.findall(_BLANKS.sub(" ", page)))


LIMITS: Final[dict[str, Any]] = {
    "client_kwargs": {"response_class": BoundedAnswer, "auto_decompress": False},
    "headers": {"Accept-Encoding": "identity"},
}
"""Options of fsspec's file system of the web. A compressed answer is unpacked like a compressed file.
"""
