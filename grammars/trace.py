r"""Call traces of every architecture: one grammar for the frame lines, one for what opens a trace.

The forms of a frame (kernel 2.6.32 to 7.x)::

    [<ffffffff81234567>] ? f+0x16/0x20 [module]     x86 before 4.9, s390x, arm64, riscv64
     f.isra.0+0x16/0x20 [module build-id]           x86 since 4.9
    [c000000000123456] [c000000000123456] f+0x16/0x20 (unreliable)       powerpc; .f on big endian
    [link register   ] c000000000123456 f+0x16/0x20     its debugger, xmon; then [c000…] c000… f+0x16/0x20
    [<c0101010>] (f) from [<c0202020>] (g+0x16/0x20)    arm before 6.0; then `f from g+0x16/0x20`
    ([<0000000000101010>] f+0x16/0x20)              s390x
     f file.c:123 [inline]                          symbolized
     ? f (file.c:123 (discriminator 1) other.h:45) module    by scripts/decode_stacktrace.sh
    [<ffffffff88050161>] :module:f+0x16/0x20        x86-64 before 2.6.25
    [<83178634>] 0x83178634 [module@83178000+0x2290]    OpenWrt's, without symbols
    [] f+0x16/0x20                                  what web pages leave of the first
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.grammars.element import Element
from kpanic.grammars.model import Frame
from kpanic.grammars.numbers import distance, hexadecimal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK: Final = r"</?#?[A-Z][A-Z0-9_]*>"
"""What separates stacks: ``<IRQ>``, ``</TASK>``, ``<#DF>``, ``<EOI>``."""
NAME: Final = r"[A-Za-z_$][\w$.]*+(?>(?:::[\w$.]++)*)"
"""A symbol, suffixes of the compiler included."""
RUST: Final = r"<[A-Za-z_][^>\n]{0,200}(?:>[^>\n+]{0,200}){1,4}"
"""A demangled Rust method: ``<T as Trait>::method``."""
_BRACKETS: Final = r"(?:\[<?(?:0x)?[0-9a-f]*>?\][ \t]*|<[0-9a-f]{8,16}>[ \t]*){0,2}(?:(?<=\] )[0-9a-f]{16} )?"
_WHERE: Final = r"\([^\s():]+:[\d?]"
DECODED: Final = rf" {_WHERE}"
"""Behind a symbol: where scripts/decode_stacktrace.sh found it."""

_FROM: Final = rf"(?:(?:\({NAME}(?:\+[^)\n]*)?\)|{NAME}(?: \[[\w-]+\])?) from {_BRACKETS})?"
_CODE: Final = (
    rf"(?:\[link register   \] )?(?P<address>\(?{_BRACKETS})(?P<guess>\?[ \t]+)?{_FROM}"
    rf"\(?[ \t]*(?::(?P<home>[\w-]+):|\.)?(?P<name>{NAME}|{RUST})\+0x"
    r"(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)(?P<rest>[^\n]*)"
)
_INLINE: Final = (
    rf"(?:\(?{_BRACKETS}\({NAME}\) from {_BRACKETS}\()?(?P<inlined>{NAME})[ "
    r"\t]+(?P<place>[^\s:]+:\d+)[ \t]+\[inline\][ \t)]*"
)
_RAW: Final = (
    r"(?P<raw>(?:\[<?(?:0x)?[0-9a-f]{8,16}>?\][ \t]*){1,2}(?:\?[ \t]+)?(?:\(null\)|"
    r"0x[0-9a-f]+)?|(?:\? )?0x[0-9a-f]{8,16})[ \t]*(?:\[(?P<inside>[\w-]+)@[^\]\n]*\][ \t]*)?"
)
_DECODED: Final = rf"(?P<doubt>\?[ \t]+)?(?P<decoded>{NAME})(?={DECODED})(?P<where>[^\n]*)"
FRAME: Final = rf"[ \t]*(?:(?P<mark>{MARK})[ \t]*)?(?:{_CODE}|{_INLINE}|{_RAW}|{_DECODED})?"


def unnamed(pattern: str) -> str:
    """Take the names from a pattern's groups, so that it can be repeated."""
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


_frame = re.compile(rf"^{FRAME.replace(_FROM, '')}$", re.MULTILINE)
_module = re.compile(r"\[([\w-]+)[^\]\n]*\]")
_place = re.compile(r"[\w./-]+\.(?:c|h|S|rs):\d+")
_behind = re.compile(r"\) ([\w-]+)[ \t]*$")
_digits = re.compile(r"[0-9a-f]{8,16}")
_some = re.compile(rf"\+0x|\[inline\]|\[<?(?:0x)?[0-9a-f]{{8}}| 0x[0-9a-f]{{8}}|{DECODED}")
_sound = re.compile(
    rf"^(?![ \t]*(?:{MARK}[ \t]*)?\? )[^\n]*?"
    rf"(?:\+0x|\[inline\]|\[<?(?:0x)?[0-9a-f]{{8}}| 0x[0-9a-f]{{8}}|{DECODED})",
    re.MULTILINE,
)
_bracketed = re.compile(rf"^[ \t]*(?:{MARK}[ \t]*)?\[<?[0-9a-f]*>?\] ", re.MULTILINE)
_in_module = re.compile(r"/0x[0-9a-f]+ \[")


