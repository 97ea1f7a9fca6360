"""Lines that come through a pipe: plain, or each a record in JSON or MessagePack, of one host or of many.

Log collectors pass lines on as records: the text is in ``message``, ``msg``, ``log`` or ``MESSAGE``, the host
in another key. Records that name a program other than the kernel are skipped. In MessagePack a record stands
alone, or as Fluentd writes an event: ``[time, record]`` or ``[tag, time, record]``.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from kpanic.shipper.api import Reader, Readers, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Stop
    from kpanic.shipper.inputs.listening_clock import ListeningClock

__all__ = ["NotMessagePack", "Piped", "PipedLines", "PipedRecords", "follow_pipe"]

CHUNK: Final = 1 << 18
"""Bytes read at a time."""
LONGEST: Final = 1 << 20
"""Maximum bytes of a record; a longer line is read as plain text."""
MOST_BUFFERED: Final = 64 << 20
"""Maximum bytes of a record in MessagePack."""
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


class NotMessagePack(ValueError):  # noqa: N818 - a property of the pipe
    """The pipe carries something other than MessagePack, so that the next record's beginning is unknown."""


class Piped(Protocol):
    """The parser that :func:`follow_pipe` feeds."""

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` has something to do; None: not before more text arrives."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def settle(self) -> None:
        """Hand over the crashes that are complete by now."""

    def flush(self) -> None:
        """Hand over all crashes: the pipe has ended."""


class _Hosts:
    """The parsers of the hosts whose lines come through a pipe.

    :param quiet: seconds of silence after which a crash is complete.
    :param say: logs a line for the operator.
    :param take: receives crashes, each with its host, which is empty where no record names one.
    :param clock: returns the time in seconds.
    """

    def __init__(
        self,
        quiet: float,
        say: Callable[[str], None],
        take: Callable[[list[tuple[str, CrashReport]]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readers = Readers(lambda _host: Reader(say, quiet, clock), take, HOSTS, clock=clock)

    def settle(self) -> None:
        """Hand over the crashes that are complete by now."""
        self._readers.settle()

    def settle_all(self) -> None:
        """Hand over the crashes that are complete by now, without a limit on time."""
        self._readers.settle()
        while self._readers.wait == 0:
            self._readers.settle()

    def flush(self) -> None:
        """Hand over all crashes: the pipe has ended."""
        self._readers.flush()

    @property
    def open(self) -> bool:
        """Whether a crash is incomplete."""
        return self._readers.open

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` has something to do; None: not before more text arrives."""
        return self._readers.wait

    def _feed_texts(self, texts: Iterable[tuple[str, bytes]]) -> None:
        """Parse lines, each with its host, those of each host together."""
        by_host: dict[str, list[bytes]] = {}
        for host, text in texts:
            by_host.setdefault(host, []).append(text)
        for host, lines in by_host.items():
            self._readers.feed(host, b"\n".join((*lines, b"")))


class PipedRecords(_Hosts):
    """A parser for records in MessagePack."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - those of _Hosts
        super().__init__(*arguments, **named)
        self.begin()

    def begin(self) -> None:
        """Begin with a record and forget an incomplete one."""
        import msgpack  # noqa: PLC0415 - few pipes need it

        self._unpacker = msgpack.Unpacker(
            object_pairs_hook=_record,
            strict_map_key=False,
            unicode_errors="replace",
            timestamp=1,  # seconds, which JSON has
            max_buffer_size=MOST_BUFFERED,
        )
        self._faults = (ValueError, msgpack.UnpackException, msgpack.BufferFull)

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes.

        :raises NotMessagePack: they are something else.
        """
        records = []
        try:
            self._unpacker.feed(chunk)
            for value in self._unpacker:
                if not isinstance(value, list | dict):
                    raise NotMessagePack(f"a record is a map, not {type(value).__name__}")
                records.append(value[-1] if isinstance(value, list) and value else value)
        except self._faults as error:
            raise NotMessagePack(str(error) or type(error).__name__) from error
        finally:
            self._feed_texts(text for record in records for text in _unwrap(record, None))


class PipedLines(_Hosts):
    """A parser for lines: plain text, or a record in JSON each."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - those of _Hosts
        super().__init__(*arguments, **named)
        self._held = bytearray()
        """The beginning of a record."""
        self._inside = False
        """The last line was plain and is not complete."""

    def begin(self) -> None:
        """Begin with a line and forget an incomplete one."""
        self._held.clear()
        if self._inside:
            self._inside = False
            self._readers.feed("", b"\n")

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

    def flush(self) -> None:
        """Hand over all crashes: the pipe has ended."""
        if self._held:
            self._records(bytes(self._held))
            self._held.clear()
        super().flush()

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
        """Parse lines, some of them records, those of each host together."""
        self._feed_texts(
            text
            for line in lines.splitlines(keepends=False)
            for text in (_unwrap(_decoded(line), line) if line.startswith(b"{") else (("", line),))
        )


def _decoded(line: bytes) -> object:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _record(pairs: Iterable[tuple[object, object]]) -> dict[str, object]:
    """Return a MessagePack map with string keys only, as in JSON, and with bytes decoded as text.

    Ruby packs a string of no encoding as bytes.
    """
    return {name: _as_text(value) for key, value in pairs if isinstance(name := _as_text(key), str)}


def _as_text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _unwrap(record: object, line: bytes | None) -> Iterator[tuple[str, bytes]]:
    """Yield host and text of a record.

    :param line: the record's JSON; yielded itself if it is no record, or one of the journal.
    """
    text = _first(record, _TEXT_KEYS) if isinstance(record, dict) else None
    if not isinstance(record, dict) or text is None:
        if line is not None:
            yield "", line
        return
    host = record.get("host")
    name = _first(host, _KEYS_OF_HOST) if isinstance(host, dict) else None
    name = name or _first(record, _HOST_KEYS) or ""
    if "_TRANSPORT" in record:
        yield name, line if line is not None else msgspec.json.encode(record)
    elif (_first(record, _PROGRAM_KEYS) or "kernel") == "kernel":
        yield name, text.rstrip("\n").encode("utf-8", "replace")


def _first(record: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """Return the first of these fields that holds text."""
    return next((record[key] for key in keys if isinstance(record.get(key), str)), None)


def follow_pipe(descriptor: int, lines: Piped, stop: Stop, clock: ListeningClock) -> None:
    """Read a pipe to its end, or until told to stop.

    :param clock: that of ``lines``.
    :raises OSError: it cannot be read any more.
    """
    with Waiter(stop) as waiter:
        always = False
        try:
            waiter.add(descriptor, descriptor)
        except PermissionError:  # a file, or /dev/null: there is nothing to wait for
            always = True
        while not stop.is_set():
            if always or clock.wait(waiter, lines.wait):
                chunk = os.read(descriptor, CHUNK)
                if not chunk:
                    break
                lines.feed(chunk)
            lines.settle()
    lines.flush()
