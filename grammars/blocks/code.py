"""The bytes around the instruction pointer (arch/x86/kernel/dumpstack.c, arch/arm64/kernel/traps.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["BLOCKS", "Code"]


class Code(Struct, frozen=True):
    """The bytes around the instruction pointer, as printed; the trapping ones are in ``<>`` or ``()``."""

    raw: str


@block("code", lambda fields: Code(fields.get("bytes", "").strip()))
def code() -> ParserElement:
    """Code: 48 89 df e8 10 00 00 00 <0f> 0b 90 c3

    Code: d503201f d53b4235 b5000075 (b9000020)
    """
    return "Code: " + k.rest_of_line("bytes")


BLOCKS: Final = (code,)
