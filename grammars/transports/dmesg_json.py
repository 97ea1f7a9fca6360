"""``dmesg --json``: a record has several lines, ``"pri"``, ``"time"``, ``"msg"``.

Source: util-linux sys-utils/dmesg.c, lib/jsonwrt.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.lazy import regex
from kpanic.grammars.transport import Context, LineReader, Row, Transport, json_value, rows

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

_MEMBER: Final = regex(
    r' +"(?:(?P<other>fac|pri|dmesg)":|time": *(?P<time>\d{1,12}\.\d{1,9})'
    r'|caller": *"(?P<caller>[TC]\d+)"|msg": *(?P<msg>".*")) *,?'
)
"""A line with a member of a record."""
_BRACKETS: Final = regex(r" {3}(?: {3})?[]{},]+$")
"""The line between two records."""


class _Json(LineReader):
    """Reads records member by member."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._time: float | None = None
        self._caller = ""

    def gap(self) -> None:
        self._time, self._caller = None, ""

    def read(self, row: Row) -> list[Line] | None:
        match = _MEMBER.match(row.text)
        if match is None:
            return [] if _BRACKETS.match(row.text) else None
        if match["time"]:
            self._time = float(match["time"])
        elif match["caller"]:
            self._caller = match["caller"]
        elif match["msg"]:
            message = json_value(match["msg"])
            if message is None:  # cut off or damaged: the text is still read
                message = match["msg"].strip('"')
            found = rows(row.number, message, row.raw, time=self._time, caller=self._caller)
            self.gap()
            return found
        return []


JSON: Final = Transport(name="dmesg --json", reader=_Json, order=30, starts=" ", tells=(b'"msg":',))
