"""Backtraces: the opening line and the frames (arch/*/kernel/{dumpstack,stacktrace}.c, 2.6.32 to 7.x)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, rows, sentence
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Frame
from kpanic.grammars.numbers import distance, hexadecimal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyparsing import ParserElement

    from kpanic.grammars.sentence import Sentence

__all__ = ["BLOCKS", "FRAMES", "Opening", "Trace"]

SHORTEST: Final = 8
"""Digits of an address without a symbol."""
_FIELDS: Final = (
    *("name", "address", "offset", "size", "place", "rest"),
    *("guess", "mark", "home", "inside", "number"),
)
"""Fields of a frame. The sentence of a machine's own frames has the first six, and optionally some others."""
_MODULE: Final = regex(r"\[([\w-]{1,64})[^\]\n]{0,200}\]")
_PLACE: Final = regex(r"(?<![\w./-])[\w./-]{1,255}\.(?:c|h|S|rs):\d+")
_BEHIND: Final = regex(r"\) ([\w-]+)[ \t]*$")
_BRACKETED: Final = regex(r"^[ \t]*(?:</?#?[A-Z][A-Z0-9_]*>[ \t]*)?\[<?[0-9a-f]*>?\] ", re.MULTILINE)


class Opening(Struct, frozen=True):
    """``Call Trace:`` and other lines that open a list of frames."""

    label: str


class Trace:
    """Consecutive lines with frames, which are parsed on demand.

    :param text: the lines.
    :param frame: the sentence of one line.
    :param machine: ``uname -m`` of the only machine with this format of frames; empty if several have it.
    :param linked: whether the format needs no opening line.
    :param matches: the match of each line, if they were matched one by one.
    """

    __slots__ = ("_frame", "_frames", "_matches", "_places", "_text", "linked", "machine")

    def __init__(
        self,
        text: str,
        frame: Sentence,
        machine: str = "",
        *,
        linked: bool = False,
        matches: Sequence[re.Match[str]] = (),
    ) -> None:
        self._text = text
        self._frame = frame
        self._matches = matches
        self._frames: tuple[Frame, ...] | None = None
        self._places: tuple[int, ...] = ()
        self.machine = machine
        self.linked = linked

    def __eq__(self, other: object) -> bool:
        """Compare the lines."""
        return isinstance(other, Trace) and self._text == other._text

    def __hash__(self) -> int:
        """Hash the lines."""
        return hash(self._text)

    def __bool__(self) -> bool:
        """Tell whether the lines contain a frame."""
        return next(iter(self), None) is not None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, parsed on demand."""
        if self._frames is not None:
            return iter(self._frames)
        return (frame for _, frame in self._read())

    def _read(self) -> Iterator[tuple[int, Frame]]:
        """Yield each frame with the index of its line."""
        if "decimal" in self._frame.regex.groupindex:
            return _read_rows(self._text, self._frame)
        matches = enumerate(self._matches) if self._matches else _matches(self._text, self._frame)
        return _read_frames(matches, self._frame)

    def mentions(self, text: str) -> bool:
        """Tell whether the lines contain a text, without parsing them."""
        return text in self._text

    @property
    def sound(self) -> bool:
        """Tell whether the lines contain a reliable frame, or frames of a kernel that only guesses."""
        return any(frame.reliable or frame.address is not None for frame in self)

    @property
    def guesses(self) -> tuple[Frame, ...]:
        """The frames, if they have addresses: a kernel that prints addresses may only guess frames."""
        return self.frames if _BRACKETED.search(self._text) else ()

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames, innermost first."""
        if self._frames is None:
            found = list(self._read())
            self._frames = tuple([frame for _, frame in found])
            self._places = tuple([place for place, _ in found])
            self._matches = ()
        return self._frames

    @property
    def places(self) -> tuple[int, ...]:
        """The index of each frame's line."""
        return self._places if self.frames else ()


def _read_rows(text: str, frame: Sentence) -> Iterator[tuple[int, Frame]]:
    """Read lines with several frames each and decimal offsets."""
    for number, line in enumerate(text.splitlines()):
        for found in frame.regex.finditer(line):
            address = hexadecimal(found["address"])
            yield number, Frame(found["name"], int(found["decimal"]), None, found["home"] or "", address)


