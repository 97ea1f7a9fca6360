"""The slab objects that the trapping function worked on: their cache, and whether they were free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from drgn.helpers.linux.slab import slab_object_info

from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding
from kpanic.shipper.vmcore.dump import pointers
from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.questions.tracks import tracks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drgn import Object

    from kpanic.shipper.vmcore.dump import Dump, Stack

__all__ = ["NAME", "Found", "ask", "keeps_freed", "object_at"]

NAME: Final = "objects"
CALLERS: Final = 3
"""Frames above the trapping one whose variables are looked at."""
OBJECTS: Final = 12
"""Maximum objects that are shown."""
_FREED: Final = frozenset({"use-after-free", "general-protection", "bad-pointer", "list-corruption"})
"""Causes that a free object explains."""


class Found(NamedTuple):
    """A slab object.

    :ivar address: of its first byte.
    :ivar slab: its cache, ``struct kmem_cache *``.
    :ivar allocated: whether it is allocated; None if the slab is damaged, or if KASAN may keep a freed
        object.
    """

    cache: str
    slab: Object
    address: int
    size: int
    allocated: bool | None

    @property
    def state(self) -> str:
        """Allocated or free, in a word."""
        return "of unknown state" if self.allocated is None else "allocated" if self.allocated else "free"


class _Use(NamedTuple):
    name: str
    function: str
    address: int
    found: Found


def object_at(dump: Dump, address: int) -> Found | None:
    """Return the slab object that holds an address; None if there is none, or if the dump lacks its page."""
    try:
        info = slab_object_info(dump.prog, address)
        if info is None or not info.slab_cache:
            return None
        cache = info.slab_cache
        name = cache.name.string_()[:LONGEST].decode("utf-8", "replace")
        allocated = None if info.allocated and keeps_freed(cache) else info.allocated
        return Found(name, cache, info.address, cache.object_size.value_(), allocated)
    except LOST:
        return None


def keeps_freed(cache: Object) -> bool:
    """Tell whether freed objects of a ``struct kmem_cache *`` may still count as allocated.

    Generic KASAN keeps them in its quarantine for a while (mm/kasan/quarantine.c); with it ``kasan_info`` is
    a member (include/linux/slub_def.h; mm/slab.h from 6.8 on).
    """
    return bool(cache.type_.type.has_member("kasan_info"))


def ask(dump: Dump) -> Answer:
    """Name the objects that the variables and registers at the trap point into."""
    stack = dump.crashed
    if not stack.trapped:
        return Answer(NAME, skipped="no frame of the crashed task was interrupted by a trap")
    uses: dict[int, _Use] = {}
    for name, function, address in _addresses(stack):
        found = object_at(dump, address)
        if found and found.address not in uses:
            uses[found.address] = _Use(name, function, address, found)
        if len(uses) == OBJECTS:
            break
    if not uses:
        return Answer(
            NAME, skipped="no variable or register at the trap points into a slab object that the dump has"
        )
    use = next((use for use in uses.values() if use.found.allocated is False), next(iter(uses.values())))
    lines = (_line(use), *(_line(other) for other in uses.values() if other is not use))
    text = f"{use.name} in {use.function} points into an object of the slab cache {use.found.cache}"
    text += f" that is {use.found.state}" if use.found.allocated is not None else " whose state is not known"
    explains = use.found.allocated is False and dump.cause in _FREED
    used = explains or use.function in {frame.name for frame in stack.trapped}
    return Answer(
        NAME,
        (Finding(f"{text}.", lines), *tracks(dump, use.found.slab, use.found.address)),
        verdict=text if explains else "",
        object=f"{use.found.cache}, {use.found.state}" if used else "",
    )


def _line(use: _Use) -> str:
    found = use.found
    offset = use.address - found.address
    inside = f", {offset} bytes into" if offset else ", the first byte of"
    text = (
        f"{use.function}: {use.name} = 0x{use.address:x}{inside} an object of {found.size} bytes"
        f" at 0x{found.address:x} in {found.cache}, {found.state}"
    )
    return text[:LONGEST]


def _addresses(stack: Stack) -> Iterator[tuple[str, str, int]]:
    """Yield names, functions and addresses: of variables first, then of registers."""
    for frame in (*stack.trapped, *stack.callers[:CALLERS]):
        for name, value in pointers(frame):
            yield name, frame.name, value.value_()
    frame = stack.trapped[-1]
    for name, value in frame.registers().items():
        if name not in {"rsp", "sp", "rbp", "fp"}:  # they lead to the stack, which is no slab object
            yield f"register {name}", frame.name, value
