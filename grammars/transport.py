"""A transport: a format in which lines of the kernel's log are stored or sent, and its reader.

A transport is one file in :mod:`kpanic.grammars.transports`. Another distribution registers its own under the
entry point group ``kpanic.transports``: a :class:`Transport`, or a module that contains some.

The scan (:mod:`kpanic.grammars.scan`) searches bytes for the marks of transports. The line reader
(:mod:`kpanic.grammars.lines`) offers a line to the possible transports, in order, until one takes it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from kpanic import plugins
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Context",
    "Encoded",
    "LineReader",
    "Records",
    "Row",
    "Transport",
    "Transports",
    "default",
    "json_value",
    "rows",
    "scrub",
]

GROUP: Final = "kpanic.transports"
RECORD: Final = 4
"""Maximum input lines of a record, unless the transport sets another number."""

_ESCAPE: Final = regex(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?|[@-Z\\^_])")
_VISIBLE: Final = {
    **{code: 0x2400 + code for code in range(0x20) if code != ord("\t")},
    0x7F: 0x2421,
    # C1 controls, and characters that change the direction of writing or break the line
    **dict.fromkeys(
        [
            *range(0x80, 0xA0),
            0x61C,
            *range(0x200B, 0x2010),
            *range(0x2028, 0x202F),
            *range(0x2060, 0x2070),
            0xFEFF,
            *range(0xD800, 0xE000),  # lone surrogates from JSON
        ],
        0xFFFD,
    ),
}


def scrub(text: str) -> str:
    r"""Return text without escape sequences; control codes other than tab become visible (``\a``: ``␇``)."""
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return text.strip("\0\r").translate(_VISIBLE)


def json_value(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a JSON text; None if it is ``null``, truncated or not JSON."""
    import json  # noqa: PLC0415 - few logs contain JSON

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def rows(  # noqa: PLR0913 - the fields of a line
    number: int,
    message: str,
    raw: str,
    *,
    time: float | None = None,
    caller: str = "",
    host: str = "",
    epoch: float | None = None,
    lost: int = 0,
) -> list[Line]:
    """Return the lines of a record's message; ``lost`` records are missing before the first."""
    lines = []
    for part in message.rstrip("\n").split("\n"):
        text = part if part.isprintable() else scrub(part)
        lines.append(Line(number, text, time, caller, host, epoch, lost, raw))
        lost = 0
    return lines


class Row(Struct, frozen=True, gc=False):
    """One line of input."""

    number: int
    """The line's number in the input, from 1."""
    text: str
    """The decoded line, with visible control codes (:func:`scrub`)."""
    raw: str
    """The line as in the input."""
    data: bytes
    """The bytes of the line, without the line break."""


class Context(Protocol):
    """The line reader's interface for the transports."""

    lost: int
    """Number of records that are missing before the next line."""

    def again(self, row: Row) -> list[Line]:
        """Read the text of a transport's line, which may be another transport's line."""


class LineReader:
    """Reads consecutive lines of one transport."""

    pending = False
    """Whether more input is needed to complete a line."""
    open = False
    """Whether the next line may continue the last one."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def read(self, row: Row) -> list[Line] | None:
        """Return the kernel's lines that a line of input completes; None if it is not of this transport."""
        raise NotImplementedError

    def passed(self) -> list[Line]:
        """Return the lines that a line of another transport completes."""
        return []

    def flush(self) -> list[Line]:
        """Return the lines that the end of the input completes."""
        return []

    def gap(self) -> None:
        """Forget an incomplete line, because the next line does not follow it."""


class Records(Protocol):
    """Sorts records that are in another order in the input."""

    def read(self, number: int, line: bytes) -> bool:
        """Take a line; return False if it is not part of a record, which ends them."""

    def lines(self) -> Sequence[tuple[int, bytes]]:
        """Return the numbers and the bytes of all lines, in the order in which the kernel printed them."""


class Encoded(Struct, frozen=True):
    """An encoding in which the kernel's text cannot be searched directly."""

    mark: str
    """The text directly before such a message."""
    decode: Callable[[bytes, int], bytes | None]
    """Takes the input and the offset after the mark; returns the message."""


