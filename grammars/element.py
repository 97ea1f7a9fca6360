"""The element of a report's body: a regular expression, and what its match means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyparsing as pp

if TYPE_CHECKING:
    import re
    from collections.abc import Callable


class Element(pp.Regex):
    """What a line or a run of lines says, as a pyparsing expression.

    It can stand in any grammar. Read with :meth:`read`, which is what happens to every line of every
    report, its value comes without the tokens of pyparsing, which cost more than the match.
    """

    mayReturnEmpty = False  # noqa: N815 - pyparsing's own: to know it, nothing need be compiled

    def __init__(
        self, name: str, pattern: str, meaning: Callable[[re.Match[str]], Any], flags: int = 0
    ) -> None:
        """``meaning`` makes the value of a match."""
        super().__init__(pattern, flags)
        self._meaning = meaning
        self.leave_whitespace()
        self.set_name(name)

    def read(self, text: str, at: int) -> tuple[int, Any] | None:
        """Return where the match ends that begins ``at`` a place, and its value; None without one."""
        match = self.re_match(text, at)
        return (match.end(), self._meaning(match)) if match else None

    def parseImpl(self, instring: str, loc: int, do_actions: bool = True) -> tuple[int, Any]:  # noqa: ARG002,FBT001,FBT002,N802 - pyparsing's own
        """Read for pyparsing."""
        found = self.read(instring, loc)
        if found is None:
            raise pp.ParseException(instring, loc, self.errmsg, self)
        return found[0], pp.ParseResults([found[1]])
