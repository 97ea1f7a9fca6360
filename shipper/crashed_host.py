"""The host that crashed, from the best available evidence.

1. The operator's word: ``host`` of an input, ``{host}`` in its paths, ``--host``, ``--host-from-path``.
2. What the boot itself printed: systemd's ``Hostname set to <web1>``, the prompt ``web1 login:``.
3. The stamp of the line: syslog, the journal, an export of a log store.
4. The input's knowledge: the name in kdump's folder, in a syslog header or a record, or of the sender.
5. The address of kdump's folder or of the sender.
6. This machine, where the input reads what only this machine writes.

``localhost`` and similar names name no host. Without any of this evidence the host is unknown: the machine
that collects is in ``agent`` and never replaces the host.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.shipper.files import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = ["HOST", "HostRule", "HostRules", "crashed_host", "glob_of", "is_own", "path_expression"]

HOST: Final = "{host}"
"""Placeholder of the host in a path."""
_OWN_FOLDERS: Final = ("/sys/fs/pstore", "/var/lib/systemd/pstore")
"""Folders in which a machine finds its own records."""
_OWN_DUMPS: Final = "/var/crash"
"""Folders in which kdump puts a machine's own dumps, in every distribution; dumps of other machines have a
host in their name.
"""
_LONG: Final = r"(\*+|\{host\})"
_SHORT: Final = r"(\?|\[!?[^\]/]{1,255}\])"
_DASH: Final = r"\-"
_JOINED: Final = r"[*?\]]\{host\}|\{host\}[*?\[]"


def crashed_host(report: CrashReport, origin: Origin) -> str:
    """Return the name of the host that crashed, or its address; empty if unknown."""
    from kpanic.grammars.model import NO_HOST  # noqa: PLC0415 - a configuration loads no grammar

    known = "" if origin.host_name.lower() in NO_HOST else origin.host_name
    own = origin.agent_host if origin.own else ""
    return origin.host_stated or report.hostname or report.host or known or origin.host_ip or own


def is_own(path: str) -> bool:
    """Tell whether a file is in a folder of this machine's own crashes: kdump's or pstore's."""
    if is_url(path):
        return False
    folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - as the user wrote it
    if os.path.dirname(folder) == _OWN_DUMPS:  # noqa: PTH120
        return True
    return any(folder == own or folder.startswith(f"{own}/") for own in _OWN_FOLDERS)


class HostRule(Struct, frozen=True):
    """The host of the files below a path.

    :param pattern: a path with ``*``, ``?``, ``**`` and ``{host}``, for all that is below it.
    :param name: the host, where the pattern has no ``{host}``.
    """

    pattern: str
    name: str = ""


class HostRules:
    """The operator's rules for the host of the files at a path; the first rule that matches counts.

    :raises ValueError: a rule cannot be used; the text says why.

    >>> HostRules([HostRule("/srv/consoles/{host}.log")]).of("/srv/consoles/web1.example.com.log")
    'web1.example.com'
    """

    def __init__(self, rules: Iterable[HostRule] = ()) -> None:
        self._rules = [(_compiled(rule), rule.name) for rule in rules]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def of(self, path: str) -> str:
        """Return the host of the file at a path; empty if no rule matches."""
        if not self._rules:
            return ""
        path = _absolute(path)
        for pattern, name in self._rules:
            if found := pattern.fullmatch(path):
                return name or found["host"]
        return ""


def glob_of(pattern: str) -> str:
    """Return a path with ``*`` instead of ``{host}``."""
    return pattern.replace(HOST, "*")


def _absolute(path: str) -> str:
    """Return an absolute path; the names in a URL stay as they are, even ``..``."""
    return f"/{path}" if is_url(path) else os.path.abspath(path)  # noqa: PTH100 - links stay as they are


def path_expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a path with ``*``, ``?``, one ``**`` and ``{host}``, or below it.

    :raises ValueError: there is more than one ``**``.
    """
    path = _absolute(pattern).rstrip("/")
    if path.count("**") > 1:
        raise ValueError("expected ** once at most")
    names = ["(?:/.*)?" if name == "**" else f"/{_name(name)}" for name in path.split("/")[1:]]
    return re.compile(f"{''.join(names)}(?:/.*)?", re.DOTALL)


def _compiled(rule: HostRule) -> re.Pattern[str]:
    """Return the regular expression of a rule, which takes quadratic time at most."""
    if not rule.name and rule.pattern.count(HOST) != 1:
        raise ValueError(f"expected {HOST} once, such as /var/log/consoles/{HOST}/*.log")
    if re.search(_JOINED, rule.pattern):
        raise ValueError(f"put a character between {HOST} and a wildcard")
    return path_expression(rule.pattern)


def _name(pattern: str) -> str:
    """Return the regular expression of one name of a path.

    Each ``*`` and ``{host}`` ends at the first match of what follows it, the last one at the end of the name.
    """
    fixed, *wild = re.split(_LONG, pattern)
    expression = _fixed(fixed)
    for index in range(0, len(wild), 2):
        end, more = _fixed(wild[index + 1]), index + 2 < len(wild)
        repeat = "+" if wild[index] == HOST else "*"
        part = f"[^/]{repeat}?" if more else f"[^/]{repeat}"
        part = f"(?P<host>{part})" if wild[index] == HOST else part
        expression += f"(?>{part}{end})" if more else f"{part}{end}"
    return expression


def _fixed(pattern: str) -> str:
    """Return the regular expression of a text with ``?`` and ``[…]``, each of which is one character."""
    text, *wild = re.split(_SHORT, pattern)
    expression = re.escape(text)
    for index in range(0, len(wild), 2):
        letters = wild[index][1:-1]
        if not letters:
            expression += "[^/]"
        elif letters[0] == "!":
            expression += f"[^/{re.escape(letters[1:]).replace(_DASH, '-')}]"
        else:
            expression += f"[{re.escape(letters).replace(_DASH, '-')}]"
        expression += re.escape(wild[index + 1])
    return expression
