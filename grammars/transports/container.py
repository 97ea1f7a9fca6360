"""Prefixes of container runtimes.

::

    2026-11-22T19:31:14.816890123Z stdout F [   12.345678] text       CRI

Source: Kubernetes CRI logging format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.transport import LineReader, Row, Transport
from kpanic.grammars.transports.stamps import DIGITS, ISO

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

_LINE: Final = regex(rf"{ISO} (?:stdout|stderr) [FP] (?P<text>.+)")


class _Reader(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _LINE.match(row.text)
        return self.context.again(structs.replace(row, text=match["text"])) if match else None


CRI: Final = Transport(name="cri", reader=_Reader, order=47, starts=DIGITS)
