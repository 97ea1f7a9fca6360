r"""What log collectors and container runtimes wrap around a line.

::

    {"log": "[   12.345678] text\n", "stream": "stdout"}              Docker's json-file
    2026-11-22T19:31:14.816890123Z stdout F [   12.345678] text       CRI

Sources: moby daemon/logger/jsonfilelog, Kubernetes CRI logging format.
"""

from __future__ import annotations

import json
import re
import string
from typing import TYPE_CHECKING, Final

from kpanic.grammars.transport import LineReader, Row, Transport, scrub
from kpanic.grammars.transports.stamps import ISO

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

_CRI: Final = re.compile(rf"{ISO} (?:stdout|stderr) [FP] (?P<text>.+)")
_MEMBERS: Final = ("message", "msg", "log")
"""Members of an object that may hold the line."""


class _Cri(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _CRI.match(row.text)
        return self.context.again(row._replace(text=match["text"])) if match else None


class _Object(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        try:
            fields = json.loads(row.text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict):
            return None
        words = next((fields[name] for name in _MEMBERS if isinstance(fields.get(name), str)), None)
        if words is None:
            return None
        parts = [scrub(part) for part in words.rstrip("\n").split("\n")]
        return [
            line for part in parts if part.strip() for line in self.context.again(row._replace(text=part))
        ]


CRI: Final = Transport(name="cri", reader=_Cri, order=47, starts=string.digits)
OBJECT: Final = Transport(name="collector", reader=_Object, order=30, starts="{", breaks=(b"\\n", b"\\t"))
