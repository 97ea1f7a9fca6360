"""What mails and web pages put around and into a line: the marks of a quotation, ``&lt;`` for ``<``."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from kpanic.grammars.transport import LineReader, Row, Transport

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

_QUOTE: Final = re.compile(r"(?:> ?)+(?P<text>.+)")
_ENTITIES: Final = ("&lt;", "&gt;")


class _Quote(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _QUOTE.match(row.text)
        return self.context.again(row._replace(text=match["text"])) if match else None


class _Page(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        if not any(entity in row.text for entity in _ENTITIES):
            return None
        text = html.unescape(row.text)
        return self.context.again(row._replace(text=text)) if text != row.text else None


QUOTE: Final = Transport(name="quotation", reader=_Quote, order=10, starts=">")
PAGE: Final = Transport(name="web page", reader=_Page, order=5, unusual=_ENTITIES)
