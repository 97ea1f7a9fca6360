r"""Removes what transports wrap around the kernel's lines.

One :class:`Reader` serves all transports: it offers a line to those that its first character allows
(:mod:`kpanic.grammars.transport`), until one takes it. A line that no transport takes is the kernel's text.

``Line.time`` is printk's clock (seconds since boot). ``epoch`` is the transport's own stamp if that has a
year and a zone, otherwise None: RFC 3164 has no year, ``dmesg -T`` no zone. ``text`` contains no control code
except tab: escape sequences are removed, other control codes are replaced by their pictures (``␀``), and
characters that change the direction of writing by ``\ufffd``.

A transport whose reader raises an error costs the line, which is then read as plain text, and nothing else.
"""

from __future__ import annotations

import functools
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars import faults
from kpanic.grammars import transport as transport_
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Line
from kpanic.grammars.transport import LineReader, Row, scrub

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from kpanic.grammars.transport import Transports

__all__ = ["Reader"]

NESTED: Final = 8
"""Maximum nested transports of one line, such as a collector, syslog, and a console."""
_TIMED: Final = itemgetter(1)
_JOINED: Final = regex(r"[^\n](?:<\d>)?\[ {0,5}(?P<time>\d{1,7}\.\d{6})\](?:\[ *(?P<caller>[TC]\d{1,9})\])? ")
"""A stamp in the middle of a line."""
_STAMPED: Final = regex(r"\[(?<=[^\n]\[) {0,5}\d{1,7}\.\d{6}\]")
"""Whether there may be such a stamp; a pattern that begins with a literal is much faster to search."""
TOGETHER: Final = 3600.0
"""Maximum seconds between two records on one line."""
_PLAIN: Final = bytes(range(0x20, 0x7F)) + b"\n"
"""Characters that most text consists of; finding others this way is faster than ``isprintable``."""
_RETURNS: Final = regex(r"(?<!\r)\r+\n")


def _parted(line: Line) -> Iterator[Line]:
    """Yield the records on one line, each with its stamp, as separate lines."""
    time = line.time
    stamps = []
    if time is not None and _STAMPED.search(line.text) is not None:
        found = _JOINED.finditer(line.text)
        stamps = [stamp for stamp in found if abs(float(stamp["time"]) - time) <= TOGETHER]
    if not stamps:
        yield line
        return
    yield structs.replace(line, text=line.text[: stamps[0].start() + 1].rstrip())
    ends = [*(stamp.start() + 1 for stamp in stamps[1:]), len(line.text)]
    for stamp, end in zip(stamps, ends, strict=True):
        text = line.text[stamp.end() : end]
        text = text if end == len(line.text) else text.rstrip()
        yield structs.replace(
            line,
            text=text,
            time=float(stamp["time"]),
            caller=stamp["caller"] or "",
            lost=0,
            raw=stamp[0][1:] + text,
        )


@functools.lru_cache(maxsize=4)
def _usual(pattern: str) -> re.Pattern[str]:
    return regex(rf"(?:({pattern})|(.*))\n")


