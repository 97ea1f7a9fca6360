"""Time stamps and prefixes of dmesg: ``-T``, ``-H``, ``-d``, ``-x``, ``--time-format iso``.

Source: util-linux sys-utils/dmesg.c.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Line
from kpanic.grammars.transport import Context, LineReader, Row, Transport
from kpanic.grammars.transports.stamps import CALLER, DAY, DIGITS, MONTH, ZONE, clock, epoch, wall

_CTIME: Final = regex(
    rf"(?:<\d+>)?\[(?:(?:[^\W\d_]{{1,5}}\.? )?{MONTH} ?(?P<date>[ \d]?\d) (?P<hour>\d\d:\d\d(?::\d\d)?)"
    r"(?: (?P<year>\d{4}))?"
    rf"|(?=[ +]*[<+]) *(?:\+(?P<since>\d{{1,9}}\.\d+))?)(?: *< *[\d.+]+>)?\]{CALLER}(?: |$)(?P<text>.*)"
)
_DECODED: Final = regex(r"[a-z]+\d? *:[a-z]+ *: (?P<text>.+)")
_ISO: Final = regex(rf"{DAY}(?P<fraction>,\d+){ZONE}{CALLER} (?P<text>.*)")


class _Ctime(LineReader):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._clock: float | None = None

    def read(self, row: Row) -> list[Line] | None:
        match = _CTIME.match(row.text)
        if match is None:
            return None
        if match["month"]:
            self._clock = wall(match["month"], match["date"], match["hour"], match["year"])
        elif match["since"] and self._clock is not None:
            self._clock += float(match["since"])
        caller = match["caller"] or ""
        return [Line(row.number, match["text"], caller=caller, raw=row.raw, clock=self._clock)]


class _Decoded(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _DECODED.match(row.text)
        return self.context.again(structs.replace(row, text=match["text"])) if match else None


class _Iso(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _ISO.match(row.text)
        if match is None:
            return None
        caller = match["caller"] or ""
        return [
            Line(
                row.number, match["text"], caller=caller, epoch=epoch(match), raw=row.raw, clock=clock(match)
            )
        ]


CTIME: Final = Transport(name="dmesg", reader=_Ctime, order=42, starts="[<")
"""``[Sun Nov 22 18:53:41 2026] text``, ``[Nov22 19:31] text``, ``[  +0.000086] text``."""
DECODED: Final = Transport(name="dmesg -x", reader=_Decoded, order=42, starts="abcdefghijklmnopqrstuvwxyz")
"""``kern  :warn  : …``, in front of any other form of dmesg."""
ISO: Final = Transport(name="dmesg iso", reader=_Iso, order=46, starts=DIGITS)
"""``2026-11-22T19:31:14,816890+00:00 text``: the only ISO stamp with a comma."""
