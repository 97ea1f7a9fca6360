"""The loaded modules (kernel/module/main.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyparsing import ParserElement

__all__ = ["BLOCKS", "Modules"]


class Modules(Struct, frozen=True):
    """Names without the flags after them, such as ``(OE+)``: taints, and ``+`` or ``-`` while (un)loading."""

    names: tuple[str, ...]


def _modules(fields: Mapping[str, str]) -> Modules:
    names = fields.get("names", "").split("[last unloaded")[0].split()
    return Modules(tuple(name.partition("(")[0] if name[-1] == ")" else name for name in names))


@block("modules", _modules)
def modules() -> ParserElement:
    """Modules linked in: boom(OE+) virtio_ring [last unloaded: foo]"""
    return "Modules linked in:" + k.rest_of_line("names")


BLOCKS: Final = (modules,)