def _matches(text: str, frame: Sentence) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield the match of each line that has one, with the index of the line."""
    match = frame.regex.match
    at, line, end = 0, 0, len(text)
    while at < end:
        if found := match(text, at):
            yield line, found
        at = text.index("\n", at) + 1
        line += 1


def _read_frames(
    matches: Iterable[tuple[int, re.Match[str]]], frame: Sentence
) -> Iterator[tuple[int, Frame]]:
    """Read line by line; the name of a stack applies until its end or the next name.

    Yield each frame with the index of its line.

    :param matches: those of the lines, with the lines' indices.
    """
    stack = ""
    known = frame.regex.groupindex
    fields = [known[field] for field in _FIELDS if field in known]  # groups are faster by number than by name
    called = "called" in known  # arm's first line names the innermost function and its caller
    missing = (None,) * (len(_FIELDS) - len(fields))
    for line, found in matches:
        if called and not line:
            yield line, Frame(found["called"], stack=stack)
        row: tuple[str | None, ...] = found.group(*fields) + missing
        name, address, offset, size, place, rest, guess, mark, home, inside, number = row
        if mark:
            stack = "" if mark[1] == "/" or mark == "<EOI>" else mark[1:-1]
        address = address or number
        if not name and len(address or "") < SHORTEST:
            continue
        module, file, reliable = home or inside or "", place or "", not guess
        if rest:
            if behind := _MODULE.search(rest) or _BEHIND.search(rest):
                module = behind[1]
            if not file and (where := _PLACE.search(rest)):
                file = where[0]
            reliable = reliable and "(unreliable)" not in rest
        yield (
            line,
            Frame(
                name or "",
                distance(offset),
                distance(size),
                module,
                hexadecimal(address) if address else None,
                reliable,
                stack,
                file,
                bool(place),
            ),
        )


@sentence
def frame() -> ParserElement:
    """[<ffffffff81234567>] ? f+0x16/0x20 [module]

     f.isra.0+0x16/0x20 [module 0123456789abcdef]

     <IRQ>  [<ffffffff81234567>] f+0x16/0x20

     [<ffffffff88050161>] :module:f+0x16/0x20

     f file.c:123 [inline]

     ? f (file.c:123 (discriminator 1) other.h:45) module

    [<83178634>] 0x83178634 [module@83178000+0x2290]

     [<ffffffff81234567>] ? (null)

    [] f+0x16/0x20

     </IRQ>
    """  # x86 before 4.9, and others; since; ; x86-64 before 2.6.25; symbolized; OpenWrt; web page
    address = k.Opt(k.bracket)
    nothing = k.Regex(r"(?<=[>\]])(?=[ \t]*(?:\n|\Z))").set_name("nothing behind a mark or an address")
    home = k.Opt(":" + k.Regex(r"[\w-]+")("home") + ":")
    inside = k.Opt("[" + k.Regex(r"[\w-]+")("inside") + k.Regex(r"@[^\]\n]{0,100}\][ \t]*"))
    number = ("(null)" | "0x" + k.hex_digits(4, 16)("number")) + k.spaces + inside + k.end_of_line
    guess = k.Opt(k.Regex(r"\?[ \t]+")("guess"))
    code = guess + (home + k.frame_symbol | number)
    before = k.FollowedBy(k.Regex(r"[<\[]")) + k.Opt(k.mark("mark")) + k.spaces + address
    return k.spaces + k.Opt(before) + (k.spaces + code | nothing)


@rows("frames", lambda text, matches: Trace(text, frame, matches=matches), each=frame)
def frames() -> ParserElement:
    """dump_stack+0x10/0x20
    <IRQ>
    f+0x16/0x20 [module]
    """
    return k.Lines(frame.build())("lines")


@block("frames", lambda fields: Trace(fields["lines"], frame, linked=True), each=frame)
def behind_opening() -> ParserElement:
    """Call Trace: [<001f64b0>] kunit_run_tests+0x2f2/0x3d2
    [<000359ba>] parse_args+0x0/0x202
    """  # m68k; mips before 4.10
    opening = k.one_of("Call Trace: ", "Call Trace:")
    return opening + k.FollowedBy("[<") + k.Lines(frame.build())("lines")


@sentence
def braced() -> ParserElement:
    """<ffffffff8013f143>{run_timer_softirq+387}

    <ffffffffa01b9b1c>{:ext3:ext3_get_block+44}
    """
    home = k.Opt(":" + k.Regex(r"[\w-]+")("home") + ":")
    place = home + k.symbol_name("name") + k.Regex("[+_]") + k.number("decimal")
    return "<" + k.hex_digits(16, 16)("address") + ">{" + place + "}"


@block("frames", lambda fields: Trace(fields["lines"], braced, "x86_64", linked=True), each=braced)
def braced_rows() -> ParserElement:
    """Call Trace: <IRQ> <ffffffff8013f2a0>{process_timeout+0} <ffffffff8013f143>{run_timer_softirq+387}
           <ffffffff8013b111>{__do_softirq+113} <ffffffff8010ee63>{call_softirq+31}

    Call Trace:<ffffffffa01b9b1c>{:ext3:ext3_get_block+44}
    """  # x86-64 before 2.6.16
    frame = k.Regex(r" ?(?:<[A-Z/]{3,6}> ?){0,2}<[0-9a-f]{16}>\{[^}\n]{1,80}\}")
    row = k.Regex(r"[ \t]*") + frame + k.rest_of_line
    return k.one_of("Call Trace: ", "Call Trace:") + k.FollowedBy("<") + k.Lines(row)("lines")


@block("opening", lambda fields: Opening(fields["label"].strip()))
def opening() -> ParserElement:
    """Call Trace:

    backtrace (crc 1c2d3e4f):

    Allocated by task 1234 on cpu 0 at 12.345678s:

    Uninit was created at:
    """
    digits = k.Regex(r"[ \t0-9a-f]{0,90}")  # the dump of the stack
    by_task = k.Regex(
        r"(?: by task \d{1,10})?(?: on cpu \d{1,5})?(?: at [\d.]{1,20}s(?: \([^)\n]{0,60}\))?)?"
    )
    memory = (
        k.Opt(
            k.Regex(r"kfence-#\d+ \[")
            + k.UpTo(k.one_of("llocated", "reed", "Freed", "Allocated", "freed", "allocated"), most=120)
        )
        + k.one_of("Allocated", "allocated", "Freed", "freed")
        + by_task
    )
    label = (
        (digits + k.one_of("Call Trace", "Call trace"))
        | k.one_of("Stack Trace", "Trace")  # arc, alpha
        | "Backtrace"
        | k.Regex(r" *backtrace(?: \(crc [0-9a-f]{1,8}\))?")
        | memory
        | k.one_of(
            "Second to last potentially related work creation", "Last potentially related work creation"
        )
        | k.one_of("Uninit was stored to memory at", "Uninit was created at")
        | k.Regex(r"(?:<[A-Z]+>)?Entry trace")
    )
    return k.Combine(label + ":")("label")


BLOCKS: Final = (braced_rows, behind_opening, opening)
FRAMES: Final = (frames,)
"""Sentences without a literal, which are tried last."""
