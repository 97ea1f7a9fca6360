"""Secrets on kernel command lines, taken out before anything is kept.

A parameter whose name matches one of the patterns (:mod:`fnmatch`, upper and lower case alike) keeps its
name and loses its value; so do ``password=`` inside a comma list (``rootflags=user=x,password=y``) and the
password of a URL. Sites add patterns with ``redact.command_line``.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

__all__ = ["DEFAULT_PATTERNS", "Redactor"]

DEFAULT_PATTERNS = (
    "*password*",
    "*passwd*",
    "*passphrase*",
    "*secret*",
    "*token*",
    "*credential*",
    "*api_key*",
    "*apikey*",
    "*.psk",
    "rd.luks.key*",
)
REDACTED = "[redacted]"
SHORTEST_SECRET = 4
"""Anything shorter is not looked for in other text: it would be found everywhere."""

_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')  # white space outside quotes divides (lib/cmdline.c)
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)([^\s/@]+)@")


class Redactor:
    """Takes secrets out of text; immutable, cheap to keep."""

    __slots__ = ("_names", "command_line", "patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self._names = re.compile("|".join(fnmatch.translate(p.lower()) for p in patterns) or r"(?!)")
        self.command_line = lru_cache(maxsize=256)(self._command_line)  # a host's is the same at each crash

    def _command_line(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return the line without its secrets, and the secrets."""
        secrets: list[str] = []

        def hide(name: str, value: str) -> str:
            if value and self._names.match(name.lower()):
                secrets.append(value.strip('"'))
                return f"{name}={REDACTED}"
            return f"{name}={','.join(map(nested, value.split(',')))}"

        def nested(part: str) -> str:
            name, equals, value = part.partition("=")
            if equals and value and self._names.match(name.lower()):
                secrets.append(value.strip('"'))
                return f"{name}={REDACTED}"
            return part

        def url(found: re.Match[str]) -> str:
            secrets.append(found[2])
            return f"{found[1]}{REDACTED}@"

        words = []
        for word in _WORD.findall(text):
            name, equals, value = word.partition("=")
            words.append(hide(name, value) if equals else word)
        clean = _URL_PASSWORD.sub(url, " ".join(words))
        return clean, tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)

    def __reduce__(self) -> tuple[type[Redactor], tuple[tuple[str, ...]]]:
        return Redactor, (self.patterns,)

    @staticmethod
    def text(text: str, secrets: tuple[str, ...]) -> str:
        """Return ``text`` without the secrets that the command line gave away."""
        for secret in secrets:
            text = text.replace(secret, REDACTED)
        return text
