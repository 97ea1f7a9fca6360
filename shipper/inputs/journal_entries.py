"""Splits the output of ``journalctl --output=json`` into entries, and formats them as log lines.

:see: journalctl(1), systemd.journal-fields(7)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FIELDS", "EntrySplitter", "boot_of", "decode_entry", "host_of", "log_lines"]

FIELDS: Final = "MESSAGE,_TRANSPORT,_HOSTNAME,_SOURCE_MONOTONIC_TIMESTAMP,_SOURCE_REALTIME_TIMESTAMP"
"""Fields requested from journalctl, in addition to those it always prints."""
LONGEST: Final = 1 << 20
"""Maximum bytes of an entry; the kernel's have some KB."""

_BOOT: Final = re.compile(r"(?:^|;)b=([0-9a-f]{32})(?:;|$)", re.ASCII)
_HOST: Final = re.compile(r"[^\s:]{1,255}")
_MISSED: Final = "Missed "
"""Beginning of journald's message that it lost messages of the kernel."""
_BYTE: Final = 0xFF
_DIGITS: Final = 16


class EntrySplitter:
    """Splits the output of journalctl into entries.

    :ivar dropped: number of entries that are left out because they are longer than :data:`LONGEST`.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._held = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the entries that a chunk completes, without their line feeds."""
        first, *more = chunk.split(b"\n")
        self._hold(first)
        if not more:
            return []
        entries = [] if self._skipping else [bytes(self._held)]
        self._held.clear()
        self._skipping = False
        *whole, rest = more
        self._hold(rest)
        return entries + whole

    def _hold(self, part: bytes) -> None:
        if self._skipping:
            return
        self._held += part
        if len(self._held) > LONGEST:
            self._held.clear()
            self._skipping = True
            self.dropped += 1


def decode_entry(line: bytes) -> dict[str, Any]:
    """Return the fields of an entry; none for other text."""
    try:
        entry = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def boot_of(cursor: str) -> str:
    """Return the boot ID in a cursor; empty if there is none."""
    found = _BOOT.search(cursor)
    return found[1] if found else ""


def host_of(entry: dict[str, Any]) -> str:
    """Return the host of an entry; empty if it names none."""
    host = entry.get("_HOSTNAME")
    return host if isinstance(host, str) and _HOST.fullmatch(host) else ""


def log_lines(entry: dict[str, Any]) -> Iterator[bytes]:
    """Yield the lines of a kernel's entry as syslog daemons write them, with the kernel's own time."""
    message = entry.get("MESSAGE")
    if isinstance(message, list):  # bytes that are not UTF-8
        message = bytes(byte for byte in message if isinstance(byte, int) and 0 <= byte <= _BYTE).decode(
            "utf-8", "replace"
        )
    if not isinstance(message, str):
        return
    host = host_of(entry)
    real = _microseconds(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry.get("__REALTIME_TIMESTAMP"))
    stamp = datetime.fromtimestamp((real or 0) / 1e6, UTC).isoformat(timespec="microseconds")
    prefix = f"{stamp} {host} " if host else f"{stamp} "
    if entry.get("_TRANSPORT") == "driver":
        if message.startswith(_MISSED):
            yield f"{prefix}systemd-journald[1]: {message}\n".encode("utf-8", "replace")
        return
    since = _microseconds(entry.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    clock = "" if since is None else f"[{since / 1e6:12.6f}] "
    for line in message.rstrip("\n").split("\n"):
        yield f"{prefix}kernel: {clock}{line}\n".encode("utf-8", "replace")


def _microseconds(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS else None
