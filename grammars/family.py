"""What a crash family is: the literals that point at it, its grammar, its title and its cause.

A family is one file in :mod:`kpanic.grammars.families` with a :class:`Family` in it. Another distribution
registers its own under the entry point group ``kpanic.families``. The forms are tried in order on the text
from the literal on; the first that matches names the crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pyparsing as pp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kpanic.grammars.model import Kind

Walk = Literal["named", "chain", "trace", "ip", "interrupted", "stall", "down", "hung", "only-named", "none"]
"""How the guilty function is looked for.

``named``: the function that the header names, then the frames of the first trace.
``only-named``: the function that the header names, whichever it is.
``trace``: the frames of the first call trace.
``ip``: the instruction pointer, then the frames of the call trace behind it.
``interrupted``: the instruction pointer, unless the CPU was idle or in user mode.
``chain``: the functions that the report names, then whatever frames come, opened by a line of their own or
not.
``stall``: below the interrupt that noticed, down to an anchor, the frame above it.
``down``: down to an anchor, the frame above it.
``hung``: the frames of a blocked task, without whatever blocks.
``none``: the report has no guilty function.
"""

FUNCTION: Final = r"[A-Za-z_][\w$]*"
"""A function of C, or of Rust by its mangled name, without the suffixes of the compiler."""
SYMBOL: Final = rf"(?P<function>{FUNCTION})(?:\.[\w.]+)?(?:\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?)?"
"""A symbol with all that may follow it."""


class Words(pp.Regex):
    """A regular expression that never matches nothing: to know that, it need not be compiled."""

    mayReturnEmpty = False  # noqa: N815 - pyparsing's own


def head(pattern: str) -> pp.ParserElement:
    """Match the header line, from the family's literal on; named groups are the form's fields."""
    return Words(pattern, as_match=True).leave_whitespace()


def later(pattern: str, *, within: int = 25) -> pp.ParserElement:
    """Match the first of the next ``within`` lines that holds the pattern."""
    return Words(rf".*(?:\n.*){{0,{within}}}?\n.*?{pattern}", as_match=True).leave_whitespace()


@dataclass(frozen=True, slots=True)
class Form:
    """One wording of a family."""

    grammar: pp.ParserElement
    """From the literal on; every named group is a field for the title."""
    title: str
    """As syzbot would write it: ``{function}`` and the grammar's fields."""
    kind: Kind
    cause: str | Callable[[Mapping[str, str]], str]
    """A slug of the table of causes, or a function from the fields to one."""
    walk: Walk = "trace"
    skip: tuple[tuple[str, str], ...] = ()
    """More functions to pass over, ``(pattern, reason)``."""
    detail: str = ""
    """``cause_detail``, a template as the title."""
    fatal: bool = False
    corrupted: str = ""
    """Why a report that matches no better form than this one cannot be trusted."""
    function: str = ""
    """Whom the wording itself gives away: nothing else prints it."""
    traceless: bool = False
    """The kernel prints no call trace with this one."""


@dataclass(frozen=True, slots=True)
class Family:
    """All the wordings of one kind of crash."""

    name: str
    literals: tuple[str, ...]
    """What the scan looks for; every form starts with one of them."""
    forms: tuple[Form, ...]
    start: str = ""
    """Where the forms begin to read, if not at the literal."""
    ignore: str = ""
    """A regular expression for lines that hold a literal and are no crash."""
    ignore_after: str = ""
    """A regular expression for the line before: what holds a literal behind such a line is no crash."""
    last: bool = False
    """Only where no other family understands the line."""
