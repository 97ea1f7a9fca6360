"""A crash family: the message of a site's driver that stops the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

raidcard = Family("raidcard")


@raidcard.form(
    title="raidcard: firmware died in {function}",
    kind="hardware",
    cause="driver",
    walk="only-named",
    traceless=True,
)
def died() -> ParserElement:
    """raidcard: firmware died in rc_submit+0x1c/0x40"""
    return "raidcard: firmware died in " + k.symbol
