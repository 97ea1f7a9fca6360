"""The pyparsing elements that :mod:`kpanic.grammars.vocabulary` offers.

An element matches within one line unless its name says otherwise. It never skips white space, and never
backtracks into its match: pyparsing is a parsing expression grammar. ``element("name")`` makes it a field.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pyparsing as pp
from pyparsing import Combine, FollowedBy, Literal, MatchFirst, OneOrMore, Opt, Regex, ZeroOrMore

from kpanic.grammars.sentence import MOST_LINES

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = [
    "Combine",
    "FollowedBy",
    "Later",
    "Lines",
    "Literal",
    "MatchFirst",
    "OneOrMore",
    "Opt",
    "Regex",
    "UpTo",
    "ZeroOrMore",
    "address",
    "any_text",
    "end_of_line",
    "end_of_text",
    "function",
    "hex_digits",
    "hex_number",
    "kebab",
    "later",
    "letter",
    "name",
    "number",
    "offset",
    "one_of",
    "path",
    "rest_of_line",
    "sentence",
    "source",
    "spaces",
    "suffix",
    "symbol",
    "symbol_name",
    "task",
    "text",
    "word",
    "word_character",
]


def _short(element: ParserElement | None) -> str:
    """Return an element's name, cut to the room in a diagram."""
    return textwrap.shorten(str(element), 32, placeholder="…")


class UpTo(pp.ParseElementEnhance):
    """The text of the line before a place where ``target`` matches.

    Without such a place the element matches the rest of the line.

    :param target: the end of the text; it is not consumed.
    :param least: minimum characters of the text.
    :param most: maximum characters of the text.
    """

    def __init__(self, target: ParserElement | str, *, least: int = 0, most: int = 400) -> None:
        super().__init__(target)
        self.least, self.most = least, most
        self._may_return_empty = least == 0
        self.saveAsList = False
        self.set_name(f"text up to {_short(self.expr)}")

    def parseImpl(self, instring: str, loc: int, do_actions: bool = True) -> tuple[int, pp.ParseResults]:  # noqa: ARG002, FBT001, FBT002, N802 - pyparsing's own
        """Match the text (an interface of pyparsing)."""
        at = loc
        while (
            at - loc < self.most
            and at < len(instring)
            and instring[at] != "\n"
            and (at - loc < self.least or not self.expr.can_parse_next(instring, at))
        ):
            at += 1
        if at - loc < self.least:
            raise pp.ParseException(instring, loc, self.errmsg, self)
        return at, pp.ParseResults([instring[loc:at]])


class Later(pp.ParseElementEnhance):
    """The text up to the first place where ``target`` matches, on one of the next ``within`` lines.

    The element begins at the end of a line. Neither the lines nor ``target`` become a field.
    """

    def __init__(self, target: ParserElement | str, *, within: int) -> None:
        super().__init__(target)
        self.within = within
        self._may_return_empty = False
        self.set_name(f"one of the next {within} lines, up to {_short(self.expr)}")

    def parseImpl(self, instring: str, loc: int, do_actions: bool = True) -> tuple[int, pp.ParseResults]:  # noqa: ARG002, FBT001, FBT002, N802 - pyparsing's own
        """Find the place (an interface of pyparsing)."""
        at = loc
        for _ in range(self.within):
            if not instring.startswith("\n", at):
                break
            at += 1
            while at <= len(instring):
                if self.expr.can_parse_next(instring, at):
                    return at, pp.ParseResults([])
                if instring.startswith("\n", at):
                    break
                at += 1
        raise pp.ParseException(instring, loc, self.errmsg, self)