class Trace:
    """A run of frame lines without another line between them; taken apart when somebody asks."""

    __slots__ = ("_frames", "_text", "linked")

    def __init__(self, text: str) -> None:
        """Keep the lines."""
        self._text = text
        self._frames: tuple[Frame, ...] | None = None
        self.linked = " from " in text
        """Written as ``f from g``: such a trace needs no line that opens it."""

    def __eq__(self, other: object) -> bool:
        """Compare the lines."""
        return isinstance(other, Trace) and self._text == other._text

    def __hash__(self) -> int:
        """Hash the lines."""
        return hash(self._text)

    def __bool__(self) -> bool:
        """Tell whether there is a frame among the lines."""
        return _some.search(self._text) is not None

    @property
    def sound(self) -> bool:
        """Tell whether there is one that is no guess, or one of a kernel that can but guess."""
        return _sound.search(self._text) is not None

    @property
    def guesses(self) -> tuple[Frame, ...]:
        """The frames, if they are of a kernel that prints addresses: without frame pointers it guesses."""
        return self.frames if _bracketed.search(self._text) else ()

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames, in the kernel's order: the innermost first."""
        if self._frames is None:
            self._frames = tuple(_read_frames((_linked() if self.linked else _frame).finditer(self._text)))
        return self._frames

    @property
    def modular(self) -> tuple[Frame, ...]:
        """The frames in modules."""
        return tuple(frame for frame in self.frames if frame.module) if _in_module.search(self._text) else ()


class Opening(NamedTuple):
    """``Call Trace:`` and whatever else opens a list of frames."""

    label: str


@functools.cache
def _linked() -> re.Pattern[str]:
    """Return the expression for frames of arm: only they say who called."""
    return re.compile(rf"^{FRAME}$", re.MULTILINE)


def _read_frames(lines: Iterable[re.Match[str]]) -> Iterator[Frame]:
    stack = ""
    for match in lines:
        (
            mark,
            address,
            guess,
            home,
            name,
            offset,
            size,
            rest,
            inlined,
            place,
            raw,
            inside,
            doubt,
            decoded,
            where,
        ) = match.groups()
        if mark:
            stack = "" if mark[1] == "/" or mark == "<EOI>" else mark[1:-1]
        if name:
            module, file = home or "", ""
            reliable = not guess
            number = None
            if rest:
                found = _module.search(rest)
                module = found[1] if found else module
                at = _place.search(rest)
                file = at[0] if at else ""
                reliable = reliable and "(unreliable)" not in rest
            if address and (digits := _digits.search(address)):
                number = hexadecimal(digits[0])
            yield Frame(name, distance(offset), distance(size), module, number, reliable, stack, file)
        elif inlined:
            yield Frame(inlined, stack=stack, file=place, inline=True)
        elif decoded:
            found, at = _behind.search(where), _place.search(where)
            yield Frame(
                decoded,
                module=found[1] if found else "",
                reliable=not doubt,
                stack=stack,
                file=at[0] if at else "",
            )
        elif raw:
            digits = _digits.search(raw)
            yield Frame(
                "",
                module=inside or "",
                address=hexadecimal(digits[0]) if digits else None,
                reliable="?" not in raw,
                stack=stack,
            )


frames = Element(
    "frames",  # what is tried at each place of a line begins with a literal, or all of it takes twice as long
    rf"(?:(?:[ \t(\[<]|{NAME} from )[^\n]*(?:\+0x[0-9a-f]+/0x|\[inline\]|[A-Z]>|\] +(?:\? "
    rf")?(?:0x|\(null\))|0(?<=\s0)x[0-9a-f]{{8}}| (?<=\w ){_WHERE})[^\n]*\n"
    rf"|(?:\? )?{NAME}(?:{DECODED}[^\n]*|\+0x[0-9a-f]+/0x[0-9a-f]+"
    r"(?: \[[^\]\n]*\])?(?: ?\(\w+\))?[ \t]*)\n)+",
    lambda match: Trace(match[0]),
)
FRAMES_LEAD: Final = (
    rf"[ \t]*(?:{MARK}|\[link register   \] c|\(?\[<?(?:0x)?[0-9a-f]*>?\] *[\w(?\n<\[.:]"
    rf"|(?:\?[ \t]+)?{NAME}(?:\+0x[0-9a-f]+/|{DECODED})|<[0-9a-f]{{8,16}}> \w|{RUST}\+0x"
    rf"|{NAME}(?: \[[\w-]+\])? from {NAME}\+0x|{NAME}[ \t]+\S+:\d+[ \t]+\[inline\]"
    r"|(?:\? )?0x[0-9a-f]{8,16}(?: \[[\w-]+@[^\]\n]*\])?[ \t]*\n)"
)
"""What the first line of a run of frames starts with."""

_TASK: Final = r"(?: by task \d+)?(?: on cpu \d+)?(?: at [\d.]+s(?: \([^)\n]*\))?)?"
OPENING_LEAD: Final = (
    r"(?:[ \t0-9a-f]{0,90}Call [Tt]race|Backtrace| *backtrace(?: \(crc [0-9a-f]+\))?"
    rf"|(?:kfence-#\d+ \[[^\n]{{0,120}}?)?(?:Allocated|allocated|Freed|freed){_TASK}|(?:Second to l|L)ast "
    "potentially related work creation"
    r"|Uninit was (?:stored to memory|created) at|(?:<[A-Z]+>)?Entry trace):"
)
"""What opens a list of frames: the trace itself, where memory came from, where it went."""
opening = Element("opening", OPENING_LEAD, lambda match: Opening(match[0].strip()))
