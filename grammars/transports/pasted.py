"""Additions of mails, web pages, issue trackers and terminals to a line: ``> ``, ``&lt;`` for ``<``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.transport import LineReader, Row, Transport
from kpanic.grammars.transports.stamps import DIGITS

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

_QUOTE: Final = regex(r"(?:> ?)+(?P<text>.+)")
_MARK: Final = regex(
    r"(?:\s{1,64}|\s{0,64}(?:\d{1,7}[:.|]?|[|#;*+-])\s{1,64})"
    r"(?P<text>(?:<\d+>)?(?:\[(?: *\d+\.\d|[^\W\d_]{1,5}\.? ?\S{1,5} )"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:|\d{4}-\d\d-\d\d).*|<[0-7]>.+)"
)
_ROW: Final = regex(r"(?:[^|\n]{0,64}\|){1,4} (?P<text>\[ *\d{1,12}\.\d{6}\].*?)(?: {0,64}\|)?$")
_MARKUP: Final = regex(
    r"(?>(?:\[(?:code|quote|spoiler|php|noparse)(?:=[^\]\n]{1,64})?\]"
    r"|<(?:pre|code|tt|div|p|br)\b[^>\n]{0,64}>|`)+)(?P<text>[^`\n].*)",
    re.IGNORECASE,
)
_CENT: Final = regex(r"¢([^¢!\n]{1,64})!")
_BOLD: Final = regex(r"(?P<before>(?:[^*\n]{0,256}[ \t])?)\*\*(?P<text>[^\s*](?:[^*\n]{0,1024}[^\s*])?)\*\*$")
"""Markdown's emphasis up to the end of a line; blanks follow the asterisks of the kernel's own ``** …``."""
_LINK: Final = regex(r"\[ {0,2}\[(<[0-9a-f]{8,16}>)\]\(<[0-9a-f]{8,16}>\]?\)\]?")
"""``[<address>]`` as a Markdown link, which some trackers write."""
_ENTITIES: Final = ("&lt;", "&gt;")


class _Quote(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _QUOTE.match(row.text)
        return self.context.again(structs.replace(row, text=match["text"])) if match else None


class _Mark(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _MARK.match(row.text)
        return self.context.again(structs.replace(row, text=match["text"])) if match else None


class _Table(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _ROW.match(row.text) if "| [" in row.text else None
        return self.context.again(structs.replace(row, text=match["text"])) if match else None


class _Page(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        text = row.text
        if "&" in text and any(entity in text for entity in _ENTITIES):
            import html  # noqa: PLC0415 - its table of entities is large, and few texts are from web pages

            text = html.unescape(text)
        if "](<" in text:
            text = _LINK.sub(r"[\1]", text)
        if "¢" in text:
            text = _CENT.sub(r"[\1]", text)
        if text.endswith("**") and (bold := _BOLD.match(text)):
            text = bold["before"] + bold["text"]
        if text[0] in "[<`" and not text[1:2].isspace() and (match := _MARKUP.match(text)):
            text = match["text"]
        return self.context.again(structs.replace(row, text=text)) if text != row.text else None


QUOTE: Final = Transport(name="quotation", reader=_Quote, prefixes=False, order=10, starts=">")
PAGE: Final = Transport(
    name="web page", reader=_Page, prefixes=False, order=5, unusual=(*_ENTITIES, "¢", "](<", "**")
)
"""Entities; tags of HTML, BBCode and Markdown before the first line of a text; Markdown's emphasis; and the
characters that a terminal of z/VM (code page 037) shows in place of ``[`` and ``]``.
"""
TABLE: Final = Transport(name="table", reader=_Table, order=28, starts=" \t|" + DIGITS)
"""The row of a table of a log viewer or of Markdown: a date, blanks, the line."""
MARK: Final = Transport(name="mark", reader=_Mark, prefixes=False, order=50, starts=" \t|#;*+-" + DIGITS)
"""Text before a stamp or a level: blanks, a line number, or the marker of a list."""
