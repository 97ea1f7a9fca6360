"""Titles: what differs from one occurrence of a fault to the next is taken out of them.

The words are syzbot's: ADDR for an address, NUM for a number, IP for a network address, LINE for a line
number.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 120
"""Characters of a title that is the kernel's own sentence."""

_REPLACEMENTS: Final = (
    (re.compile(r"\bsyz-executor\.?\d+(?:[/:]\d+)?"), "syz-executor"),
    (re.compile(r"((?:^|[^a-zA-Z0-9]))(?:0x)?(?=[0-9a-f]*[0-9])[0-9a-f]{6,}(?![a-zA-Z0-9])"), r"\1ADDR"),
    (re.compile(r"(^|[^a-zA-Z0-9])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\d)"), r"\1IP"),
    (re.compile(r"(\.\w+)(?::\d+)+"), r"\1:LINE"),
    (re.compile(r"([a-zA-Z][a-zA-Z0-9_.]{0,239})\+0x[0-9a-z]+/0x[0-9a-z]+"), r"\1"),
    (re.compile(r"CPU#\d+"), "CPU"),
    (re.compile(r"(^|[^a-zA-Z0-9])(?:0x)?\d+(?![a-zA-Z0-9])"), r"\1NUM"),
    (re.compile(r"\.(?:isra|constprop|part)\.NUM(?:\.\w+)*"), ".part.NUM"),
)
_DIGIT: Final = re.compile(r"\d")
_STAMP: Final = re.compile(r"\[ *\d+\.\d+\]")


def stamped(title: str) -> bool:
    """Tell whether another line's time stamp got into a title."""
    return _STAMP.search(title) is not None


def plain(title: str) -> str:
    """Take out what differs between two occurrences of the same fault."""
    title = " ".join(title.split())[: LONGEST * 2]
    if _DIGIT.search(title) is None:  # each replacement needs one
        return title[:LONGEST].rstrip()
    for pattern, word in _REPLACEMENTS:
        title = pattern.sub(word, title)
    return title[:LONGEST].rstrip()
