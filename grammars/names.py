"""Rules about names of functions, evaluated at the speed of ``str.startswith``.

Nearly all rules are a plain word at the start of a name, some a word anywhere: these need no regular
expression, and compiling hundreds of them would cost more than reading a report does. What is left is
compiled together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD: Final = regex(r"\w+")
_MARK: Final = regex(r"(?s:\\.)|[\[\]()|]")
"""Characters that group or separate parts of a pattern, and escapes."""
_PART: Final = regex(r"(?:\(\?:([\w|]*)\)|(\w)(?=\?))(\??)|(\^|\$|\w+(?![?*+]))")
"""A group of words or a letter, perhaps optional, or a character that stands for itself."""


class Names:
    """Rules about names, each a regular expression with a reason."""

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        """Sort the alternatives of every rule by the matching that they need."""
        self._starts: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self._inside: dict[str, str] = {}
        others: list[tuple[str, str]] = []
        for pattern, reason in rules:
            rest = []
            for choice in alternatives(pattern):
                word = choice.removeprefix("^")
                if _WORD.fullmatch(word):
                    (self._starts if choice[0] == "^" else self._inside).setdefault(word, reason)
                elif choice[0] == "^" and choice[-1] == "$" and _WORD.fullmatch(word[:-1]):
                    self._whole.setdefault(word[:-1], reason)
                else:
                    rest.append(choice)
            if rest:
                others.append(("|".join(rest), reason))
        self._prefixes = tuple(self._starts)
        self._pattern = regex("|".join(f"({pattern})" for pattern, _ in others)) if others else None
        self._reasons = tuple(reason for _, reason in others)

    def reason(self, name: str, *, anchored: bool = False) -> str:
        """Return the reason of a rule that matches a name, else an empty text.

        ``anchored``: the name must begin with what the rule says.
        """
        if found := self._whole.get(name):
            return found
        if name.startswith(self._prefixes):
            return next(reason for word, reason in self._starts.items() if name.startswith(word))
        for word, reason in self._inside.items():
            if name.startswith(word) if anchored else word in name:
                return reason
        if self._pattern is None:
            return ""
        match = self._pattern.match(name) if anchored else self._pattern.search(name)
        return self._reasons[match.lastindex - 1] if match and match.lastindex else ""


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
