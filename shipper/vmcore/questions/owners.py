"""The functions that allocated most pages, if the kernel records it (``page_owner=on``).

:see: Documentation/mm/page_owner.rst, mm/page_ext.c, mm/page_owner.c (Linux 6.1)
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from drgn import Object, offsetof
from drgn.helpers.linux.mm import for_each_valid_page_range
from drgn.helpers.linux.mmzone import pfn_to_section

from kpanic.shipper.vmcore.dump import frame_lines, frame_place, frame_words
from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.questions.tracks import FRAMES, depot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drgn import StackFrame

    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["Owner", "owners"]

PAGES: Final = 20_000
"""Pages of the sample, evenly spread."""
SHOWN: Final = 3
"""Maximum places that are named."""
INVALID: Final = 1
"""``PAGE_EXT_INVALID`` (mm/page_ext.c), in the pointer of a section that is going."""
_ALLOCATOR: Final = ("mm/", "include/", "arch/", "lib/")
"""Folders of the sources whose functions allocate pages on behalf of their callers."""


class Owner(NamedTuple):
    """A place that allocated pages.

    :ivar share: of the pages that are allocated.
    :ivar function: the first function outside the allocator, with its place.
    :ivar lines: the stack, from that function on.
    """

    share: float
    function: str
    lines: tuple[str, ...]


def owners(dump: Dump) -> list[Owner]:
    """Return the places that allocated most pages of a sample; empty if the kernel does not record them."""
    try:
        counted = _sampled(dump)
    except LOST:
        return []
    kind = dump.prog.type("depot_stack_handle_t")
    found = []
    for handle, count in counted.most_common(SHOWN):
        frames = depot(Object(dump.prog, kind, handle))
        if frames:
            frames = _callers(frames)
            lines = frame_lines(frames[:FRAMES])
            found.append(Owner(count / counted.total(), frame_words(frames[0]), lines))
    return found


def _sampled(dump: Dump) -> Counter[int]:
    """Count the allocated pages of a sample by the handles of their stacks."""
    prog = dump.prog
    size = prog["page_ext_size"].value_()
    inside = prog["page_owner_ops"].offset.value_()
    if not inside:
        raise LookupError("page_owner is off")
    flags = offsetof(prog.type("struct page_ext"), "flags")
    handle = inside + offsetof(prog.type("struct page_owner"), "handle")
    allocated = 1 << prog["PAGE_EXT_OWNER_ALLOCATED"].value_()
    counted = Counter[int]()
    step = _step(dump)
    for first, stop, base in _sections(dump):
        for pfn in range(first, stop, step):
            if prog.read_word(base + size * pfn + flags) & allocated:
                counted[prog.read_u32(base + size * pfn + handle)] += 1
    return counted


def _step(dump: Dump) -> int:
    """Return how many pages each page of the sample represents: odd, as allocations are powers of two."""
    total = sum(stop - first for first, stop, _ in for_each_valid_page_range(dump.prog))
    return max(1, total // PAGES) | 1


def _sections(dump: Dump) -> Iterator[tuple[int, int, int]]:
    """Yield ranges of page frames with the address of the record of frame 0."""
    prog = dump.prog
    pages = 1 << (prog["SECTION_SIZE_BITS"].value_() - prog["PAGE_SHIFT"].value_())
    for start, end, _ in for_each_valid_page_range(prog):
        for first in range(start - start % pages, end, pages):
            base = pfn_to_section(prog, first).page_ext.value_()
            if base and not base & INVALID:
                yield max(first, start), min(first + pages, end), base


def _callers(frames: Sequence[StackFrame]) -> Sequence[StackFrame]:
    """Return the frames without the allocator's own, all if there are no others."""
    own = (frame_place(frame).removeprefix("./").startswith(_ALLOCATOR) for frame in frames)
    first = next((number for number, inside in enumerate(own) if not inside), 0)
    return frames[first:]
