"""Syslog messages: framing in a connection (RFC 6587), and headers (RFC 3164, RFC 5424)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["Framing", "Header", "read_header"]

LENGTH_DIGITS: Final = 9
"""Maximum digits of a message's length."""
_FIRST_DIGITS: Final = b"123456789"
_KERNEL_PRIORITIES: Final = 8
"""Priorities below it are of facility 0, the kernel."""
_HEADER: Final = re.compile(
    rb"(?:<(?P<priority>\d{1,3})>)?(?:"
    rb"1 \S{1,64} (?P<host>\S{1,255}) (?P<program>\S{1,255}) "  # RFC 5424
    rb"|(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?"  # RFC 3164
    rb"|\d{4}-\d\d-\d\dT[\d:.,]{1,32}(?:Z|[+-]\d\d:\d\d)) "  # and with rsyslog's time
    rb"(?:(?!kernel(?:\[\d{1,9}\])?:)(?P<old>[^\s:\[]{1,255}) )?(?P<tag>[^\s:\[]{0,255})"
    rb")?"
)


class Header(NamedTuple):
    """The header of a message."""

    kernel: bool
    """Whether it is the kernel's: of facility 0, or of a program named kernel, or without a program."""
    host: str
    """The host; empty if the message names none."""


def read_header(message: bytes) -> Header:
    """Return the header of a message; without program and host if its format is unknown.

    >>> read_header(b"<4>Apr 29 11:32:26 web-1 kernel: [ 2.1] Oops")
    Header(kernel=True, host='web-1')
    """
    found = _HEADER.match(message)
    parts = found.group("priority", "host", "program", "old", "tag") if found else (None,) * 5
    priority, host, program, old, tag = parts
    program, host = program or tag, host or old or b""
    of_kernel = priority is not None and int(priority) < _KERNEL_PRIORITIES
    kernel = of_kernel or not program or program == b"kernel"
    return Header(kernel, "" if host == b"-" else host.decode("utf-8", "replace"))


class Framing:
    """The messages of one connection: each ends with a line feed or begins with its length.

    The first character of a message tells which (RFC 6587, 3.4.1 and 3.4.2).

    :param most: maximum bytes of a message; a longer one is cut.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = bytearray()
        """Bytes of a message that is not complete."""
        self._skip = 0
        """Bytes still to skip of a message that was cut; below 0: up to the next line feed."""

    def take(self, data: bytes) -> list[bytes]:
        """Return the messages that these bytes complete."""
        self.held += data
        messages: list[bytes] = []
        while self.held:
            if self._skip:
                if not self._skipped():
                    break
                continue
            message = self._counted() if self.held[0] in _FIRST_DIGITS else self._line()
            if message is None:
                break
            messages.append(message)
        return messages

    def rest(self) -> list[bytes]:
        """Return the message that the end of the connection completes, if there is one."""
        if self._skip or not self.held:
            return []
        length, _, message = bytes(self.held).partition(b" ")
        return [message if length.isdigit() else bytes(self.held)]

    def _skipped(self) -> bool:
        if self._skip > 0:
            gone = min(self._skip, len(self.held))
            self._skip -= gone
        else:
            end = self.held.find(b"\n")
            gone = len(self.held) if end < 0 else end + 1
            self._skip = -1 if end < 0 else 0
        del self.held[:gone]
        return not self._skip

    def _counted(self) -> bytes | None:
        """Take a message that begins with its length; None if it is not complete."""
        end = self.held.find(b" ", 0, LENGTH_DIGITS + 1)
        if end < 0 and len(self.held) <= LENGTH_DIGITS:
            return None
        length = bytes(self.held[: max(end, 0)])
        if length.isdigit() and len(self.held) == end + 1:
            return None
        if not length.isdigit() or self.held[end + 1] != ord("<"):  # a date of a sender without priorities
            return self._line()
        size = int(length)
        whole = min(size, self._most)
        if len(self.held) < end + 1 + whole:
            return None
        message = bytes(self.held[end + 1 : end + 1 + whole])
        del self.held[: end + 1 + whole]
        self._skip = size - whole
        return message

    def _line(self) -> bytes | None:
        """Take a message that ends with a line feed; None if it is not complete."""
        end = self.held.find(b"\n", 0, self._most)
        if end < 0:
            if len(self.held) < self._most:
                return None
            message = bytes(self.held[: self._most])
            del self.held[: self._most]
            self._skip = -1
            return message
        message = bytes(self.held[:end])
        del self.held[: end + 1]
        return message
