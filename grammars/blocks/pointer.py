"""Instruction pointers: the part that all machines share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block
from kpanic.grammars.model import InstructionPointer
from kpanic.grammars.numbers import distance, hexadecimal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pyparsing import ParserElement

__all__ = ["BLOCKS", "Jump", "Pointer", "pointer"]


class Pointer(Struct, frozen=True):
    """A line with the instruction pointer."""

    ip: InstructionPointer
    user: bool = False
    """Whether the CPU was in user mode: the pointer is not the place of the crash."""
    caller: str = ""
    """The function that the link register points into; empty if the lines have none."""
    machine: str = ""
    """``uname -m`` of the only machine with this format; empty if several have it."""

    def names(self, other: Pointer) -> bool:
        """Tell whether this pointer names the function of another one that has only an address."""
        return bool(self.ip.symbol) and not other.ip.symbol and self.ip.address == other.ip.address


class Jump(Struct, frozen=True):
    """The origin of the CPU's last jump, on machines that store it outside the link register."""

    caller: str


def pointer(
    machine: str | Mapping[int, str] = "", user: Collection[str] = ()
) -> Callable[[Mapping[str, str]], Pointer]:
    """Return the meaning of a block with an instruction pointer.

    :param machine: ``uname -m`` of the machine that prints it; or a mapping from the number of digits, of the
        address or of the field ``digits``, to it.
    :param user: selectors of user mode.

    The block's field ``raw`` is the value as printed, ``selector`` the value that identifies user mode,
    ``caller`` the function of the link register; the others are those of
    :data:`kpanic.grammars.vocabulary.body.place`.
    """
    by_digits = {} if isinstance(machine, str) else machine
    always = machine if isinstance(machine, str) else ""

    def meaning(fields: Mapping[str, str]) -> Pointer:
        return Pointer(
            InstructionPointer(
                fields.get("raw", "").strip(),
                fields.get("name", ""),
                distance(fields.get("offset")),
                distance(fields.get("size")),
                fields.get("module") or fields.get("home", ""),
                hexadecimal(fields.get("address")),
            ),
            fields.get("selector") in user and "name" not in fields,  # User mode Linux prints symbols
            fields.get("caller", ""),
            always or by_digits.get(len(fields.get("digits") or fields.get("address", "")), ""),
        )

    return meaning


@block("pointer", pointer())
def pc_is_at() -> ParserElement:
    """PC is at sysrq_handle_crash+0x20/0x28
    LR is at __handle_sysrq+0x90/0x19c
    """  # arm; arm64 before 4.18; sh with PR
    raw = k.FollowedBy(k.rest_of_line("raw"))
    return "PC is at " + raw + k.place + k.soon(k.one_of("LR is at ", "PR is at ") + k.link) + k.rest_of_line


BLOCKS: Final = (pc_is_at,)