class Transport(Struct, frozen=True):
    """A format in which lines of the kernel's log are stored or sent."""

    name: str
    reader: Callable[[Context], LineReader] | None = None
    """Makes the reader of its lines; None if another transport's reader reads them."""
    echoes: bool = False
    """Whether it repeats lines of another transport."""
    prefixes: bool = True
    """Whether its lines begin with a prefix, so that a line without one continues the previous line."""
    order: int = 50
    """Transports with a lower number are tried first."""
    starts: str = ""
    """Characters with which its lines may begin; empty for any."""
    usual: str = ""
    """A pattern for its usual lines, with the groups ``time``, ``caller`` and ``text``, in this order."""
    unusual: tuple[str, ...] = ()
    """Text that identifies lines of this transport that have the usual form of another one."""
    holds: bytes = b""
    """A pattern for lines that are complete records, with the host, if they state it, as group ``host``."""
    tells: tuple[bytes, ...] = ()
    """Text of lines that are incomplete, or that state their host after their beginning."""
    breaks: tuple[bytes, ...] = ()
    """Escapes of line breaks and tabs, whose ends look like a part of the next word."""
    heads: tuple[bytes, ...] = ()
    """Beginning of a line of a record, if records have other than :data:`RECORD` lines of input."""
    lines: int = RECORD
    """Maximum lines of input that such a record takes."""
    encoded: Encoded | None = None
    marks: tuple[str, ...] = ()
    """Beginnings of records that are in another order than the kernel printed them."""
    begins: Callable[[bytes], bool] | None = None
    """Tells whether a line with such a mark begins a record."""
    records: Callable[[], Records] | None = None


class Transports:
    """All transports, in order."""

    def __init__(self, transports: Sequence[Transport]) -> None:
        self.all = tuple(sorted(transports, key=lambda transport: (transport.order, transport.name)))
        usual = next((transport for transport in self.all if transport.usual), Transport(""))
        self.usual, self.usual_name = usual.usual or r"(?!)()()()", usual.name
        self._unusual = tuple(word for transport in self.all for word in transport.unusual)
        self.echoes = frozenset(transport.name for transport in self.all if transport.echoes)
        self.tells = tuple(text for transport in self.all for text in transport.tells)
        self.breaks = tuple(text for transport in self.all for text in transport.breaks)
        self.encoded = tuple(transport.encoded for transport in self.all if transport.encoded)
        self.recorded = tuple(transport for transport in self.all if transport.records)
        self.marks = tuple(mark for transport in self.recorded for mark in transport.marks)
        held = b"|".join(b"(?:%s)" % transport.holds for transport in self.all if transport.holds)
        self.holds = regex(held.replace(b"(?P<host>", b"(") or rb"(?!)")
        """A line that can be held back; its last group is the host, if it states one."""
        self.starts = {
            chr(code): tuple(
                number
                for number, transport in enumerate(self.all)
                if transport.reader and (not transport.starts or chr(code) in transport.starts)
            )
            for code in range(0x80)
        }
        """Numbers of the transports whose line may begin with a character; see :attr:`others`."""
        self.others = tuple(
            number for number, transport in enumerate(self.all) if transport.reader and not transport.starts
        )
        """Numbers of the transports whose line may begin with any character."""

    def unusual(self, text: str) -> set[int]:
        """Return the indexes of lines that may be of another transport although they have the usual form."""
        found: set[int] = set()
        for word in self._unusual:  # one search for each is fastest, after one for its first character
            if word[0] not in text:
                continue
            line = place = 0
            at = text.find(word)
            while at >= 0:
                line += text.count("\n", place, at)
                found.add(line)
                place = at
                at = text.find(word, at + 1)
        return found

    def lines(self, head: bytes) -> int:
        """Return the maximum lines of input of the record of a line, by the line's beginning."""
        for transport in self.all:
            if transport.heads and head.startswith(transport.heads):
                return transport.lines
        return RECORD

    def recording(self, line: bytes) -> Records | None:
        """Return the collector of the records that a line begins; None if it begins none."""
        for transport in self.recorded:
            if transport.records and transport.begins and transport.begins(line):
                return transport.records()
        return None


@functools.lru_cache(maxsize=1)
def default() -> Transports:
    """Return the transports that are installed."""
    return Transports(
        tuple({transport.name: transport for transport in plugins.installed(GROUP, Transport)}.values())
    )
