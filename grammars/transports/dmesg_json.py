"""``dmesg --json``: one record over several lines, ``"pri"``, ``"time"``, ``"msg"``.

Source: util-linux sys-utils/dmesg.c, lib/jsonwrt.c.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pyparsing import Regex

from kpanic.grammars.transports import rows

if TYPE_CHECKING:
    import re

    from kpanic.grammars.model import Line

__all__ = ["BRACKETS", "MEMBER", "DmesgJson"]

MEMBER: Final = Regex(
    r' +"(?:(?P<other>fac|pri|dmesg)":|time": *(?P<time>\d{1,12}\.\d{1,9})'
    r'|caller": *"(?P<caller>[TC]\d+)"|msg": *(?P<msg>".*")) *,?',
    as_match=True,
)
"""A member of a record, on its line."""
BRACKETS: Final = Regex(r" {3}(?: {3})?[]{},]+$", as_match=True)
"""The line between two records."""


class DmesgJson:
    """Reads records member by member."""

    def __init__(self) -> None:
        self._time: float | None = None
        self._caller = ""

    def gap(self) -> None:
        """Forget what the last line began: the next one does not follow it."""
        self.__init__()  # type: ignore[misc]

    def read(self, number: int, match: re.Match[str], raw: str) -> list[Line]:
        """Lines of the record that this member completes."""
        if match["time"]:
            self._time = float(match["time"])
        elif match["caller"]:
            self._caller = match["caller"]
        elif match["msg"]:
            try:
                message = json.loads(match["msg"])
            except ValueError:  # cut or broken: its words still count
                message = match["msg"].strip('"')
            found = rows(number, message, raw, time=self._time, caller=self._caller)
            self.gap()
            return found
        return []
