"""What instruction pointers have in common on all machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.element import Element
from kpanic.grammars.machines import Pointer, Registers
from kpanic.grammars.model import InstructionPointer
from kpanic.grammars.numbers import distance, hexadecimal
from kpanic.grammars.trace import DECODED, NAME, RUST

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection, Iterable

PLACE: Final = (
    r"(?:\[<?(?P<address>[0-9a-f]*)>?\]\s*){0,2}"
    rf"(?:\(?(?::(?P<home>[\w-]+):|\.)?(?P<name>{NAME}|{RUST})(?:\+0x(?P<offset>[0-9a-f]+)(?:/0x(?P<size>[0-9a-f]+))?|(?={DECODED}))"
    r"\)?(?: \[(?P<module>[\w-]+)[^\]\n]*\])?"
    r"|(?:0x)?(?P<bare>(?<=0x)[0-9a-f]{1,16}|[0-9a-f]{4,16})\b)?"
)
"""Where the CPU was: ``[<address>]``, ``f+0x1/0x2 [module]``, a bare address."""


def pointer(pattern: str, machine: str, user: Collection[str] = ()) -> Element:
    """Return the grammar of an instruction pointer line.

    The pattern's group ``raw`` is the value as written, ``selector`` what tells user mode (one of ``user``),
    ``caller`` the function of the link register.
    """

    def read(match: re.Match[str]) -> Pointer:
        groups = match.groupdict()
        offset, size = groups["offset"], groups["size"]
        address = groups["address"] or groups["bare"]
        return Pointer(
            InstructionPointer(
                groups["raw"].strip(),
                groups["name"] or "",
                distance(offset),
                distance(size),
                groups["module"] or groups["home"] or "",
                hexadecimal(address),
            ),
            groups.get("selector") in user,
            groups.get("caller") or "",
            machine,
        )

    return Element(f"{machine} pointer", pattern, read)


def registers(pattern: str, read: Callable[[str], Iterable[tuple[str, str]]], machine: str) -> Element:
    """Return the grammar of lines of registers, which ``read`` takes apart into names and values."""
    return Element(f"{machine} registers", pattern, lambda match: Registers(match[0], read))
