"""Emergency messages that rsyslogd or journald writes to every terminal; they repeat lines of the log.

::

    Message from syslogd@host at Nov 22 18:53:41 ...
     kernel:[   12.345678] Oops: 0002 [#1] SMP

    Broadcast message from systemd-journald@host (Sun 2026-11-22 18:53:41 UTC):

    kernel[77]: [   12.345678] Oops: 0002 [#1] SMP

Sources: rsyslog tools/omusrmsg.c, systemd src/journal/journald-wall.c.
"""

from __future__ import annotations

from typing import Final

from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Line
from kpanic.grammars.transport import Context, LineReader, Row, Transport
from kpanic.grammars.transports.stamps import PRINTK, STAMP, clock

_FROM: Final = regex(
    rf"(?:Message from syslogd@(?P<host>[^\s(]{{1,255}}) at |Broadcast message from systemd-journald@"
    rf"(?P<other>[^\s(]{{1,255}}) \(){STAMP}"
)
_SAID: Final = regex(rf"[ \t]{{0,8}}kernel(?:\[\d{{1,9}}\])?: ?(?:{PRINTK} ?)?(?P<text>.*)")


class _Broadcast(LineReader):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._host = ""
        self._clock: float | None = None

    def gap(self) -> None:
        self._host, self._clock = "", None

    def read(self, row: Row) -> list[Line] | None:
        if match := _FROM.match(row.text):
            self._host, self._clock = match["host"] or match["other"], clock(match)
            return []
        if row.text.startswith(("Message from syslogd@", "Broadcast message from ")):
            return []
        match = _SAID.match(row.text)
        if match is None:
            return None
        time = float(match["time"]) if match["time"] else None
        return [
            Line(
                row.number,
                match["text"],
                time,
                match["caller"] or "",
                self._host,
                raw=row.raw,
                clock=self._clock,
            )
        ]


BROADCAST: Final = Transport(name="broadcast", reader=_Broadcast, order=80, starts=" \tMBk", echoes=True)
