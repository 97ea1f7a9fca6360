"""The linked lists in the variables of the trapping function, and their inconsistent links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drgn import Object, TypeKind

from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding
from kpanic.shipper.vmcore.dump import address_words, pointed, pointers, where
from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.questions.objects import object_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["NAME", "ask", "wrong_links"]

NAME: Final = "list"
CALLERS: Final = 3
"""Frames above the trapping one whose variables are examined."""
_POISONS: Final = {0xDEAD << 48 | 0x100: "LIST_POISON1", 0xDEAD << 48 | 0x122: "LIST_POISON2"}
"""Values that list_del() leaves in an entry, on x86-64 and arm64 (include/linux/poison.h, Linux 6.1)."""


def ask(dump: Dump) -> Answer:
    """Name the links that lead to an entry that does not lead back.

    Examines the entries that the kernel named, or else the variables at the trap.
    """
    stack = dump.crashed
    entries: dict[int, tuple[str, Object]] = {}
    for frame in (*stack.trapped, *stack.callers[:CALLERS]):
        for name, value in pointers(frame):
            for path, entry in _entries(name, value):
                address = entry.address_ or 0
                if address not in entries or "." in path:  # named by the structure that it is a member of
                    entries[address] = path, entry
    if named := dict.fromkeys(dump.entries):
        entries = {address: entries.get(address) or _named(dump, address) for address in named}
    if not entries:
        return Answer(NAME, skipped="no variable at the trap is a list's entry whose value is in the dump")
    if not any(_is_there(entry) for _, entry in entries.values()):
        return Answer(NAME, skipped="the list's entries are not in the dump")
    broken = [
        (f"{path}{link}", words)
        for path, entry in entries.values()
        for link, words in wrong_links(dump, entry)
    ]
    if not broken:
        return Answer(
            NAME, (Finding("The lists at hand fit together now: what the kernel saw has changed."),)
        )
    name, words = broken[0]
    lines = tuple(f"{one} {why}"[:LONGEST] for one, why in broken)
    text = f"{name} {words}"[:LONGEST]
    return Answer(
        NAME, (Finding(f"A link of the list is wrong: {text}.", lines),), verdict=text, pointer=name
    )


def _named(dump: Dump, address: int) -> tuple[str, Object]:
    """Return the entry at an address, with its name."""
    name = where(dump.prog, address) or f"(struct list_head *)0x{address:x}"
    return f"{name}->", Object(dump.prog, "struct list_head", address=address)


def _is_there(entry: Object) -> bool:
    try:
        entry.member_("next").read_()
    except LOST:
        return False
    return True


def _entries(name: str, value: Object) -> Iterator[tuple[str, Object]]:
    """Yield the list entries that a pointer leads to: one, or those of a structure."""
    kind = pointed(value)
    if kind.kind != TypeKind.STRUCT:
        return
    try:
        if kind.tag == "list_head":
            yield f"{name}->", value[0]
            return
        for member in kind.members or ():
            if member.name and member.type.kind == TypeKind.STRUCT and member.type.tag == "list_head":
                yield f"{name}->{member.name}.", value.member_(member.name)
    except LOST:
        return


def wrong_links(dump: Dump, entry: Object) -> Iterator[tuple[str, str]]:
    """Yield the inconsistent links of an entry, with their fault.

    :param entry: ``struct list_head``.
    """
    own = entry.address_
    for link, back in (("next", "prev"), ("prev", "next")):
        try:
            other = entry.member_(link).read_()
        except LOST:
            return
        target = other.value_()
        if not target:
            continue  # it never was in a list
        if target in _POISONS:
            yield link, f"is {_POISONS[target]}: the entry was deleted before"
            continue
        leads = f"leads to {address_words(dump.prog, target)}"
        if found := object_at(dump, target):
            leads += f" in an object of {found.cache} that is {found.state}"
        try:
            returned = other.member_(back).value_()
        except LOST:
            yield link, f"{leads}, which is no memory of the dump"
            continue
        if returned != own:
            yield link, f"{leads}, whose {back} is {address_words(dump.prog, returned)} and not 0x{own:x}"