class Lines(pp.ParseElementEnhance):
    """The text of lines that each match ``line``, their line ends included.

    The fields of ``line`` are left out; to get them, match the text line by line.

    :param line: the expression that each line matches as a whole.
    :param least: minimum number of lines.
    :param most: maximum number of lines.
    """

    def __init__(self, line: ParserElement | str, *, least: int = 1, most: int = MOST_LINES) -> None:
        super().__init__(line)
        self.least, self.most = least, most
        self._may_return_empty = least == 0
        self.saveAsList = False
        self.set_name(f"lines of {self.expr}")

    def parseImpl(self, instring: str, loc: int, do_actions: bool = True) -> tuple[int, pp.ParseResults]:  # noqa: ARG002, FBT001, FBT002, N802 - pyparsing's own
        """Match the lines (an interface of pyparsing)."""
        at, count = loc, 0
        while count < self.most:
            try:
                end = self.expr.try_parse(instring, at)
            except pp.ParseException:
                break
            if not instring.startswith("\n", end):
                break
            at, count = end + 1, count + 1
        if count < self.least:
            raise pp.ParseException(instring, loc, self.errmsg, self)
        return at, pp.ParseResults([instring[loc:at]])


def one_of(*words: str) -> ParserElement:
    """Match the first word, in the given order, that the text begins with."""
    return MatchFirst([Literal(one) for one in words])


def sentence(words: str) -> ParserElement:
    """Match the words; the case of the first letter does not matter."""
    return one_of(words[0].lower() + words[1:], words[0].upper() + words[1:])


def later(target: ParserElement | str, *, within: int = 25) -> ParserElement:
    """Match the rest of the line and, on one of the next ``within`` lines, ``target``."""
    return rest_of_line + Later(target, within=within) + target


def task(field: str, *, until: str) -> ParserElement:
    """Match a task's name (field ``field``) and PID (field ``pid``) before the words ``until``."""
    return UpTo(":" + number + until, least=1, most=64)(field) + ":" + number("pid")


def text(most: int = 400) -> ParserElement:
    """Match 1 to ``most`` characters of the line."""
    return Regex(rf"[^\n]{{1,{most}}}").set_name("text")


def hex_digits(least: int, most: int) -> ParserElement:
    """Match ``least`` to ``most`` hexadecimal digits, not followed by another one."""
    return Regex(rf"[0-9a-f]{{{least},{most}}}(?![0-9a-f])").set_name(f"{least} to {most} hex digits")


rest_of_line = Regex(r"[^\n]*").set_name("rest of line")
any_text = text()
end_of_line = FollowedBy(Regex(r"\n|\Z")).set_name("end of line")
end_of_text = ~Regex(r"(?s:.)").set_name("character")
spaces = Regex(r"[ \t]*").set_name("spaces")
word = Regex(r"\S+").set_name("word")
word_character = Regex(r"\w").set_name("word character")
letter = Regex(r"[A-Za-z]").set_name("letter")
number = Regex(r"[0-9]+").set_name("number")
hex_number = Regex(r"[0-9a-f]+").set_name("hex number")
address = (Opt("0x") + Regex(r"[0-9a-f]{4,16}").set_name("digits")("address")).set_name("address")
"""An address, with or without ``0x``; its digits are the field ``address``."""
name = Regex(r"\w+").set_name("name")
kebab = Regex(r"[a-z-]+").set_name("words-with-hyphens")
path = Regex(r"[\w./-]+\.[chS](?![\w])").set_name("path")
function = Regex(r"[A-Za-z_][\w$]*").set_name("function")
"""A function of C, or of Rust by its mangled name, without the suffixes of the compiler."""
suffix = Opt(Regex(r"\.[\w.]+").set_name(".suffix"))
"""The compiler's suffixes of a name: ``.isra.0``."""
symbol_name = Regex(
    r"[A-Za-z_$][A-Za-z0-9_$.]*(?:::[A-Za-z0-9_$.]+)*"
    r"|<[A-Za-z_][^>\n]{0,200}(?:>[^>\n+]{0,200}){1,4}"
).set_name("symbol name")
"""A symbol as the kernel prints it: with the compiler's suffixes, or a demangled name of Rust."""
offset = ("+0x" + hex_number("offset") + Opt("/0x" + hex_number("size"))).set_name("+offset/size")
source = (path("file") + ":" + number("line")).set_name("file:line")
symbol = (function("function") + suffix + Opt("+0x" + hex_number + Opt("/0x" + hex_number))).set_name(
    "symbol"
)
"""``f.isra.0+0x16/0x20``; its function is the field ``function``."""
