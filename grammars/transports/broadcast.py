"""What the syslog daemon writes to every terminal: an emergency once more.

::

    Message from syslogd@host at Nov 22 18:53:41 ...
     kernel:[   12.345678] Oops: 0002 [#1] SMP
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kpanic.grammars.transport import LineReader, Row, Transport

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

_ECHO: Final = re.compile(r"[ \t]kernel:|Message from syslogd@")


class _Broadcast(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        return [] if _ECHO.match(row.text) else None


BROADCAST: Final = Transport(name="broadcast", reader=_Broadcast, order=80, starts=" \tM")
