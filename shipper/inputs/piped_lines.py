"""Lines that come through a pipe: plain, or each a record in JSON, of one host or of many.

Log collectors pass lines on as records: the text is in ``message``, ``msg``, ``log`` or ``MESSAGE``, the host
beside it. Of records that name their program only the kernel's count.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kpanic.shipper.api import Reader, Readers, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Stop

__all__ = ["PipedLines", "follow_pipe"]

CHUNK: Final = 1 << 18
"""Bytes read at a time."""
LONGEST: Final = 1 << 20
"""Maximum bytes of a record; a longer line is read as plain text."""
HOSTS: Final = 4096
"""Maximum hosts that are kept apart."""

_TEXT_KEYS: Final = ("message", "msg", "log", "MESSAGE", "short_message")
_HOST_KEYS: Final = (
    "host",
    "hostname",
    "host.name",
    "host.hostname",
    "_HOSTNAME",
    "HOST",
    "HOSTNAME",
    "fromhost",
)
_KEYS_OF_HOST: Final = ("name", "hostname")
"""Keys of ``host`` where that is an object."""
_PROGRAM_KEYS: Final = (
    "ident",
    "programname",
    "app-name",
    "appname",
    "app_name",
    "SYSLOG_IDENTIFIER",
    "PROGRAM",
    "program",
)


class PipedLines:
    """A parser for what comes through a pipe.

    :param quiet: seconds of silence after which a crash is complete.
    :param say: logs a line for the operator.
    :param take: receives crashes, each with its host, which is empty where no record names one.
    """

    def __init__(
        self, quiet: float, say: Callable[[str], None], take: Callable[[list[tuple[str, CrashReport]]], None]
    ) -> None:
        self._readers = Readers(lambda _host: Reader(say, quiet), take, HOSTS)
        self._held = bytearray()
        """The beginning of a record."""
        self._inside = False
        """The last line was plain and is not complete."""

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes."""
        if self._inside or self._held:
            end = chunk.find(b"\n") + 1
            first, chunk = (chunk[:end], chunk[end:]) if end else (chunk, b"")
            if self._inside:
                self._inside = not end
                self._readers.feed("", first)
            else:
                self._go_on(first, complete=bool(end))
        end = chunk.rfind(b"\n") + 1
        whole, rest = chunk[:end], chunk[end:]
        if whole.startswith(b"{") or b"\n{" in whole:
            self._records(whole)
        elif whole:
            self._readers.feed("", whole)
        if rest.startswith(b"{"):
            self._go_on(rest, complete=False)
        elif rest:
            self._readers.feed("", rest)
            self._inside = True

    def settle(self) -> None:
        """Hand over the crashes that are complete by now."""
        self._readers.settle()

    def flush(self) -> None:
        """Hand over all crashes: the pipe has ended."""
        if self._held:
            self._records(bytes(self._held))
            self._held.clear()
        self._readers.flush()

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` has something to do; None: not before there is more text."""
        return self._readers.wait

    def _go_on(self, part: bytes, *, complete: bool) -> None:
        """Add a part to the record that is not complete."""
        self._held += part
        if complete:
            self._records(bytes(self._held))
            self._held.clear()
        elif len(self._held) > LONGEST:
            self._readers.feed("", bytes(self._held))
            self._held.clear()
            self._inside = True

    def _records(self, lines: bytes) -> None:
        """Parse lines of which some are records, those of each host together."""
        by_host: dict[str, list[bytes]] = {}
        for line in lines.splitlines(keepends=False):
            for host, text in _unwrap(line) if line.startswith(b"{") else (("", line),):
                by_host.setdefault(host, []).append(text)
        for host, texts in by_host.items():
            self._readers.feed(host, b"\n".join((*texts, b"")))


def _unwrap(line: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield host and text of a record; the line itself if it is not one, or the journal's."""
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        record = None
    text = _first(record, _TEXT_KEYS) if isinstance(record, dict) else None
    if not isinstance(record, dict) or text is None:
        yield "", line
        return
    host = record.get("host")
    name = _first(host, _KEYS_OF_HOST) if isinstance(host, dict) else None
    name = name or _first(record, _HOST_KEYS) or ""
    if "_TRANSPORT" in record:
        yield name, line
    elif (_first(record, _PROGRAM_KEYS) or "kernel") == "kernel":
        yield name, text.rstrip("\n").encode("utf-8", "replace")


def _first(record: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """Return the first of these fields that is text."""
    return next((record[key] for key in keys if isinstance(record.get(key), str)), None)


def follow_pipe(descriptor: int, lines: PipedLines, stop: Stop) -> None:
    """Read a pipe to its end, or until told to stop.

    :raises OSError: it cannot be read any more.
    """
    with Waiter(stop) as waiter:
        always = False
        try:
            waiter.add(descriptor, descriptor)
        except PermissionError:  # a file, or /dev/null: there is nothing to wait for
            always = True
        while not stop.is_set():
            if always or waiter.wait(lines.wait):
                chunk = os.read(descriptor, CHUNK)
                if not chunk:
                    break
                lines.feed(chunk)
            lines.settle()
    lines.flush()
