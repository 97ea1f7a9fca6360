"""Titles, without the parts that differ between two occurrences of a fault.

The words are syzbot's: ADDR for an address, NUM for a number, IP for a network address, LINE for a line
number.
"""

from __future__ import annotations

from typing import Final

from kpanic.grammars.lazy import regex

QUOTES: Final = ("'", '"', "`", "\u201d", "\u2019")
LONGEST: Final = 120
"""Maximum characters of a title that quotes the kernel."""

_REPLACEMENTS: Final = (
    (regex(r"\bsyz-executor\.?\d+(?:[/:]\d+)?"), "syz-executor"),
    (regex(r"((?:^|[^a-zA-Z0-9]))(?:0x)?(?=[0-9a-f]*[0-9])[0-9a-f]{6,}(?![a-zA-Z0-9])"), r"\1ADDR"),
    (regex(r"(^|[^a-zA-Z0-9])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\d)"), r"\1IP"),
    (regex(r"(\.\w+)(?::\d+)+"), r"\1:LINE"),
    (regex(r"([a-zA-Z][a-zA-Z0-9_.]{0,239})\+0x[0-9a-z]+/0x[0-9a-z]+"), r"\1"),
    (regex(r"CPU#\d+"), "CPU"),
    (regex(r"(^|[^a-zA-Z0-9])(?:0x)?\d+(?![a-zA-Z0-9])"), r"\1NUM"),
    (regex(r"\.(?:isra|constprop|part)\.NUM(?:\.\w+)*"), ".part.NUM"),
)
_DIGIT: Final = regex(r"\d")
_STAMP: Final = regex(r"\[ *\d+\.\d+\]")


def stamped(title: str) -> bool:
    """Tell whether another line's time stamp got into a title."""
    return _STAMP.search(title) is not None


def plain(title: str) -> str:
    """Remove the parts that differ between two occurrences of the same fault."""
    title = " ".join(title.split())[: LONGEST * 2]
    if title[-1:] in QUOTES and title.count(title[-1]) == 1:
        title = title[:-1]  # it closes a quotation
    if _DIGIT.search(title) is None:  # every replacement needs a digit
        return title[:LONGEST].rstrip()
    for pattern, word in _REPLACEMENTS:
        title = pattern.sub(word, title)
    return title[:LONGEST].rstrip()
