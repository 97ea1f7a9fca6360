"""Removes secrets of kernel command lines before anything is stored or shown.

The value of a parameter is a secret if its name matches one of the patterns (:mod:`fnmatch`, case ignored).
The value of ``password=`` inside a comma list (``rootflags=user=x,password=y``) and the password of a URL are
secrets too. Each secret is removed from every text of the report, because the kernel repeats its command
line.
"""

from __future__ import annotations

import fnmatch
import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import CrashReport

__all__ = ["DEFAULT_PATTERNS", "STANDARD", "Redactor"]

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
"""Minimum characters of a secret that is searched for in other texts; a shorter one would match everywhere.
"""

_IDENTIFIERS = frozenset({"kind", "cause", "status", "signature", "vmcore_needed", "confidence", "sure"})
"""Fields of a report that are kpanic's own words."""

_WORD = r'(?:[^\s"]|"[^"]*"?)+'  # lib/cmdline.c: white space outside quotes separates
_IN_URL = r"(://[^\s/:@]*:)([^\s/@]+)@"  # a password


class Redactor:
    """Removes the values of secret parameters.

    :param patterns: names of parameters, with ``*`` and ``?``.
    """

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self.command_line = lru_cache(maxsize=256)(self._command_line)  # a host's is the same at each crash

    @cached_property
    def _names(self) -> re.Pattern[str]:
        """The patterns, compiled when a command line is read: few texts have one."""
        return re.compile("|".join(fnmatch.translate(one.lower()) for one in self.patterns) or r"(?!)")

    def _command_line(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return a command line without its secrets, and the secrets."""
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
        for word in re.findall(_WORD, text):
            name, equals, value = word.partition("=")
            words.append(hide(name, value) if equals else word)
        clean = re.sub(_IN_URL, url, " ".join(words))
        return clean, tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)

    def __reduce__(self) -> tuple[type[Redactor], tuple[tuple[str, ...]]]:
        return Redactor, (self.patterns,)

    def report(self, report: CrashReport) -> CrashReport:
        """Return a report whose texts hold none of the secrets of its command line."""
        if not report.kernel.command_line:
            return report
        line, secrets = self.command_line(report.kernel.command_line)
        if line != report.kernel.command_line:
            report = structs.replace(report, kernel=structs.replace(report.kernel, command_line=line))
        if not secrets:
            return report
        wanted = re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))))
        clean: CrashReport = _rewritten(report, lambda text: wanted.sub(REDACTED, text), {})
        return clean


def _rewritten(node: Any, change: Callable[[str], str], done: dict[int, Any]) -> Any:  # noqa: ANN401
    """Return a value of strings, tuples and structs with each string replaced.

    :param done: results so far, by the ids of the values: a report refers to each of its lines often.
    """
    if isinstance(node, str):
        return change(node)
    if id(node) in done:
        return done[id(node)]
    made = node
    if isinstance(node, tuple):
        parts = [_rewritten(part, change, done) for part in node]
        made = type(node)(*parts) if hasattr(node, "_fields") else tuple(parts)
    elif isinstance(node, Struct):
        names = [name for name in node.__struct_fields__ if name not in _IDENTIFIERS]
        made = structs.replace(
            node, **{name: _rewritten(getattr(node, name), change, done) for name in names}
        )
    done[id(node)] = made
    return made


STANDARD = Redactor(DEFAULT_PATTERNS)
"""Removes secrets with the usual names; a site adds its own with ``redact.command_line``."""
