"""A file that is read in parts gives the same documents, wherever the parts are divided."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpanic.grammars import part as part_
from kpanic.shipper import parts
from kpanic.shipper.contract import crash_text
from kpanic.shipper.origin import Origin
from kpanic.shipper.parsing import parse_files
from kpanic.shipper.parts import Joined, Range, read_range
from tests.engines.dask import Dask

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from kpanic.shipper.packed import Packed

BASE = Origin("file")
BOOT = (
    "[    0.000000] Linux version 6.1.{0} (a@b) (gcc 12) #1 SMP\n"
    "[    0.000000] Command line: BOOT_IMAGE=/vmlinuz-6.1.{0} root=/dev/sda1 {1}\n"
    "[    0.000000] DMI: Dell Inc. PowerEdge R640/0W23H8, BIOS 2.{0} 02/24/2021\n"
    "[    1.000000] systemd[1]: Hostname set to <node{0}>.\n"
)
OOPS = (
    "[  {0}.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010\n"
    "[  {0}.000002] Oops: 0000 [#1] SMP\n"
    "[  {0}.000003] CPU: 1 PID: {1} Comm: worker Not tainted 6.1.0 #1\n"
    "[  {0}.000004] RIP: 0010:example_read+0x16/0x20 [example]\n"
    "[  {0}.000005] Call Trace:\n"
    "[  {0}.000006]  vfs_read+0x9d/0x340\n"
    "[  {0}.000007] ---[ end trace 0000000000000000 ]---\n"
)
PIECES = {
    "boot": lambda number: BOOT.format(number, "quiet"),
    "crash kernel": lambda number: BOOT.format(number, "elfcorehdr=0x1000000"),
    "banner": lambda number: f"[    0.000000] Linux version 5.{number}.0 (a@b) #1 SMP\n",
    "banner without a stamp": lambda number: f"Linux version 4.{number}.0 (a@b) #1 SMP\n",
    "debugger": lambda number: (
        f"    pid   = {number}, comm = worker\n[    9.0] Linux version 6.1.0 (a@b) #1\n"
    ),
    "crash": lambda number: crash_text(number).decode(),
    "oops": lambda number: OOPS.format(100 + number % 800, number),
    "late oops": lambda number: OOPS.format(999, number),
    "warning": lambda number: f"[  150.{number:06}] WARNING: CPU: 0 PID: {number} at a.c:7 f+0x1/0x2\n",
    "end of a report": lambda _: "[  160.000000] Kernel panic - not syncing: Fatal exception\n",
    "error": lambda number: f"[  120.{number:06}] EDAC MC0: 1 CE memory read error on DIMM{number}\n",
    "errors": lambda number: "".join(
        f"[  130.{at:06}] EDAC MC{number}: 1 CE memory read error on DIMM{at}\n" for at in range(70)
    ),
    "prompt": lambda number: f"\nnode{number} login: ",
    "noise": lambda number: "".join(f"[  170.{at:06}] usb 1-1: device {at}\n" for at in range(number % 40)),
    "much noise": lambda number: "".join(f"[  180.{at:06}] eth0: link {at}\n" for at in range(300 + number)),
    "trigger": lambda _: "[  140.000000] sysrq: Trigger a crash\n",
    "syslog": lambda number: f"Nov 22 18:53:41 web{number % 3} kernel: [  190.000000] Oops: 0002 [#1] SMP\n",
    "broadcast": lambda number: (
        f"Message from syslogd@web at Nov 22 18:53:41 ...\n kernel:[  191.{number:06}] Oops: 0002\n"
    ),
    "NULs": lambda _: "\0" * 100,
    "cut line": lambda _: "[  192.0",
}
CONSOLES = st.lists(
    st.tuples(st.sampled_from(sorted(PIECES)), st.integers(0, 99)), min_size=2, max_size=14
).map(lambda chosen: "".join(PIECES[kind](number) for kind, number in chosen).encode())


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare parsers every few lines."""
    monkeypatch.setattr(part_, "BLOCK", 4096)


def plain(documents: list[Packed]) -> list[dict[str, Any]]:
    found = [json.loads(document.body) for document in documents]
    for document in found:
        del document["event"]["created"]
    return found


def in_one(path: Path) -> list[dict[str, Any]]:
    return plain([one for parsed in parse_files([str(path)], BASE) for one in parsed.documents])


def joined(path: Path, borders: list[int], repeated: list[Range]) -> list[dict[str, Any]]:
    """Read a file in parts divided at these offsets."""
    whole = Joined(str(path))
    ends: list[int | None] = [0, *borders, None]
    found: list[Packed] = []

    def read(part: Range) -> None:
        for piece in read_range(part, BASE):
            found.extend(whole.documents(part, piece))

    for begin, end in itertools.pairwise(ends):
        part: Range | None = Range(str(path), begin or 0, end)
        while part is not None:
            read(part)
            if end is None:
                whole.end()
            if (part := whole.repeated()) is not None:
                repeated.append(part)
    assert whole.fault == ""
    return plain(found)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=CONSOLES, chance=st.randoms(use_true_random=False))
