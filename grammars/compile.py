r"""Compiles a pyparsing expression to one regular expression.

pyparsing reads as a parsing expression grammar: it takes the first alternative that matches and never gives
back what an element took. Atomic groups, ``(?>…)``, mean the same to :mod:`re` (since Python 3.11), so the
translation is exact, and a pattern made of them cannot take exponential time::

    Literal, str          the text, escaped           a + b           AB
    Word, Regex           (?>…), …+                    a | b           (?>A|B)
    Opt(a)                (?>A|)                      OneOrMore(a)    (?>(?:A)+)
    a("name")             (?P<name>A)                 ~a              (?!A)
    FollowedBy(a)         (?=A)                       UpTo(a)         (?>(?:(?!A)[^\n])*)
    Lines(a)              (?>(?:A\n)+)

The pattern leaves out groups that change nothing: a word whose parts cannot take each other's characters has
possessive repeats instead, and a choice or a lookahead, which is atomic itself, needs none around all of it.

A name in several alternatives is numbered, because :mod:`re` requires distinct names. A repetition of
elements with fields cannot be one pattern, because :mod:`re` keeps only the last repeat: such an element is
compiled alone, and its reader loops.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import pyparsing as pp

from kpanic.grammars.vocabulary.elements import Later, Lines, UpTo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["GrammarError", "beginnings", "literals", "pattern"]

SHORTEST: Final = 4
"""Minimum characters of a form's beginning, because the scan searches all text for it."""
ALTERNATIVES: Final = 64
"""Maximum beginnings of one expression."""
_TRANSPARENT: Final = (pp.Combine, pp.Suppress, pp.Group, pp.Forward)


_SPECIAL: Final = re.compile(r"[\\.^$*+?{}\[\]|()]")
_SET: Final = r"\[\^?\]?(?:\\.|[^\]\\])*\]"
_PART: Final = re.compile(
    rf"(?P<characters>{_SET}|\\[wWsSdDtn]|\\[^\w\s]|[^\\.^$*+?{{}}\[\]|()])"
    r"(?P<times>[*+?]|\{(?P<least>\d+)(?P<most>,\d*)?\})?(?![*+?])"
)
"""A kind of characters, with its minimum and maximum number."""
_CHARACTER: Final = re.compile(rf"\\?[^\\]|{_SET}")
"""One character."""
_UNICODE: Final = re.compile(r"\\[wWsSdD]")
_BRACKET: Final = re.compile(rf"\\.|{_SET}|\[.*|[()]", re.DOTALL)  # no other [ after one that none closes


class GrammarError(ValueError):
    """An expression cannot be compiled; the message names the element."""


def pattern(expression: pp.ParserElement) -> str:
    """Return the regular expression of a pyparsing expression.

    :raises GrammarError: an element has no translation, a field is not one piece of text, or a repetition
        holds fields.
    """
    return _translate(expression, Counter())


def _translate(element: pp.ParserElement, names: Counter[str] | None) -> str:
    """Translate an element; ``names`` counts the fields so far, None if fields are not wanted."""
    return _named(element, _inside(element, names), names)


def _named(element: pp.ParserElement, inside: str, names: Counter[str] | None) -> str:
    """Make an element's pattern a field, if the element has a name and fields are wanted."""
    if names is None or not element.resultsName:
        return inside
    name = element.resultsName
    if not _is_text(element):
        raise GrammarError(f"the field {name!r} is not one piece of text; wrap it in Combine: {element}")
    names[name] += 1
    return f"(?P<{name}{f'__{names[name]}' if names[name] > 1 else ''}>{inside})"


def _is_text(element: pp.ParserElement) -> bool:
    """Tell whether pyparsing returns one token for the element, so that its match is the field's text."""
    if isinstance(element, pp.MatchFirst):
        return all(_is_text(one) for one in element.exprs)
    return isinstance(element, pp.Literal | pp.Word | pp.Regex | pp.Combine | Lines | UpTo)


