"""The meaning of an address, derived from its value alone (include/linux/poison.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KERNEL", "NULL_PAGE", "USER", "Address", "Place", "apart", "regions", "special", "split"]

Place = Literal["null", "poison", "error", "user", "kernel", "non-canonical"]


class Address(Struct, frozen=True):
    """The meaning of an address."""

    place: Place
    words: str


USER: Final = Address("user", "an address in user space")
KERNEL: Final = Address("kernel", "a kernel address")
NULL_PAGE: Final = 0x1000
"""Bytes: a lower address is a field of a NULL pointer; arch/x86/mm/fault.c has the same limit."""
_NEAR: Final = 0x10000
"""Maximum bytes between a poison and the address: the offset of a field in a large object."""
_ERRORS: Final = 4095
"""MAX_ERRNO."""
_POISONS: Final = (
    (0x6B6B6B6B6B6B6B6B, "freed slab memory (POISON_FREE, 0x6b…): a use after free"),
    (0x5A5A5A5A5A5A5A5A, "slab memory that was never written (POISON_INUSE, 0x5a…)"),
    (0xA5A5A5A5A5A5A5A5, "the end of a slab object (POISON_END, 0xa5…)"),
    (0xBBBBBBBBBBBBBBBB, "a slab red zone (0xbb…)"),
    (0xCCCCCCCCCCCCCCCC, "a slab red zone or freed init memory (0xcc…)"),
    (0xAAAAAAAAAAAAAAAA, "a poisoned page (0xaa…)"),
    (0xDEAD000000000100, "the next pointer of a deleted list entry (LIST_POISON1)"),
    (0xDEAD000000000122, "the prev pointer of a deleted list entry (LIST_POISON2)"),
    (0xDEAD4EAD00000000, "a spinlock's magic number"),
    (0xDEADBEEFDEADBEEF, "a filler value (0xdeadbeef)"),
    (0xDEAD000000000000, "a poisoned pointer (0xdead…)"),
)
_POISONS_32: Final = (
    (0x6B6B6B6B, "freed slab memory (POISON_FREE, 0x6b…): a use after free"),
    (0x5A5A5A5A, "slab memory that was never written (POISON_INUSE, 0x5a…)"),
    (0xDEADBEEF, "a filler value (0xdeadbeef)"),
)
_DELETED_32: Final = frozenset({0x100, 0x122})
"""LIST_POISON1 and 2 where CONFIG_ILLEGAL_POINTER_VALUE is 0."""


def apart(machine: str) -> Address:
    """Return the meaning of an address where the kernel and user space have separate address spaces."""
    return Address(
        "kernel", f"an address of the kernel or of user space, which have separate spaces on {machine}"
    )


def special(address: int, bits: int) -> Address | None:
    """Return the meaning of a value that is no address on any machine: NULL, an error code, a poison.

    :param bits: width of an address.
    :return: None if it is none of these.
    """
    if address < NULL_PAGE:
        words = f"NULL plus 0x{address:x}" if address else "NULL"
        deleted = bits == 32 and address in _DELETED_32  # noqa: PLR2004
        return Address(
            "null", f"{words}, or the pointer of a deleted list entry (LIST_POISON)" if deleted else words
        )
    top = 1 << bits
    if address >= top - _ERRORS:
        return Address("error", f"an error code used as a pointer (-{top - address})")
    poisons = _POISONS if bits == 64 else _POISONS_32  # noqa: PLR2004
    near = [(address - poison, words) for poison, words in poisons if 0 <= address - poison < _NEAR]
    if not near:
        return None
    offset, words = min(near)
    return Address("poison", f"{words}, plus 0x{offset:x}" if offset else words)


def split(kernel: int) -> Callable[[int], Address]:
    """Return a function from addresses to meanings for a machine with user space below ``kernel``."""
    return lambda address: KERNEL if address >= kernel else USER


def regions(*known: tuple[int, int, Place, str]) -> Callable[[int], Address]:
    """Return a function from addresses to meanings.

    :param known: regions ``(first, last, place, words)``; the first match counts. An address outside all
        regions is a kernel address.
    """

    def locate(address: int) -> Address:
        for first, last, place, words in known:
            if first <= address <= last:
                return Address(place, words)
        return KERNEL

    return locate
