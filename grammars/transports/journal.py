"""The journal's entries with all their fields: ``journalctl -o json``, ``-o export`` and their kin for eyes.

``-o verbose`` indents the lines of the export form, below a line with the entry's time and cursor;
``-o json-pretty`` has a member a line.

Sources: systemd docs/JOURNAL_EXPORT_FORMATS.md, man systemd.journal-fields.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from pyparsing import Regex

from kpanic.grammars.transports import rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpanic.grammars.model import Line

__all__ = ["FIELD", "OPENING", "Export", "closes", "entry", "laid_out"]

OPENING: Final = Regex(
    r"(?:__[A-Z_]+|_(?:BOOT_ID|TRANSPORT|HOSTNAME|MACHINE_ID|RUNTIME_SCOPE|SOURCE_[A-Z_]+|UDEV_[A-Z_]+|KERNEL_[A-Z_]+)"
    r"|MESSAGE|PRIORITY|SYSLOG_[A-Z_]+)=",
    as_match=True,
)
"""A line that only an export entry begins with."""
VERBOSE: Final = Regex(
    r"[^\W\d_]{2,5}\.? \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[s=[0-9a-f]+;", as_match=True
)
"""The line above an entry of ``-o verbose``."""
_PRETTY: Final = re.compile(r"""\t"([A-Z_][A-Z0-9_]*)" : (".*"),?$""")
FIELD: Final = Regex(r"(?P<name>[A-Z_][A-Z0-9_]*)(?:=(?P<value>.*))?$", as_match=True)
"""``NAME=value``, or ``NAME`` alone before eight bytes of length and a value that holds control codes."""

_MISSED: Final = re.compile(r"Missed (\d{1,9}) kernel messages")
_MOST: Final = 128
"""Lines of an entry; what is longer is none."""
_LENGTH: Final = 8
_HOST: Final = 255
"""Characters of a name; no host has a longer one."""
_DIGITS: Final = 18


def _seconds(value: object) -> float | None:
    return (
        int(value) / 1e6 if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS else None
    )


def entry(fields: Mapping[str, object], number: int, raw: str) -> tuple[list[Line], int]:
    """Lines of an entry that the kernel wrote, and how many records journald says that it missed."""
    message = fields.get("MESSAGE")
    if isinstance(message, list):  # bytes that are no UTF-8
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


def laid_out(text: str) -> str | None:
    """Return an indented line of ``-o verbose`` or ``-o json-pretty`` as one of the export form."""
    if text.startswith("    "):
        return text[4:] if FIELD.re.match(text, 4) else None
    pretty = _PRETTY.match(text)
    if pretty is None:
        return None
    try:
        value = json.loads(pretty[2])
    except ValueError:
        return None
    return f"{pretty[1]}={value}"


def closes(text: str) -> bool:
    """Tell whether a line stands between two entries of ``-o verbose`` or ``-o json-pretty``."""
    return text == "}" or VERBOSE.re.match(text) is not None


class Export:
    """Reads entries of the export form, one line after the other."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}
        self._number = 0
        self._raw = ""
        self._count = 0
        self.binary = False
        """Inside a value that holds control codes: an empty line does not end the entry there."""
        self._name = ""
        self._value: list[bytes] = []
        self._size = -1
        """Bytes of the value with its length, as far as it was read."""

    @property
    def pending(self) -> bool:
        """Inside an entry."""
        return bool(self._count)

    def gap(self) -> None:
        """Forget what the last line began: the next one does not follow it."""
        self.__init__()  # type: ignore[misc]

    def read(self, number: int, line: bytes, text: str, raw: str) -> bool:
        """Take a line of an entry; False: it is none, and the entry is over."""
        if self.binary:
            return self._continue(line)
        match = FIELD.re.match(text)
        if match is None or self._count >= _MOST:
            return False
        self._count += 1
        name, value = match.group("name", "value")
        if name == "MESSAGE":
            self._number, self._raw = number, raw
        if value is None:
            self._name, self.binary = name, True
        else:
            self._fields[name] = value
        return True

    def _continue(self, line: bytes) -> bool:
        """Take a line of a value that may hold newlines; eight bytes before it tell its length."""
        self._count += 1
        if self._count > _MOST:
            return False
        self._size += 1 + len(line)
        if self._value and len(self._value[0]) < _LENGTH:  # the length holds a newline
            self._value[0] += b"\n" + line
        else:
            self._value.append(line)
        size = int.from_bytes(self._value[0][:_LENGTH], "little")
        if self._size - _LENGTH > size:
            return False
        if self._size - _LENGTH == size:
            self._fields[self._name] = b"\n".join(self._value)[_LENGTH:].decode("utf-8", "replace")
            self.binary, self._value, self._size = False, [], -1
        return True

    def end(self) -> tuple[list[Line], int]:
        """End the entry at its empty line: its lines, and how many records journald missed."""
        found = entry(self._fields, self._number, self._raw)
        self.gap()
        return found
