"""The pyparsing elements of a report's body: places in code, frames, link registers, numbers of an oops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyparsing import Empty, FollowedBy, Literal, Opt, Regex

from kpanic.grammars.vocabulary.elements import (
    UpTo,
    hex_digits,
    number,
    offset,
    one_of,
    rest_of_line,
    symbol_name,
    word_character,
)

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = [
    "bracket",
    "code",
    "decoded",
    "exception",
    "frame_symbol",
    "link",
    "mark",
    "place",
    "register",
    "soon",
]

decoded = Regex(r" \([^\s():]{1,200}:[\d?]").set_name("(file:line")
"""The source line after a symbol, which scripts/decode_stacktrace.sh adds."""

mark = Regex(r"</?#?[A-Z][A-Z0-9_]*>(?!:)").set_name("mark")
"""The marks between stacks: ``<IRQ>``, ``</TASK>``, ``<#DF>``, ``<EOI>``."""

bracket = (
    Regex(r"\[<?(?:0x)?|<(?=[0-9a-f]{8})")
    + (one_of("(ptrval)", "(____ptrval____)") | Regex("[0-9a-f]{0,16}")("address"))
    + Regex(r">?\]|>")
).set_name("[<address>]")


_home = (":" + Regex(r"[\w-]+")("home") + ":") | "."
_module = " [" + Regex(r"[\w-]+")("module") + Regex(r"[^\]\n]{0,100}\]")
code = (
    (Opt("(") + Opt(_home) + symbol_name("name") + (offset | FollowedBy(decoded))) + Opt(")") + Opt(_module)
).set_name("f+0x1/0x2 [module]")
"""A place in a function; fields: home, name, offset, size, module."""


def _place() -> ParserElement:
    opening, closing, digits = Regex(r"\[<?(?:0x)?"), Regex(r">?\][ \t]*"), Regex("[0-9a-f]*")
    address = opening + digits("address") + closing + Opt(opening + digits + closing)
    bare = ("0x" + hex_digits(1, 16)("address") | hex_digits(4, 16)("address")) + ~word_character
    return (address + Opt(code)) | code | bare | Empty()


place = _place().set_name("place")
"""``[<address>]``, ``f+0x1/0x2 [module]``, a bare address, or nothing; fields: address, home, name, offset,
size, module."""

link = (symbol_name("caller") + (Literal("+0x") | FollowedBy(decoded))).set_name("caller")
"""The function that a link register points into; field: caller."""


def register(name: str, between: str | ParserElement, digits: tuple[int, int]) -> ParserElement:
    """Return the expression of a register anywhere on a line; its fields are name and value.

    :param name: regular expression for its name.
    :param digits: minimum and maximum number of hexadecimal digits of its value.
    """
    least, most = digits
    count = str(least) if least == most else f"{least},{most}"
    value = Regex(rf"[0-9a-f]{{{count}}}(?!\w)")("value")
    return Regex(rf"(?<!\w){name}")("name") + between + value


_inlined = Regex(r"[ \t]+") + Regex(r"[^\s:]+:\d+")("place") + Regex(r"[ \t]+\[inline\]")
frame_symbol = (
    symbol_name("name") + (offset | _inlined | FollowedBy(decoded)) + rest_of_line("rest")
).set_name("f+0x1/0x2 …")
"""A frame's function and the rest of the line; fields: name, offset, size, place, rest."""


def soon(target: ParserElement) -> ParserElement:
    """Look ahead for ``target`` at the start of one of the next two lines; match without it too."""
    other = rest_of_line + "\n"
    return Opt(FollowedBy(other + (target | other + target)))


def exception(*words: str) -> ParserElement:
    """Match an exception that begins with one of the words, and its numbers: ``0002 [#1] PREEMPT SMP``.

    Its fields are error, number, flags. The number after ``sig:`` is a signal, not an error code.
    """
    error = Regex(r"(?<=[: ])(?<!sig: )[0-9a-f]{1,16}(?= )")("error") + " " + Regex(r"(?:ilc:\d )?")
    plain = Regex(r"\[(?=\d+\] )(?<=: [0-9a-f]{4} \[)")  # x86-64 before 2.6.25 has no #
    tail = Opt(error) + ("[#" | plain) + number("number") + "]"
    flags = Regex(r"(?: [A-Z][A-Z_0-9]*)*")("flags")
    return one_of(*words) + UpTo(tail, most=160) + tail + flags + rest_of_line
