"""Dumps of all formats are read to the last page."""

from __future__ import annotations

import itertools
import struct
import subprocess
import zlib
from typing import TYPE_CHECKING, NamedTuple

import pytest

from kpanic.shipper.vmcore.log import records
from kpanic.shipper.vmcore.opening import open_dump
from kpanic.shipper.zstd import zstd
from tests.vmcore.test_vmcore import explain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.process

PAGE = 4096
FIELDS = struct.Struct("<428x3I")
"""``block_size``, ``sub_hdr_size`` and ``bitmap_blocks`` of ``struct disk_dump_header`` (diskdump_mod.h)."""
DESCRIPTOR = struct.Struct("<qIIQ")
"""``struct page_desc``: offset, size and flags of a page, its page flags."""
NOTES = struct.Struct("<48x2Q")
"""``offset_note`` and ``size_note`` of ``struct kdump_sub_header`` (diskdump_mod.h)."""
EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")


class Page(NamedTuple):
    place: int
    size: int


class Dump(NamedTuple):
    """The parts of a compressed dump.

    :ivar bitmap: a bit for each page frame whose page is there, lowest first.
    :ivar begin: place of the first descriptor.
    :ivar pages: of each frame in the bitmap.
    """

    data: bytes
    bitmap: bytes
    begin: int
    pages: list[tuple[Page, int, int]]

    def content(self, page: Page, flags: int) -> bytes:
        packed = self.data[page.place : page.place + page.size]
        return zlib.decompress(packed) if flags else packed


def taken_apart(data: bytes) -> Dump:
    block, extra, bitmaps = FIELDS.unpack_from(data)
    assert block == PAGE
    begin = (1 + extra + bitmaps) * block
    bitmap = data[(1 + extra + bitmaps // 2) * block : begin]
    count = sum(byte.bit_count() for byte in bitmap)
    rows = DESCRIPTOR.iter_unpack(data[begin : begin + count * DESCRIPTOR.size])
    return Dump(data, bitmap, begin, [(Page(place, size), flags, more) for place, size, flags, more in rows])


def repacked(data: bytes, flag: int, compress: Callable[[bytes], bytes]) -> bytes:
    """Return a compressed dump with another compression, as newer versions of makedumpfile write it.

    :param flag: ``DUMP_DH_COMPRESSED_…``.
    """
    dump = taken_apart(data)
    made, pages = bytearray(data[: dump.begin]), bytearray()
    behind = dump.begin + len(dump.pages) * DESCRIPTOR.size
    written: dict[Page, tuple[int, int, int]] = {}
    for page, flags, more in dump.pages:
        if page not in written:  # all pages of zeros are stored once
            content = dump.content(page, flags)
            packed = compress(content)
            small = len(packed) < PAGE
            written[page] = (behind + len(pages), len(packed) if small else PAGE, flag if small else 0)
            pages += packed if small else content
        made += DESCRIPTOR.pack(*written[page], more)
    return bytes(made + pages)


def as_elf(data: bytes) -> bytes:
    """Return a compressed dump as an ELF core, with a segment for each range of page frames (elf(5))."""
    dump = taken_apart(data)
    place, size = NOTES.unpack_from(data, PAGE)
    notes = data[place : place + size]
    frames = [
        8 * number + bit for number, byte in enumerate(dump.bitmap) for bit in range(8) if byte >> bit & 1
    ]
    starts = [number for number, frame in enumerate(frames) if not number or frame != frames[number - 1] + 1]
    begin = EHDR.size + (1 + len(starts)) * PHDR.size
    made = bytearray(
        EHDR.pack(
            b"\x7fELF\x02\x01\x01", 4, 62, 1,  # a core of x86-64
            0, EHDR.size, 0, 0, EHDR.size, PHDR.size, 1 + len(starts), 0, 0, 0,
        )
    )  # fmt: skip
    made += PHDR.pack(4, 0, begin, 0, 0, len(notes), len(notes), 0)
    for start, stop in itertools.pairwise([*starts, len(frames)]):
        length = (stop - start) * PAGE
        where = begin + len(notes) + start * PAGE
        made += PHDR.pack(1, 7, where, 0, frames[start] * PAGE, length, length, 0)
    return bytes(made + notes + b"".join(dump.content(page, flags) for page, flags, _ in dump.pages))


@pytest.mark.parametrize("option", ["-c", "-l", "-F"])
def test_dumps_compressed_or_flattened_by_makedumpfile(dumps: Path, tmp_path: Path, option: str) -> None:
    made, command = tmp_path / "vmcore", ["makedumpfile", option, "-d", "31", dumps / "vmcore.hung"]
    with (tmp_path / "stdout").open("wb") as out:
        subprocess.run([*command, *([made] if option != "-F" else [])], stdout=out, check=True)
    found = list(records(open_dump(str(tmp_path / "stdout" if option == "-F" else made))))
    assert found == list(records(open_dump(str(dumps / "vmcore.hung"))))
    assert len(found) > 50


def test_pages_compressed_with_zstandard(dumps: Path, tmp_path: Path) -> None:
    dump = tmp_path / "vmcore"
    dump.write_bytes(repacked((dumps / "vmcore.hung").read_bytes(), 0x20, zstd.compress))
    assert dump.stat().st_size < (dumps / "vmcore.hung").stat().st_size / 2
    assert list(records(open_dump(str(dump)))) == list(records(open_dump(str(dumps / "vmcore.hung"))))


def test_an_elf_core_answers_the_same(dumps: Path, tmp_path: Path) -> None:
    dump = tmp_path / "vmcore"
    dump.write_bytes(as_elf((dumps / "vmcore.hung").read_bytes()))
    assert list(records(open_dump(str(dump)))) == list(records(open_dump(str(dumps / "vmcore.hung"))))
    debug = [value for name in ("vmlinux", "ledger.ko") for value in ("--debug-info", dumps / "debug" / name)]
    crash = explain(dump, *debug)
    assert crash["vmcore"]["lock"] == "mutex books.lock"
    assert crash["vmcore"]["holder"].startswith("clerk (PID ")
    assert crash["vmcore"]["skipped"] == []
