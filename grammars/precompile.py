"""Compiles the patterns for this Python, like ``compileall``: ``python -m kpanic.grammars.precompile``.

Packages run it at installation. Otherwise the first command that parses does so at its end.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kpanic.grammars import body, finder, lazy, machines, registry, suspect
from kpanic.grammars.blocks import boot
from kpanic.grammars.lines import Reader
from kpanic.grammars.model import Frame
from kpanic.grammars.precompiled import PATTERNS

if TYPE_CHECKING:
    from kpanic.grammars.sentence import Sentence

__all__ = ["sentences", "write", "write_if_possible"]


def sentences() -> list[Sentence]:
    """Return all sentences, including those of plugins."""
    forms = [form.sentence for family in registry.default().families for form in family.forms]
    parts = [part for block in body.blocks() for part in block.sentences]
    return list(dict.fromkeys([*forms, *parts, *boot.SENTENCES]))


def write() -> None:
    """Compile all patterns, and keep them.

    :raises OSError: they cannot be kept.
    """
    for sentence in sentences():
        sentence.regex  # noqa: B018 - the use compiles it
    _make()
    lazy.compile_all()
    PATTERNS.write()


def _make() -> None:
    """Make the other objects that depend on installed plugins, such as patterns that combine theirs."""
    families = registry.default()
    finder.finder(families).search.kinds(b"")  # it imports the transports
    Reader()
    body.switch()
    machines.named_in("")
    machines.of_trace("", (Frame("f"),))
    for rules in {*suspect.RULES, *(form.skip for family in families.families for form in family.forms)}:
        suspect.compiled(rules)


def write_if_possible() -> None:
    """Compile all patterns, and keep them if possible.

    A later Python may lack the internal functions of :mod:`re` that are needed.
    """
    with contextlib.suppress(OSError, ImportError, AttributeError, TypeError):
        write()


if __name__ == "__main__":
    write()
