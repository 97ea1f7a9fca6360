"""The kernel log in a dump, read from its ring buffer as VMCOREINFO describes it, without debug information.

    python -I -m kpanic.shipper.vmcore.log DUMP > LOG

makedumpfile does the same for the dumps that kdump leaves; this program also reads those of hypervisors, and
flattened ones. The format is that of Linux 5.10 and later.

:see: kernel/printk/printk_ringbuffer.h (Linux 6.1), Documentation/admin-guide/kdump/gdbmacros.txt
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.opening import open_dump
from kpanic.shipper.vmcore.without import vmcoreinfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drgn import Program

__all__ = ["main", "records"]

COUNT_BITS: Final = 24
"""Maximum binary logarithm of the number of records."""
SIZE_BITS: Final = 28
"""Maximum binary logarithm of the bytes of their texts."""
_STATE_SHIFT: Final = 62
_WHOLE: Final = frozenset({1, 2})
"""Committed and finalized: states of records whose text is complete (enum desc_state)."""


class NoLog(Exception):  # noqa: N818 - a property of the dump
    """The dump has no log that can be read."""


class _Ring(NamedTuple):
    """The whole ring buffer in bytes."""

    info: dict[str, int]
    descriptors: bytes
    infos: bytes
    texts: bytes
    head: int
    tail: int


def main() -> None:
    """Write the log of a dump to standard output."""
    try:
        prog = open_dump(sys.argv[1])
        for nanoseconds, text in records(prog):
            stamp = f"[{nanoseconds // 10**9:5}.{nanoseconds % 10**9 // 1000:06}] ".encode()
            rows = text.replace(b"\0", b"").split(b"\n")
            sys.stdout.buffer.write(b"".join(stamp + row + b"\n" for row in rows))
    except Exception as error:  # noqa: BLE001 - libkdumpfile's have no class of their own
        sys.exit(" ".join(str(error).split())[:300] or type(error).__name__)


def records(prog: Program) -> Iterator[tuple[int, bytes]]:
    """Yield the records of the log, oldest first: nanoseconds since boot, and the text.

    :raises NoLog: the dump lacks the log or its description.
    """
    try:
        ring = _ring(prog)
    except LOST as error:
        raise NoLog(f"the dump lacks its kernel log: {error}") from None
    of = ring.info
    mask = len(ring.descriptors) // of["SIZE(prb_desc)"] - 1
    size = len(ring.texts)
    for number in range(ring.tail, min(ring.head, ring.tail + mask) + 1):
        place = (number & mask) * of["SIZE(prb_desc)"]
        state = _word(ring.descriptors, place + of["OFFSET(prb_desc.state_var)"])
        if state & ((1 << _STATE_SHIFT) - 1) != number or state >> _STATE_SHIFT not in _WHOLE:
            continue
        block = place + of["OFFSET(prb_desc.text_blk_lpos)"]
        begin = _word(ring.descriptors, block + of["OFFSET(prb_data_blk_lpos.begin)"])
        end = _word(ring.descriptors, block + of["OFFSET(prb_data_blk_lpos.next)"])
        record = (number & mask) * of["SIZE(printk_info)"]
        nanoseconds = _word(ring.infos, record + of["OFFSET(printk_info.ts_nsec)"])
        length = _word(ring.infos, record + of["OFFSET(printk_info.text_len)"], 2)
        start, stop = begin % size, end % size
        if begin & 1:
            yield nanoseconds, b""
            continue
        start = 0 if start > stop else start  # the block did not fit after the last one
        start += of["SIZE(atomic_long_t)"]  # the record's number
        yield nanoseconds, ring.texts[start : min(start + length, stop)]


def _ring(prog: Program) -> _Ring:
    named = vmcoreinfo(prog)
    of = {}
    for name, value in named.items():
        if name.startswith(("SIZE(", "OFFSET(")) and value.isdecimal():
            of[name] = int(value)
    if "SYMBOL(prb)" not in named:
        raise NoLog("its kernel is older than Linux 5.10: install makedumpfile, which reads its log")
    base = prog.read_u64(int(named["SYMBOL(prb)"], 16))
    descriptors = base + of["OFFSET(printk_ringbuffer.desc_ring)"]
    count_bits = prog.read_u32(descriptors + of["OFFSET(prb_desc_ring.count_bits)"])
    texts = base + of["OFFSET(printk_ringbuffer.text_data_ring)"]
    size_bits = prog.read_u32(texts + of["OFFSET(prb_data_ring.size_bits)"])
    if count_bits > COUNT_BITS or size_bits > SIZE_BITS:
        raise NoLog("its kernel log is damaged")
    counter = of["OFFSET(atomic_long_t.counter)"]
    count = 1 << count_bits

    def array(place: int, size: int) -> bytes:
        return bytes(prog.read(prog.read_u64(place), size))

    return _Ring(
        of,
        array(descriptors + of["OFFSET(prb_desc_ring.descs)"], count * of["SIZE(prb_desc)"]),
        array(descriptors + of["OFFSET(prb_desc_ring.infos)"], count * of["SIZE(printk_info)"]),
        array(texts + of["OFFSET(prb_data_ring.data)"], 1 << size_bits),
        prog.read_u64(descriptors + of["OFFSET(prb_desc_ring.head_id)"] + counter),
        prog.read_u64(descriptors + of["OFFSET(prb_desc_ring.tail_id)"] + counter),
    )


def _word(data: bytes, place: int, size: int = 8) -> int:
    """Return an unsigned number of a 64-bit little-endian machine."""
    return int.from_bytes(data[place : place + size], "little")


if __name__ == "__main__":
    main()
