"""A dump is read in each of the formats that tools write, to its last page."""

from __future__ import annotations

import struct
import subprocess
import zlib
from typing import TYPE_CHECKING, NamedTuple

import pytest

from kpanic.shipper.vmcore.log import records
from kpanic.shipper.vmcore.opening import open_dump
from kpanic.shipper.zstd import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.process

PAGE = 4096
FIELDS = struct.Struct("<428x3I")
"""``block_size``, ``sub_hdr_size`` and ``bitmap_blocks`` of ``struct disk_dump_header`` (diskdump_mod.h)."""
DESCRIPTOR = struct.Struct("<qIIQ")
"""``struct page_desc``: place, size and flags of a page, its page flags."""


class Page(NamedTuple):
    place: int
    size: int


def repacked(dump: bytes, flag: int, compress: Callable[[bytes], bytes]) -> bytes:
    """Return a compressed dump whose pages are compressed in another way, as newer makedumpfiles do it.

    :param flag: ``DUMP_DH_COMPRESSED_…``.
    """
    block, extra, bitmaps = FIELDS.unpack_from(dump)
    assert block == PAGE
    begin = (1 + extra + bitmaps) * block
    second = dump[(1 + extra + bitmaps // 2) * block : begin]
    count = sum(byte.bit_count() for byte in second)
    made, pages = bytearray(dump[:begin]), bytearray()
    behind = begin + count * DESCRIPTOR.size
    written: dict[Page, tuple[int, int, int]] = {}
    for place, size, flags, more in DESCRIPTOR.iter_unpack(dump[begin:behind]):
        page = Page(place, size)
        if page not in written:  # pages of zeros are one
            content = dump[place : place + size] if not flags else zlib.decompress(dump[place : place + size])
            packed = compress(content)
            small = len(packed) < PAGE
            written[page] = (behind + len(pages), len(packed) if small else PAGE, flag if small else 0)
            pages += packed if small else content
        made += DESCRIPTOR.pack(*written[page], more)
    return bytes(made + pages)


@pytest.mark.parametrize("option", ["-c", "-l", "-F"])
def test_what_makedumpfile_compresses_or_flattens(dumps: Path, tmp_path: Path, option: str) -> None:
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
