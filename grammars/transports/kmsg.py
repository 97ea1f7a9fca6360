r"""Records of ``/dev/kmsg`` and extended netconsole: ``4,433,5816890,-,caller=T1;text``.

A record has the priority, the sequence number, microseconds since boot, flags, and optional fields; then the
text, with unprintable characters as ``\xHH``; then lines `` KEY=value`` that describe a device. Netconsole
optionally prepends the kernel's release, and splits long records into fragments (``ncfrag=OFFSET/TOTAL``).

Sources: Documentation/ABI/testing/dev-kmsg, Documentation/networking/netconsole.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.transport import Context, LineReader, Row, Transport, rows
from kpanic.grammars.transports.stamps import STAMP

if TYPE_CHECKING:
    import re

    from kpanic.grammars.model import Line

_RECORD: Final = regex(
    r"(?:[^\s,;]+,)?(?P<priority>\d+),(?P<sequence>\d+),(?P<microseconds>\d+),[-c+]+"
    r"(?P<fields>(?:,[a-z_]+=[^\s,;]*)*);(?P<text>.*)"
)
"""One record, or one fragment of it."""
_STAMPED: Final = regex(rf"{STAMP} (?:[\w.:-]+ )?(?=\S*\d,\d+,\d+,)")
"""Prefixes that receivers put before the records."""
_PROPERTY: Final = regex(r" [A-Z]+=")
"""A line that describes the device of a record."""
_QUOTES: Final = ("b'", 'b"')
"""Beginning of a datagram in a capture that has one Python ``repr`` a line."""
_QUOTED: Final = regex(r"\\(?:x([0-9a-f]{2})|(.))")
_QUOTED_CODES: Final = {"n": "", "t": "\t", "r": ""}
_ESCAPED: Final = regex(r"(?:\\x[0-9a-f]{2})+")
_FRAGMENT: Final = regex(r"ncfrag=(\d+)/(\d+)")
_CALLER: Final = regex(r"caller=([TC]\d+)")
_UNENDED: Final = regex(
    r"(?:[^\s,;]{1,64}+,)?\d{1,4},(\d{1,20}),\d{1,20},[-c+]{1,4}(?:,(?!ncfrag)[a-z_]{1,16}=[^\s,;]{0,64}){0,4}"
    r",ncfrag=\d{1,9}/\d{1,9}[^\s;]{0,256};"
)
_PATIENCE: Final = 8
"""Maximum input lines between two fragments of a record."""
_LONGEST: Final = 8192
"""Maximum bytes of a record: CONSOLE_EXT_LOG_MAX."""
_MOST: Final = 64
"""Maximum fragments of a record."""
_GAP: Final = 1 << 20
"""Maximum step of the sequence number that means lost records; a larger one means another boot or host."""


def _plain(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("\\x", "")).decode("utf-8", "replace")


class _Kmsg(LineReader):
    """Reads consecutive records, and joins their fragments."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sequence: int | None = None
        self._partial: tuple[re.Match[str], Row, int] | None = None
        self._pieces: dict[int, str] = {}
        self._waited = 0

    @property
    def pending(self) -> bool:  # type: ignore[override]
        """Tell whether fragments of a record are missing."""
        return self._partial is not None

    def gap(self) -> None:
        self.open, self._sequence = False, None

    def read(self, row: Row) -> list[Line] | None:
        text = row.text
        if self.open and text.startswith(" ") and _PROPERTY.match(text):
            return []
        if ";" not in text:
            return None
        match = _RECORD.match(text)
        if match is None and (stamp := _STAMPED.match(text)):
            match = _RECORD.match(text[stamp.end() :])
        if match is None:
            return None
        self.open = True
        if "ncfrag=" not in match["fields"]:
            return [*self._wait(), *self._record(match, row, match["text"])]
        return self._fragment(match, row)

    def passed(self) -> list[Line]:
        self.open = False
        return self._wait()

    def flush(self) -> list[Line]:
        """Give up on the missing fragments of a record."""
        if self._partial is None:
            return []
        match, row, _ = self._partial
        text = "".join(self._pieces[offset] for offset in sorted(self._pieces))
        self._partial, self._pieces = None, {}
        return self._record(match, row, text)

    def _fragment(self, match: re.Match[str], row: Row) -> list[Line]:
        found: list[Line] = []
        if self._partial is not None and self._partial[0]["sequence"] != match["sequence"]:
            found = self.flush()
        # A datagram has no line end: in a file, the next fragment is on the same line.
        text, at = match["text"], 0
        heads = []
        if ",ncfrag=" in text:
            heads = [m for m in _UNENDED.finditer(text) if m[1] == match["sequence"]]
        offset, total = self._share(match["fields"])
        self._partial = self._partial or (match, row, total)
        for head in heads:
            self._pieces[offset] = text[at : head.start()]
            offset, total = self._share(head[0])
            at = head.end()
        self._pieces[offset] = text[at:]
        self._waited = 0
        if len(self._pieces) > _MOST or sum(map(len, self._pieces.values())) >= min(total, _LONGEST):
            found += self.flush()
        return found

    def _wait(self) -> list[Line]:
        """Count a line that is not a fragment; give up on a record that is too old."""
        self._waited += 1
        return self.flush() if self._partial is not None and self._waited > _PATIENCE else []

    @staticmethod
    def _share(fields: str) -> tuple[int, int]:
        """Return the offset of a fragment and the length of its record, in characters."""
        found = _FRAGMENT.search(fields)
        return (int(found[1][:9]), int(found[2][:9])) if found else (0, 0)

    def _record(self, match: re.Match[str], row: Row, text: str) -> list[Line]:
        sequence = int(match["sequence"][:18])
        step = 0 if self._sequence is None else sequence - self._sequence - 1
        self._sequence = sequence
        if "\\" in text:
            text = _ESCAPED.sub(_plain, text)
        caller = _CALLER.search(match["fields"])
        return rows(
            row.number,
            text,
            row.raw,
            time=int(match["microseconds"][:18]) / 1e6,
            caller=caller[1] if caller else "",
            lost=step if 0 < step < _GAP else 0,
        )


class _Datagram(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        if row.text[:2] not in _QUOTES or row.text[-1] != row.text[1]:
            return None
        text = _QUOTED.sub(
            lambda found: chr(int(found[1], 16)) if found[1] else _QUOTED_CODES.get(found[2], found[2]),
            row.text[2:-1],
        )
        return self.context.again(structs.replace(row, text=text, data=text.encode("utf-8", "replace")))


KMSG: Final = Transport(
    name="kmsg", reader=_Kmsg, order=20, tells=(b",ncfrag=",), breaks=(b"\\x0a", b"\\x09")
)
DATAGRAM: Final = Transport(name="datagram", reader=_Datagram, prefixes=False, order=4, starts="b")
