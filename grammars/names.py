"""Rules about names of functions, evaluated at the speed of ``str.startswith``.

Nearly all rules are a plain word at the start of a name or anywhere in it. These need no regular expression:
compiling hundreds would take longer than reading a report. The other rules are compiled to one pattern.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD: Final = regex(r"\w+")
_MARK: Final = regex(r"(?s:\\.)|[\[\]()|]")
"""Characters that group or separate parts of a pattern, and escapes."""
_PART: Final = regex(r"(?:\(\?:([\w|]*)\)|(\w)(?=\?))(\??)|(\^|\$|\w+(?![?*+]))")
"""A group of words or a letter, optionally with ``?``, or a literal character."""


class Names:
    """Rules about names, each a regular expression with a reason."""

    def __init__(self, rules: Sequence[tuple[str, str]]) -> None:
        """Sort the alternatives of every rule by the matching that they need."""
        self._starts: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self._inside: dict[str, str] = {}
        others: list[tuple[int, str]] = []
        self._reasons = [reason for _, reason in rules]
        for number, (pattern, reason) in enumerate(rules):
            for choice in alternatives(pattern):
                word = choice.removeprefix("^")
                if _WORD.fullmatch(word):
                    (self._starts if choice[0] == "^" else self._inside).setdefault(word, reason)
                elif choice[0] == "^" and choice[-1] == "$" and _WORD.fullmatch(word[:-1]):
                    self._whole.setdefault(word[:-1], reason)
                else:
                    others.append((number, choice))
        self._prefixes = tuple(self._starts)
        self._beginnings = _Choices([(number, choice) for number, choice in others if choice[0] == "^"])
        self._anywhere = _Choices([(number, choice) for number, choice in others if choice[0] != "^"])

    def reason(self, name: str, *, anchored: bool = False) -> str:
        """Return the reason of a rule that matches a name, else an empty text.

        :param anchored: whether a rule must match from the start of the name.
        """
        if found := self._whole.get(name):
            return found
        if name.startswith(self._prefixes):
            return next(reason for word, reason in self._starts.items() if name.startswith(word))
        for word, reason in self._inside.items():
            if name.startswith(word) if anchored else word in name:
                return reason
        first = self._beginnings.number(name, anchored=True)
        number = min(first, self._anywhere.number(name, anchored=anchored))
        return self._reasons[number] if number < NONE else ""


class _Choices:
    """Patterns of rules, each with the rule's number, as one."""

    def __init__(self, choices: Sequence[tuple[int, str]]) -> None:
        found: dict[int, list[str]] = {}
        for number, choice in choices:
            found.setdefault(number, []).append(choice)
        self._numbers = tuple(found)
        self._pattern = regex("|".join(f"({'|'.join(alike)})" for alike in found.values()))

    def number(self, name: str, *, anchored: bool) -> int:
        """Return the number of the first rule that matches a name; :data:`NONE` if none does."""
        if not self._numbers:
            return NONE
        match = self._pattern.match(name) if anchored else self._pattern.search(name)
        return self._numbers[match.lastindex - 1] if match and match.lastindex else NONE


NONE: Final = sys.maxsize
"""Number of no rule."""
EXPANDED: Final = 40
"""Maximum words into which a choice is expanded; ``(?:a|b)_(?:c|d)`` is four."""


def alternatives(pattern: str) -> list[str]:
    """Split a pattern at its outermost ``|``, and write out the groups of words inside a choice.

    ``^(?:un)?lock_(?:page|buffer)`` becomes ``^lock_page``, ``^lock_buffer``, ``^unlock_page`` and
    ``^unlock_buffer``; a choice that holds more than words and groups of words stays as it is.
    """
    return [word for choice in _split(pattern) if choice for word in _written_out(choice)]


def _split(pattern: str) -> list[str]:
    choices: list[str] = []
    depth = start = 0
    for mark in _MARK.finditer(pattern):
        character = mark[0]
        if character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "|" and not depth:
            choices.append(pattern[start : mark.start()])
            start = mark.end()
    choices.append(pattern[start:])
    return choices


def _written_out(choice: str) -> list[str]:
    words = [""]
    end = 0
    for part in _PART.finditer(choice):
        group, letter, optional, text = part.groups()
        options = group.split("|") if group is not None else [letter or text]
        words = [word + option for word in words for option in ([*options, ""] if optional else options)]
        if part.start() != end or len(words) > EXPANDED:
            return [choice]
        end = part.end()
    return words if end == len(choice) else [choice]
