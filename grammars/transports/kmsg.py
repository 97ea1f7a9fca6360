r"""Records of ``/dev/kmsg``, as extended netconsole sends them too: ``4,433,5816890,-,caller=T1;text``.

Priority, sequence number, microseconds since boot, flags, further fields; then the text with everything
unprintable as ``\xHH``; then lines `` KEY=value`` of the device it is about. Netconsole puts the kernel's
release in front if asked to, and cuts long records in fragments (``ncfrag=OFFSET/TOTAL``).

Sources: Documentation/ABI/testing/dev-kmsg, Documentation/networking/netconsole.rst.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pyparsing import Regex

from kpanic.grammars.transports import rows

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

__all__ = ["RECORD", "Kmsg"]

RECORD: Final = Regex(
    r"(?:[^\s,;]+,)?(?P<priority>\d+),(?P<sequence>\d+),(?P<microseconds>\d+),[-c+]+"
    r"(?P<fields>(?:,[a-z_]+=[^\s,;]*)*);(?P<text>.*)",
    as_match=True,
)
"""One record, or one fragment of it."""

_ESCAPED: Final = re.compile(r"(?:\\x[0-9a-f]{2})+")
_FRAGMENT: Final = re.compile(r"ncfrag=(\d+)/(\d+)")
_CALLER: Final = re.compile(r"caller=([TC]\d+)")
_UNENDED: Final = re.compile(
    r"(?:[^\s,;]{1,64}+,)?\d{1,4},(\d{1,20}),\d{1,20},[-c+]{1,4}(?:,(?!ncfrag)[a-z_]{1,16}=[^\s,;]{0,64}){0,4}"
    r",ncfrag=\d{1,9}/\d{1,9}[^\s;]*;"
)
_PATIENCE: Final = 8
"""Input lines that the missing fragments of a record are waited for."""
_LONGEST: Final = 8192
"""Bytes of a record: CONSOLE_EXT_LOG_MAX."""
_MOST: Final = 64
"""Fragments of one."""
_GAP: Final = 1 << 20
"""A larger step of the sequence is another boot or another host, not records lost."""


def _plain(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("\\x", "")).decode("utf-8", "replace")


class Kmsg:
    """Reads records that follow each other."""

    def __init__(self) -> None:
        self.open = False
        """True right after a record: what begins with a space belongs to it."""
        self._sequence: int | None = None
        self._partial: tuple[re.Match[str], int, str, int] | None = None
        self._pieces: dict[int, str] = {}
        self._waited = 0

    @property
    def pending(self) -> bool:
        """A record's fragments are still coming."""
        return self._partial is not None

    def gap(self) -> None:
        """Forget what the last line began: the next one does not follow it."""
        self.open, self._sequence = False, None

    def read(self, number: int, match: re.Match[str], raw: str) -> list[Line]:
        """Lines of the records that this one completes."""
        self.open = True
        if "ncfrag=" not in match["fields"]:
            return [*self.wait(), *self._record(match, number, raw, match["text"])]
        found: list[Line] = []
        if self._partial is not None and self._partial[0]["sequence"] != match["sequence"]:
            found = self.flush()
        # A datagram has no line ending: in a file the next fragment follows on the same line.
        text, at = match["text"], 0
        heads = []
        if ",ncfrag=" in text:
            heads = [m for m in _UNENDED.finditer(text) if m[1] == match["sequence"]]
        offset, total = self._share(match["fields"])
        self._partial = self._partial or (match, number, raw, total)
        for head in heads:
            self._pieces[offset] = text[at : head.start()]
            offset, total = self._share(head[0])
            at = head.end()
        self._pieces[offset] = text[at:]
        self._waited = 0
        if len(self._pieces) > _MOST or sum(map(len, self._pieces.values())) >= min(total, _LONGEST):
            found += self.flush()
        return found

    def wait(self) -> list[Line]:
        """Count a line that is no fragment; what waited too long is given as it is."""
        self._waited += 1
        return self.flush() if self._partial is not None and self._waited > _PATIENCE else []

    def flush(self) -> list[Line]:
        """Give up on the fragments of a record that did not come."""
        if self._partial is None:
            return []
        match, number, raw, _ = self._partial
        text = "".join(self._pieces[offset] for offset in sorted(self._pieces))
        self._partial, self._pieces = None, {}
        return self._record(match, number, raw, text)

    @staticmethod
    def _share(fields: str) -> tuple[int, int]:
        """Offset and total length of a fragment, in characters."""
        found = _FRAGMENT.search(fields)
        return (int(found[1][:9]), int(found[2][:9])) if found else (0, 0)

    def _record(self, match: re.Match[str], number: int, raw: str, text: str) -> list[Line]:
        sequence = int(match["sequence"][:18])
        step = 0 if self._sequence is None else sequence - self._sequence - 1
        self._sequence = sequence
        if "\\" in text:
            text = _ESCAPED.sub(_plain, text)
        caller = _CALLER.search(match["fields"])
        return rows(
            number,
            text,
            raw,
            time=int(match["microseconds"][:18]) / 1e6,
            caller=caller[1] if caller else "",
            lost=step if 0 < step < _GAP else 0,
        )
