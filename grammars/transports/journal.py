"""The journal's entries with all their fields: ``journalctl -o json``, ``-o export`` and similar.

``-o verbose`` indents the lines of the export format, below a line with the entry's time and cursor;
``-o json-pretty`` prints one member a line.

Sources: systemd docs/JOURNAL_EXPORT_FORMATS.md, man systemd.journal-fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.transport import Context, Encoded, LineReader, Row, Transport, json_value, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpanic.grammars.model import Line

_OPENING: Final = regex(
    r"(?:__[A-Z_]+|_(?:BOOT_ID|TRANSPORT|HOSTNAME|MACHINE_ID|RUNTIME_SCOPE|SOURCE_[A-Z_]+|UDEV_[A-Z_]+|KERNEL_[A-Z_]+)"
    r"|MESSAGE|PRIORITY|SYSLOG_[A-Z_]+)="
)
"""The first line of an entry in the export format."""
_VERBOSE: Final = regex(r"[^\W\d_]{2,5}\.? \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[s=[0-9a-f]+;")
"""The line above an entry of ``-o verbose``."""
_PRETTY: Final = regex(r"""\t"([A-Z_][A-Z0-9_]*)" : (".*"),?$""")
_FIELD: Final = regex(r"(?P<name>[A-Z_][A-Z0-9_]*)(?:=(?P<value>.*))?$")
"""``NAME=value``; or ``NAME`` alone, followed by eight bytes of length and a value with control codes."""

_BYTES: Final = regex(rb"(\d{1,3}+(?>(?:,\d{1,3}+)*))\]")
_INDENTS: Final = frozenset(" \t")
_MISSED: Final = regex(r"Missed (\d{1,9}) kernel messages")
_MOST: Final = 128
"""Maximum lines of an entry."""
_ENTRY: Final = 8 * 1024
"""Maximum bytes of an entry in JSON."""
_LENGTH: Final = 8
_HOST: Final = 255
"""Maximum characters of a host's name."""
_DIGITS: Final = 18


def _seconds(value: object) -> float | None:
    return (
        int(value) / 1e6 if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS else None
    )


def _entry(fields: Mapping[str, object], number: int, raw: str) -> tuple[list[Line], int]:
    """Return the lines of an entry of the kernel, and the number of records that journald missed."""
    message = fields.get("MESSAGE")
    if isinstance(message, list):  # bytes that are not UTF-8
        message = bytes(b for b in message if isinstance(b, int) and b in range(256)).decode(
            "utf-8", "replace"
        )
    if not isinstance(message, str):
        return [], 0
    transport = fields.get("_TRANSPORT")
    if transport == "driver":
        missed = _MISSED.match(message)
        return [], int(missed[1]) if missed else 0
    if transport != "kernel" and not (transport is None and fields.get("SYSLOG_IDENTIFIER") == "kernel"):
        return [], 0
    host = fields.get("_HOSTNAME")
    lines = rows(
        number,
        message,
        raw,
        time=_seconds(fields.get("_SOURCE_MONOTONIC_TIMESTAMP")),
        host=host[:_HOST].encode("utf-8", "replace").decode() if isinstance(host, str) else "",
        epoch=_seconds(fields.get("_SOURCE_REALTIME_TIMESTAMP") or fields.get("__REALTIME_TIMESTAMP")),
    )
    return lines, 0


def _laid_out(text: str) -> str | None:
    """Convert an indented line of ``-o verbose`` or ``-o json-pretty`` to the export format."""
    if text.startswith("    "):
        return text[4:] if _FIELD.match(text, 4) else None
    pretty = _PRETTY.match(text)
    if pretty is None:
        return None
    value = json_value(pretty[2])
    return None if value is None else f"{pretty[1]}={value}"


def _closes(text: str) -> bool:
    """Tell whether a line separates two entries of ``-o verbose`` or ``-o json-pretty``."""
    return text == "}" or _VERBOSE.match(text) is not None


class _Journal(LineReader):
    """Reads entries of the export format line by line."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._fields: dict[str, str] = {}
        self._number = 0
        self._raw = ""
        self._count = 0
        self._binary = False
        """Whether a value with control codes is incomplete: an empty line does not end the entry."""
        self._name = ""
        self._value: list[bytes] = []
        self._size = -1
        """Bytes read of the length and the value."""

    @property
    def pending(self) -> bool:  # type: ignore[override]
        """Tell whether an entry is incomplete."""
        return bool(self._count)

    def gap(self) -> None:
        self.__init__(self.context)  # type: ignore[misc]

    def flush(self) -> list[Line]:
        return self._end() if self._count else []

    def read(self, row: Row) -> list[Line] | None:
        text = row.text
        if text[:1] in _INDENTS and (field := _laid_out(text)) and (self._count or _OPENING.match(field)):
            row = structs.replace(row, text=field, data=field.encode("utf-8", "replace"))
        if self._count:
            if (not row.data or _closes(row.text)) and not self._binary:
                return self._end()
            if self._field(row):
                return []
            self.gap()
        if not row.text:
            return []
        return [] if _OPENING.match(row.text) and self._field(row) else None

    def _field(self, row: Row) -> bool:
        """Take a line of an entry; return False if it is none, which ends the entry."""
        if self._binary:
            return self._continue(row.data)
        match = _FIELD.match(row.text)
        if match is None or self._count >= _MOST:
            return False
        self._count += 1
        name, value = match.group("name", "value")
        if name == "MESSAGE":
            self._number, self._raw = row.number, row.raw
        if value is None:
            self._name, self._binary = name, True
        else:
            self._fields[name] = value
        return True

    def _continue(self, data: bytes) -> bool:
        """Take a line of a value that may contain newlines; eight bytes in front of it hold its length."""
        self._count += 1
        if self._count > _MOST:
            return False
        self._size += 1 + len(data)
        if self._value and len(self._value[0]) < _LENGTH:  # a byte of the length is a newline
            self._value[0] += b"\n" + data
        else:
            self._value.append(data)
        size = int.from_bytes(self._value[0][:_LENGTH], "little")
        if self._size - _LENGTH > size:
            return False
        if self._size - _LENGTH == size:
            self._fields[self._name] = b"\n".join(self._value)[_LENGTH:].decode("utf-8", "replace")
            self._binary, self._value, self._size = False, [], -1
        return True

    def _end(self) -> list[Line]:
        """End the entry at its empty line."""
        found, missed = _entry(self._fields, self._number, self._raw)
        self.gap()
        self.context.lost += missed
        return found


class _Json(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        if '"MESSAGE"' not in row.text:
            return None
        fields = json_value(row.text)
        if not isinstance(fields, dict) or "MESSAGE" not in fields:
            return None
        found, missed = _entry(fields, row.number, row.raw)
        self.context.lost += missed
        return found


def _numbers(data: bytes, at: int) -> bytes | None:
    """Return a message with control codes, which journalctl writes as a list of byte values."""
    numbers = _BYTES.match(data, at, at + _ENTRY)
    return bytes(int(number) & 0xFF for number in numbers[1].split(b",")) if numbers else None


JOURNAL: Final = Transport(
    name="journal",
    reader=_Journal,
    order=15,
    starts=" \t_MPS",
    tells=(b"_HOSTNAME", b"MESSAGE"),
    heads=(b"MESSAGE", b"SYSLOG_", b"_"),
    lines=24,
)
JSON: Final = Transport(
    name="journal, JSON", reader=_Json, order=25, starts="{", encoded=Encoded('"MESSAGE":[', _numbers)
)
