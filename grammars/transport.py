"""A transport: one way in which lines of the kernel's log travel, and how they are read back.

A transport is one file in :mod:`kpanic.grammars.transports`. Another distribution registers its own under the
entry point group ``kpanic.transports``: a :class:`Transport`, or a module that holds some.

The scan (:mod:`kpanic.grammars.scan`) looks at bytes and asks a transport for its marks; the line reader
(:mod:`kpanic.grammars.lines`) gives a line to the transports that it may be of, in their order, until one
takes it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

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
"""Input lines of one record, of a transport that does not say."""

_ESCAPE: Final = regex(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?|[@-Z\\^_])")
_VISIBLE: Final = {
    **{code: 0x2400 + code for code in range(0x20) if code != ord("\t")},
    0x7F: 0x2421,
    # C1 controls, and what turns the direction of writing or breaks the line
    **dict.fromkeys(
        [
            *range(0x80, 0xA0),
            0x61C,
            *range(0x200B, 0x2010),
            *range(0x2028, 0x202F),
            *range(0x2060, 0x2070),
            0xFEFF,
            *range(0xD800, 0xE000),  # lone surrogates, out of JSON
        ],
        0xFFFD,
    ),
}


def scrub(text: str) -> str:
    r"""Return text without escape sequences; control codes other than tab become visible (``\a``: ``␇``)."""
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return text.strip("\0\r").translate(_VISIBLE)


def json_value(text: str) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return the value of a JSON text; None if it is ``null``, cut or no JSON."""
    import json  # noqa: PLC0415 - few logs hold any

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def rows(  # noqa: PLR0913 - as many as a line has
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


class Row(NamedTuple):
    """One line of input."""

    number: int
    """Its number in the input, from 1."""
    text: str
    """Decoded; control codes are visible (:func:`scrub`)."""
    raw: str
    """As it stands in the input."""
    data: bytes
    """Its bytes, without the line break."""


class Context(Protocol):
    """The line reader's interface for the transports."""

    lost: int
    """Records that are missing before the next line."""

    def again(self, row: Row) -> list[Line]:
        """Read what a transport carried: it may be another transport's line."""


class LineReader:
    """Reads the lines of one transport that follow each other."""

    pending = False
    """More input is needed to complete a line."""
    open = False
    """The next line may continue what the last one began."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def read(self, row: Row) -> list[Line] | None:
        """Return the kernel's lines that a line of input completes; None where it is not this transport's."""
        raise NotImplementedError

    def passed(self) -> list[Line]:
        """Return the lines that are complete now that another transport's line came."""
        return []

    def flush(self) -> list[Line]:
        """Return the lines that the end of the input completes."""
        return []

    def gap(self) -> None:
        """Forget what the last line began: the next one does not follow it."""


class Records(Protocol):
    """Puts records in order that stand in the input in another one."""

    def read(self, number: int, line: bytes) -> bool:
        """Take a line; return False where it belongs to no record: they are over."""

    def lines(self) -> Sequence[tuple[int, bytes]]:
        """Return the numbers and the bytes of all lines, in the order in which the kernel printed them."""


class Encoded(Struct, frozen=True):
    """A form that hides the kernel's words from a search for them."""

    mark: str
    """The text right before such a message."""
    decode: Callable[[bytes, int], bytes | None]
    """Takes the input and the offset behind the mark; returns the message."""


class Transport(Struct, frozen=True):
    """One way in which lines of the kernel's log travel."""

    name: str
    reader: Callable[[Context], LineReader] | None = None
    """Makes what reads its lines; None where another transport's reader does."""
    echoes: bool = False
    """Whether it repeats lines that also come through another transport."""
    prefixes: bool = True
    """Its lines begin with a prefix of its own: a line without one continues the line before."""
    order: int = 50
    """Transports with a lower number are asked first."""
    starts: str = ""
    """Characters that a line of it may begin with; empty: any."""
    usual: str = ""
    """A pattern for its common line, with the groups ``time``, ``caller`` and ``text``, in this order."""
    unusual: tuple[str, ...] = ()
    """Text by which a line is this transport's though it has another one's usual form."""
    holds: bytes = b""
    """A pattern for lines that state their host (group ``host``) or never do: one line is a whole record."""
    tells: tuple[bytes, ...] = ()
    """Text of lines that are not whole, or that state their host elsewhere than at their beginning."""
    breaks: tuple[bytes, ...] = ()
    """Line breaks and tabs as records write them: they end in what looks like a part of the next word."""
    heads: tuple[bytes, ...] = ()
    """How a line of a record begins, where one takes other than :data:`RECORD` lines of input."""
    lines: int = RECORD
    """Maximum lines of input that such a record takes."""
    encoded: Encoded | None = None
    marks: tuple[str, ...] = ()
    """How the records begin that stand in another order than the kernel printed them."""
    begins: Callable[[bytes], bool] | None = None
    """Tells whether a line with such a mark begins a record."""
    records: Callable[[], Records] | None = None


class Transports:
    """All transports, in their order."""

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
        """Return which lines, from 0 on, may be another transport's although they have the usual form."""
        found: set[int] = set()
        for word in self._unusual:  # one search a word is fastest, and one for a rare first character first
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
        """Return the maximum lines of input of the record that a line's beginning is of."""
        for transport in self.all:
            if transport.heads and head.startswith(transport.heads):
                return transport.lines
        return RECORD

    def recording(self, line: bytes) -> Records | None:
        """Return what collects the records of which a line is the first; None where it begins none."""
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
