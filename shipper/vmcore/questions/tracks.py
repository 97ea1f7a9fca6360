"""The tasks that allocated a slab object and freed it last, if the kernel records it (``slub_debug=U``).

:see: ``struct track`` and ``get_track()`` in mm/slub.c (Linux 5.10 to 6.12)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from drgn import Object, cast, sizeof
from drgn.helpers.linux.pid import find_task
from drgn.helpers.linux.stackdepot import stack_depot_fetch

from kpanic.shipper.vmcore.answers import LONGEST, Finding
from kpanic.shipper.vmcore.dump import address_words, comm, frame_lines, slab_flag
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drgn import StackFrame

    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["depot", "tracks"]

FRAMES: Final = 16
"""Maximum frames that are shown."""
_STORE_USER: Final = 0x10000
"""``SLAB_STORE_USER``, see :func:`slab_flag`."""
_DEEDS: Final = ("allocated", "freed")
"""The deeds in the order of ``enum track_item``."""


def tracks(dump: Dump, cache: Object, address: int) -> Iterator[Finding]:
    """Yield the allocation and the freeing of an object, each with its task and stack.

    :param cache: ``struct kmem_cache *``
    :param address: of its first byte.
    """
    prog = dump.prog
    try:
        if not cache.flags.value_() & slab_flag(prog, "STORE_USER", _STORE_USER):
            return
        kind = prog.type("struct track")
        inside = cache.inuse.value_()
        if cache.offset.value_() >= inside:  # the pointer to the next free object comes first
            inside += sizeof(prog.type("void *"))
        for number, deed in enumerate(_DEEDS):
            track = Object(prog, kind, address=address + inside + number * sizeof(kind))
            if track.addr.value_():
                yield _finding(track, deed)
    except LOST:
        return


def _finding(track: Object, deed: str) -> Finding:
    words = f"The object was {deed} by PID {track.pid.value_()}{_name(track)} on CPU {track.cpu.value_()}"
    with contextlib.suppress(*LOST):
        words += f", {_age(track):.1f} s before the dump"
    frames = _stack(track)[:FRAMES]
    lines = list(frame_lines(frames))
    caller = address_words(track.prog_, track.addr.value_())
    if not any(f"({frame.name}+" in caller for frame in frames):  # the kernel leaves out the innermost ones
        lines.insert(0, f"called at {caller}")
    return Finding(f"{words}.", tuple(lines))


def _name(track: Object) -> str:
    """Return the name of the task that has the PID at the time of the dump."""
    try:
        task = find_task(track.prog_, track.pid)
        return f" ({comm(task)})"[:LONGEST] if task else ""
    except LOST:
        return ""


def _age(track: Object) -> float:
    """Return the seconds from the track to the dump."""
    prog = track.prog_
    passed = cast("unsigned long", prog["jiffies_64"]) - track.when
    return float(passed.value_() * prog["tick_nsec"].value_() / 1e9)


def _stack(track: Object) -> Sequence[StackFrame]:
    """Return the stack: in the stack depot since Linux 5.19, in the track itself before."""
    try:
        if hasattr(track, "handle"):
            return depot(track.handle)
        addresses = [address.value_() for address in track.addrs]
        return list(track.prog_.stack_trace_from_pcs([one for one in addresses if one]))
    except LOST:
        return ()


def depot(handle: Object) -> Sequence[StackFrame]:
    """Return a stack out of the stack depot; empty if it is not there.

    :param handle: ``depot_stack_handle_t``
    """
    try:
        found = stack_depot_fetch(handle) if handle else None
    except LOST:
        return ()
    return list(found) if found else ()