def _inside(element: pp.ParserElement, names: Counter[str] | None) -> str:  # noqa: C901, PLR0912 - one line for each element
    match element:
        case pp.Regex():
            leaf = element.pattern
            if not isinstance(leaf, str) or element.flags or re.compile(leaf).groups:
                raise GrammarError(f"a Regex is one word, a text without groups and flags: {leaf!r}")
            return _atomic(leaf)
        case pp.Literal():
            return _SPECIAL.sub(r"\\\g<0>", element.match)
        case pp.Word():
            return _atomic(element.reString)
        case pp.And():
            return _in_sequence(element.exprs, names)
        case pp.MatchFirst():
            return f"(?>{'|'.join(map(_bare, _choices(element.exprs, names)))})"
        case pp.Opt():
            choices = _choices([element.expr], names)
            if len(choices) == 1 and _CHARACTER.fullmatch(choices[0]):
                return f"{choices[0]}?+"
            return f"(?>{'|'.join([*map(_bare, choices), ''])})"
        case pp.OneOrMore() | pp.ZeroOrMore():
            before = names and names.total()
            repeat = "+" if isinstance(element, pp.OneOrMore) else "*"
            inner = f"(?>(?:{_translate(element.expr, names)}){repeat})"
            if names and names.total() != before:
                raise GrammarError(f"fields cannot repeat: {element}")
            return inner
        case pp.NotAny():
            return f"(?!{_bare(_translate(element.expr, None))})"
        case pp.FollowedBy():
            return f"(?={_bare(_translate(element.expr, names))})"
        case UpTo():
            target = _translate(element.expr, None)
            first = f"[^\\n]{{{element.least}}}" if element.least else ""
            more = element.most - element.least
            return f"(?>{first}(?:(?!{target})[^\\n]){{0,{more}}})"
        case Later():
            target = _translate(element.expr, None)
            line = rf"\n(?>(?:(?!{target})[^\n])*)"
            return rf"(?>(?:{line}){{1,{element.within}}}?(?={target}))"
        case Lines():
            line = f"{_translate(element.expr, None)}\\n"
            return f"(?>(?:{line}){{{element.least},{element.most}}})"
        case pp.Empty():
            return ""
        case _ if isinstance(element, _TRANSPARENT) and element.expr is not None:
            return _translate(element.expr, names)
    raise GrammarError(f"{type(element).__name__} has no translation: {element}")


def _choices(elements: Iterable[pp.ParserElement], names: Counter[str] | None) -> list[str]:
    """Translate alternatives; nested choices are flattened."""
    choices: list[str] = []
    for element in elements:
        if isinstance(element, pp.MatchFirst) and not element.resultsName:
            choices += _choices(element.exprs, names)
        else:
            choices.append(_translate(element, names))
    return choices


def _in_sequence(elements: Sequence[pp.ParserElement], names: Counter[str] | None) -> str:
    """Translate elements that follow each other.

    The end of a text mostly follows the text as an element. Then the pattern has the end once: the shortest
    text before it ends at its first match.
    """
    pieces: list[str] = []
    at = 0
    while at < len(elements):
        element = elements[at]
        at += 1
        end = _end_of(element, elements, at)
        before = ""
        if end is None:
            pieces.append(_translate(element, names))
            continue
        if isinstance(element, Later):  # lines, and then the text before the target
            before = rf"(?:\n[^\n]*+){{0,{element.within - 1}}}?\n[^\n]*?"
        elif isinstance(element, UpTo):
            before = _named(element, f"[^\\n]{{{element.least},{element.most}}}?", names)
        pieces.append(f"(?>{before}{_in_sequence(elements[at:end], names)})")
        at = end
    return "".join(pieces)


def _end_of(element: pp.ParserElement, elements: Sequence[pp.ParserElement], at: int) -> int | None:
    """Return the end of the elements from ``at`` on that also end an element's text; None without one."""
    if not isinstance(element, UpTo | Later):
        return None
    target, following = _translate(element.expr, None), ""
    for end in range(at, len(elements)):
        following += _translate(elements[end], None)
        if following == target:
            return end + 1
        if not target.startswith(following):
            break
    return None


def _atomic(leaf: str) -> str:
    """Return a leaf that does not backtrack, in the form that :mod:`re` compiles and matches fastest."""
    parts = list(_PART.finditer(leaf))
    if "".join([part[0] for part in parts]) != leaf or not all(map(_certain, parts, _behind(parts))):
        return f"(?>{leaf})"
    return "".join([f"{part[0]}+" if _varies(part) else part[0] for part in parts])


