"""The end of a report (kernel/panic.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["BLOCKS", "End"]


class End(Struct, frozen=True):
    """The line that closes a report."""

    what: str
    """``trace`` after an oops or a warning, ``Kernel panic`` after a panic."""


@block("end", lambda fields: End(fields["what"]))
def end() -> ParserElement:
    """---[ end trace 0000000000000000 ]---

    ---[ end Kernel panic - not syncing: Fatal exception ]---
    """
    return "---[ end " + k.one_of("trace", "Kernel panic")("what") + k.rest_of_line


BLOCKS: Final = (end,)