def test_a_file_in_parts_gives_the_documents_of_one_reading(
    data: bytes, chance: random.Random, tmp_path: Path
) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(data)
    borders = sorted(chance.sample(range(1, len(data) + 1), min(len(data), 4)))
    assert joined(path, borders, []) == in_one(path)


def clocked(kinds: list[str]) -> bytes:
    """Return a console on which the clock of each boot advances."""
    lines = "".join(PIECES[kind](number) for number, kind in enumerate(kinds)).splitlines()
    printed, clock = [], 0.0
    for line in lines:
        clock = 0.0 if "Linux version" in line else clock + 0.01
        printed.append(re.sub(r"\[ *\d+\.\d+\]", f"[{clock:12.6f}]", line) + "\n")
    return "".join(printed).encode()


CONSOLE = clocked(
    [
        *["boot", "much noise", "crash", "much noise"] * 3,
        *["boot", "much noise", "oops", "crash kernel", "much noise", "much noise", "much noise"],
        *["boot", "much noise", "prompt", "boot", "trigger", "oops", "much noise", "boot", "error"],
        *["much noise", "boot", "much noise", "late oops", "boot", "much noise"] * 3,
    ]
)
"""Boots with and without a crash, and a crash kernel that boots after a crash."""


@pytest.mark.parametrize("apart", [pytest.param(97, marks=pytest.mark.slow), 293])
def test_borders_may_lie_anywhere_in_a_console(tmp_path: Path, apart: int) -> None:
    """Parts are divided at line ends, every few lines."""
    path = tmp_path / "console.log"
    path.write_bytes(CONSOLE)
    whole = in_one(path)
    assert len(whole) == 8
    assert [document["kernel"]["panic"]["fatal"] for document in whole].count(True) == 5
    repeated: list[Range] = []
    places = [place + 1 for place, byte in enumerate(CONSOLE) if byte == 10][::apart]
    assert len(places) > 20
    for place in places:
        assert joined(path, [place], repeated) == whole
    assert joined(path, places[:: 485 // apart], repeated) == whole
    assert len(repeated) < len(places) / 10


@pytest.mark.parametrize(
    ("console", "again"),
    [
        pytest.param("boot|noise|crash|much noise|much noise", [], id="no boot behind the border"),
        pytest.param("noise|much noise|oops|much noise", [], id="no boot at all"),
        pytest.param(
            "boot|syslog|much noise|syslog|much noise|boot|much noise|syslog", [(0, None)], id="many hosts"
        ),
        pytest.param(
            "boot|oops|noise|boot|much noise|much noise|much noise|much noise|errors|much noise|oops",
            [(0, None)],
            id="more lines before a crash than are held",
        ),
    ],
)
def test_an_indivisible_file_is_read_again_as_a_whole(
    console: str, again: list[tuple[int, int | None]], tmp_path: Path
) -> None:
    path = tmp_path / "console.log"
    data = clocked(console.split("|"))
    path.write_bytes(data)
    repeated: list[Range] = []
    middle = data.find(b"Linux version", 200)
    assert joined(path, [middle - 20 if middle > 0 else 1000], repeated) == in_one(path) != []
    assert [(part.begin, part.end) for part in repeated] == again


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A console with many parts."""
    monkeypatch.setattr(parts, "SIZE", 1 << 17)
    path = tmp_path / "large.log"
    path.write_bytes(CONSOLE * 12)
    assert len(parts.ranges(str(path), path.stat().st_size)) >= 16
    return path


@pytest.mark.process
def test_processes_read_a_large_file_in_parts(large: Path) -> None:
    other = large.with_name("other.log")
    other.write_bytes(crash_text(7))
    found = list(parse_files([str(large), str(other)], BASE, on=2))
    assert [parsed.path for parsed in found if parsed.complete] == [str(large), str(other)]
    assert [parsed.fault for parsed in found if parsed.fault] == []
    documents = plain([one for parsed in found for one in parsed.documents])
    assert documents == in_one(large) + in_one(other)


@pytest.mark.process
def test_workers_read_a_large_file_in_parts(large: Path, tmp_path: Path) -> None:
    (tmp_path / "dask").mkdir()
    dask = Dask(tmp_path / "dask", 2)
    dask.start()
    try:
        found = list(parse_files([str(large)], BASE, on=dask.address))
    finally:
        dask.stop()
    assert plain([one for parsed in found for one in parsed.documents]) == in_one(large)


def test_only_a_log_that_lies_open_is_parted(large: Path, tmp_path: Path) -> None:
    size = large.stat().st_size
    packed = tmp_path / "large.log.gz"
    packed.write_bytes(gzip.compress(os.urandom(size)))
    folder = tmp_path / "127.0.0.1-2021-04-29-20:32:26"
    folder.mkdir()
    (folder / "vmcore-dmesg.txt").write_bytes(large.read_bytes())
    assert parts.ranges(str(packed), size) == []
    assert parts.ranges(str(folder / "vmcore-dmesg.txt"), size) == []
    assert parts.ranges(str(tmp_path / "nowhere"), size) == []
    assert parts.ranges(str(large), 0) == []
    assert parts.ranges(str(large), 1 << 62) == [], "a server may say so"
    with large.open("r+b") as file:
        file.truncate(2 * size)
    assert parts.local_size(str(large)) == 0
