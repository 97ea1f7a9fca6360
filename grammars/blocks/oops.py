"""The number of the oops in its boot, and its error code (die() of arch/*/kernel/{dumpstack,traps}.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block
from kpanic.grammars.model import Oops
from kpanic.grammars.numbers import decimal, hexadecimal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyparsing import ParserElement

__all__ = ["BLOCKS", "read_oops"]


def read_oops(fields: Mapping[str, str]) -> Oops:
    """Return the oops of a line's fields: error, number, flags."""
    return Oops(
        decimal(fields.get("number")),
        hexadecimal(fields.get("error")),
        tuple(fields.get("flags", "").split()),
    )


@block("oops", read_oops)
def oops() -> ParserElement:
    """Oops: 0002 [#1] PREEMPT SMP NOPTI

    Oops: 0002 [1] SMP

    Oops: Oops: 0002 [#1] SMP NOPTI

    Oops: Kernel access of bad area, sig: 11 [#1]

    Internal error: Oops: 96000004 [#1] SMP

    general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000 [#1] PREEMPT SMP

    Kernel bug detected[#1]:
    """
    return k.exception(
        *("Oops", "Internal error", "general prot", "divide", "invalid op", "int3", "stack seg"),
        *("Kernel ", "kernel ", "alignment", "double fa", "Unable", "Unhandled", "BUG: "),
    )


BLOCKS: Final = (oops,)