def _varies(part: re.Match[str]) -> bool:
    """Tell whether the length of a part of a leaf varies."""
    return bool(part["times"]) and (part["least"] is None or part["most"] is not None)


def _behind(parts: Sequence[re.Match[str]]) -> list[list[str]]:
    """Return for each part of a leaf the characters with which the text after it may begin."""
    found: list[list[str]] = []
    behind: list[str] = []
    for part in reversed(parts):
        found.append(behind)
        needless = part["times"] in {"*", "?"} or part["least"] == "0"
        behind = [part["characters"], *(behind if needless else ())]
    return found[::-1]


def _certain(part: re.Match[str], behind: Iterable[str]) -> bool:
    """Tell whether a part of a leaf need not backtrack: no part after it matches its characters."""
    if not _varies(part):
        return True
    own = _characters(part["characters"])
    return all(own.isdisjoint(_characters(other)) for other in behind)


@functools.lru_cache(maxsize=256)
def _characters(kind: str) -> frozenset[str]:
    """Return the characters of a kind; all characters beyond ASCII are one."""
    matches = re.compile(kind).fullmatch
    beyond = kind.startswith("[^") or _UNICODE.search(kind) is not None or not kind.isascii()
    return frozenset([*filter(matches, map(chr, range(128))), *(["beyond"] if beyond else [])])


def _bare(pattern: str) -> str:
    """Return the inside of a pattern that is one atomic group; other patterns unchanged."""
    if not pattern.startswith("(?>"):
        return pattern
    depth = 0
    for mark in _BRACKET.finditer(pattern):
        depth += (mark[0] == "(") - (mark[0] == ")")
        if not depth and mark[0] == ")":
            return pattern[3:-1] if mark.end() == len(pattern) else pattern
    return pattern


def beginnings(expression: pp.ParserElement) -> tuple[str, ...]:
    """Return texts of any length, one of which begins each match; none if a match can begin with any text."""
    found = {text for text, _ in _beginnings(expression)}
    return tuple(sorted(shortest(found))) if all(found) else ()


def literals(expression: pp.ParserElement) -> tuple[str, ...]:
    """Return the beginnings of an expression: each of its matches starts with one of them.

    :raises GrammarError: a beginning has less than :data:`SHORTEST` known characters.
    """
    found = {text for text, _ in _beginnings(expression)}
    if any(len(text) < SHORTEST for text in found):
        raise GrammarError(f"the beginning {min(found, key=len)!r} is too short to look for: {expression}")
    return tuple(sorted(shortest(found)))


def shortest(texts: Iterable[str]) -> set[str]:
    """Return the texts without those that begin with another text."""
    kept: set[str] = set()
    for text in sorted(texts, key=len):
        if not any(text.startswith(one) for one in kept):
            kept.add(text)
    return kept


def _beginnings(element: pp.ParserElement) -> list[tuple[str, bool]]:
    """Return the beginnings of an element, each with whether it is the whole match."""
    match element:
        case pp.Literal():
            return [(element.match, True)]
        case pp.MatchFirst():
            return [one for alternative in element.exprs for one in _beginnings(alternative)]
        case pp.Opt():
            return [*_beginnings(element.expr), ("", True)]
        case pp.OneOrMore() | pp.FollowedBy():
            return [(text, False) for text, _ in _beginnings(element.expr)]
        case Lines():
            return (
                [(text, False) for text, _ in _beginnings(element.expr)] if element.least else [("", False)]
            )
        case pp.NotAny() | pp.Empty():
            return [("", True)]
        case pp.And():
            return _sequence(element.exprs)
        case _ if isinstance(element, _TRANSPARENT) and element.expr is not None:
            return _beginnings(element.expr)
    return [("", False)]


def _sequence(elements: Iterable[pp.ParserElement]) -> list[tuple[str, bool]]:
    found = [("", True)]
    for element in elements:
        if not any(whole for _, whole in found):
            break
        then = _beginnings(element)
        longer: list[tuple[str, bool]] = []
        for text, whole in found:
            longer += [(text + more, all_of_it) for more, all_of_it in then] if whole else [(text, False)]
        if len(longer) > ALTERNATIVES:
            return [(text, False) for text, _ in found]
        found = longer
    return found
