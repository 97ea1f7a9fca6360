"""Lines that come through a pipe, of one host or of many, plain or each a record in JSON.

Collectors hand lines on as records: the words are in ``message``, ``msg``, ``log`` or ``MESSAGE``, the host
beside them. Only records of the kernel count where a record names its program.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from kpanic.shipper.api import Reader, Readers, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Stop

__all__ = ["Lines", "follow"]

CHUNK = 1 << 18
"""Bytes read at a time."""
LONGEST = 1 << 20
"""Bytes of a record."""
HOSTS = 4096
"""Hosts kept apart at once."""

_WORDS = ("message", "msg", "log", "MESSAGE", "short_message")
_HOSTS = ("host", "hostname", "host.name", "host.hostname", "_HOSTNAME", "HOST", "HOSTNAME", "fromhost")
_PROGRAMS = (
    "ident",
    "programname",
    "app-name",
    "appname",
    "app_name",
    "SYSLOG_IDENTIFIER",
    "PROGRAM",
    "program",
)
_DEEPER = ("name", "hostname")
"""Of ``host``, where that is an object."""


class Lines:
    """Lines as they come.

    :param quiet: seconds of silence after which a crash counts as complete.
    :param say: takes a line for the operator.
    :param take: is given crashes, each with its host, which is empty where none is named beside the words.
    """

    def __init__(
        self, quiet: float, say: Callable[[str], None], take: Callable[[list[tuple[str, CrashReport]]], None]
    ) -> None:
        self._readers = Readers(lambda _host: Reader(say, quiet), take, HOSTS)
        self._held = b""
        self._inside = False
        """Inside a plain line."""

    def feed(self, chunk: bytes) -> None:
        """Read on."""
        if self._inside:
            end = chunk.find(b"\n") + 1
            self._inside = not end
            self._readers.feed("", chunk[:end] if end else chunk)
            chunk = chunk[end:] if end else b""
        data = self._held + chunk
        end = data.rfind(b"\n") + 1
        whole, rest = data[:end], data[end:]
        if whole.startswith(b"{") or b"\n{" in whole:
            self._records(whole)
        elif whole:
            self._readers.feed("", whole)
        self._held = b""
        if rest.startswith(b"{") and len(rest) <= LONGEST:
            self._held = rest
        elif rest:
            self._readers.feed("", rest)
            self._inside = True

    def settle(self) -> None:
        """Give the crashes that are complete by now."""
        self._readers.settle()

    def flush(self) -> None:
        """Give all that is open: the pipe has ended."""
        if self._held:
            self._records(self._held)
            self._held = b""
        self._readers.flush()

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` is worth a call; None: not before there is more input."""
        return self._readers.wait

    def _records(self, lines: bytes) -> None:
        """Read lines of which some are records, each host's together."""
        by_host: dict[str, list[bytes]] = {}
        for line in lines.splitlines(keepends=False):
            for host, words in _unwrapped(line) if line.startswith(b"{") else (("", line),):
                by_host.setdefault(host, []).append(words)
        for host, of in by_host.items():
            self._readers.feed(host, b"\n".join((*of, b"")))


def _unwrapped(line: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield host and words of a record; the line itself if it is none, or the journal's."""
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        record = None
    words = _first(record, _WORDS) if isinstance(record, dict) else None
    if not isinstance(record, dict) or words is None:
        yield "", line
        return
    host = record.get("host")
    name = _first(host, _DEEPER) if isinstance(host, dict) else None
    name = name or _first(record, _HOSTS) or ""
    if "_TRANSPORT" in record:
        yield name, line
    elif (_first(record, _PROGRAMS) or "kernel") == "kernel":
        yield name, words.rstrip("\n").encode("utf-8", "replace")


def _first(record: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((record[name] for name in names if isinstance(record.get(name), str)), None)


def follow(descriptor: int, lines: Lines, stop: Stop) -> None:
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