class Reader:
    """Reads consecutive lines."""

    def __init__(self, transports: Transports | None = None) -> None:
        self._transports = transports or transport_.default()
        self._usual = _usual(self._transports.usual)
        self._readers: dict[int, LineReader] = {}
        """Readers of the transports that were offered a line, by the transport's number."""
        self._names: dict[LineReader, str] = {}
        """Names of transports whose lines have a prefix."""
        self._takers: list[LineReader] = []
        """Readers that took the current line, or the line inside it."""
        self._busy: list[LineReader] = []
        """Readers that wait for more lines, or whose last line the next one may continue."""
        self._nested = 0
        self.lost = 0

    @property
    def pending(self) -> bool:
        """Whether more input is needed to complete a line."""
        return bool(self._busy) and any(reader.pending for reader in self._busy)

    def state(self) -> dict[int, dict[str, object]]:
        """Return the state of the transports' readers, by their numbers."""
        states = {}
        for number, reader in self._readers.items():
            new = type(reader)(self)
            changed = {name: value for name, value in vars(reader).items() if getattr(new, name) != value}
            if changed:
                states[number] = changed
        return states

    def gap(self) -> None:
        """Forget a record that the last line began, because the next line does not follow it."""
        for reader in self._readers.values():
            reader.gap()
        self._busy = [reader for reader in self._busy if reader.pending or reader.open]
        self.lost = 0

    def flush(self) -> list[Line]:
        """Return the kernel's lines that the end of the input completes."""
        found = [
            structs.replace(line, transport=self._names.get(reader, ""))
            for reader in self._busy
            for line in reader.flush()
        ]
        self._busy = []
        return self._stated(found)

    def read(self, number: int, line: bytes, original: bytes | None = None) -> list[Line]:
        """Return the kernel's lines that line ``number`` completes: mostly one; none of another program.

        :param line: the line without its line break.
        :param original: the line with its escape sequences, if it had any.
        """
        text = line.decode("utf-8", "replace").rstrip("\r")
        raw = text if original is None else original.decode("utf-8", "replace").rstrip("\r")
        self._nested = 0
        self._takers.clear()
        found = self.again(Row(number, text, raw, line))
        if "] " in text:
            found = [part for line in found for part in _parted(line)]
        if self._busy and text and not text.isspace():
            found = self._settled() + found
        return self._stated(found) if self.lost else found

    def alone(self, number: int, line: bytes, original: bytes | None = None) -> list[Line]:
        """Read a line that does not continue the line before."""
        self.gap()
        return self.read(number, line, original)

    def again(self, row: Row) -> list[Line]:
        """Read a line, or the line that a transport wrapped."""
        text = row.text
        if not text.isprintable():
            text = scrub(text)
            row = structs.replace(row, text=text)
        for reader in self._busy:
            if (found := self._ask(reader, row)) is not None:
                return found
        if not text or text.isspace():
            return []
        self._nested += 1
        if self._nested <= NESTED:
            transports = self._transports
            for number in transports.starts.get(text[0], transports.others):
                if (found := self._ask(self._readers.get(number) or self._new(number), row)) is not None:
                    return found
        return [Line(row.number, text, raw=row.raw)]

    def run(self, first: int, lines: bytes) -> list[Line]:
        """Read consecutive whole lines like :meth:`read`, but faster for the usual form."""
        found: list[Line] = []
        add = found.append
        text = lines.decode("utf-8", "replace")
        if "\r" in text:
            text = _RETURNS.sub("\n", text)
        split: list[bytes] = []
        unusual, name = self._transports.unusual(text), self._transports.usual_name
        quick = not (self.lost or self._busy)
        rows = self._usual.findall(text)
        plain = not lines.translate(None, _PLAIN) or text.replace("\n", "").isprintable()
        usual = quick and plain and not unusual
        usual = usual and ("] " not in text or _STAMPED.search(text) is None)
        if usual and all(map(_TIMED, rows)):
            return [
                Line(number, words, float(time), caller, "", None, 0, raw, None, name)
                for number, (raw, time, caller, words, _) in enumerate(rows, first)
            ]
        for at, (raw, time, caller, words, _) in enumerate(rows):
            if (
                quick
                and time
                and (
                    usual
                    or (
                        at not in unusual
                        and raw.isprintable()
                        and not ("] " in words and _STAMPED.search(words))
                    )
                )
            ):
                add(Line(first + at, words, float(time), caller, "", None, 0, raw, None, name))
            else:
                split = split or lines.split(b"\n")
                found += self.read(first + at, split[at])
                quick = not (self.lost or self._busy)
        return found

    def _new(self, number: int) -> LineReader:
        """Return a new reader of a transport."""
        transport = self._transports.all[number]
        reader = self._readers[number] = (transport.reader or LineReader)(self)
        if transport.prefixes:
            self._names[reader] = transport.name
        return reader

    def _ask(self, reader: LineReader, row: Row) -> list[Line] | None:
        """Offer a line to a transport; a transport that raises an error does not take the line."""
        try:
            found = reader.read(row)
        except Exception as error:  # noqa: BLE001 - a fault of a transport; the line is read as plain text
            reader.gap()
            faults.note(f"transport {type(reader).__qualname__}", error)
            return None
        if found is not None:
            self._takers.append(reader)
            if (reader.pending or reader.open) and reader not in self._busy:
                self._busy.append(reader)
            if name := self._names.get(reader):
                found = [line if line.transport else structs.replace(line, transport=name) for line in found]
        return found

    def _settled(self) -> list[Line]:
        """Return the lines that another transport's line completes."""
        found = [
            structs.replace(line, transport=self._names.get(reader, ""))
            for reader in self._busy
            if reader not in self._takers
            for line in reader.passed()
        ]
        self._busy = [reader for reader in self._busy if reader.pending or reader.open]
        return found

    def _stated(self, found: list[Line]) -> list[Line]:
        """Add the number of records that were lost before it to the first line."""
        if self.lost and found:
            found[0] = structs.replace(found[0], lost=found[0].lost + self.lost)
            self.lost = 0
        return found
