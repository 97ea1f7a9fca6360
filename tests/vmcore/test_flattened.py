"""A flattened dump that is cut off, as kdump's over ssh, is rearranged as far as possible."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import time
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from kpanic.shipper.inputs import log_file
from kpanic.shipper.origin import Origin
from kpanic.shipper.vmcore import flattened, process, reading
from kpanic.shipper.vmcore.debuginfod import Debuginfod
from tests.vmcore.test_hostile_dumps import SECONDS, ask
from tests.vmcore.test_vmcore import explain, step

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.vmcore.server import Server

pytestmark = pytest.mark.process

PAGE = 4096
HEAD = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(flattened.BEGIN, b"\0")
END = struct.pack(">qq", -1, -1)


def block(offset: int, data: bytes, size: int | None = None) -> bytes:
    return struct.pack(">qq", offset, len(data) if size is None else size) + data


def put_together(path: Path, data: bytes, room: int = 1 << 30) -> bytes:
    """Return the rearranged dump of a file that begins like a flattened dump."""
    path.write_bytes(HEAD + data)
    made = path.with_name("made")
    with path.open("rb") as source, made.open("w+b") as target:
        flattened.put_together(source.fileno(), target.fileno(), room)
        return target.read()


@pytest.fixture(scope="session")
def flat(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A flattened dump, as makedumpfile pipes it to ssh."""
    path = tmp_path_factory.mktemp("flat") / "vmcore"
    with path.open("wb") as file:
        command = ["makedumpfile", "-F", "-d", "31", dumps / "vmcore.null"]
        subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, check=True)
    return path.read_bytes()


def debug(dumps: Path) -> list[str | Path]:
    return [word for name in ("vmlinux", "ledger.ko") for word in ("--debug-info", dumps / "debug" / name)]


def test_blocks_lie_where_they_belong_and_later_ones_win(tmp_path: Path) -> None:
    data = block(10, b"tail") + block(0, b"head") + block(2, b"\0\0") + block(12, b"xy") + block(20, b"z")
    assert put_together(tmp_path / "flat", data) == b"he\0\0" + bytes(6) + b"taxy" + bytes(6) + b"z"


def test_the_present_part_of_the_last_block_counts(tmp_path: Path) -> None:
    whole = block(0, b"head") + block(4, b"middle") + block(10, b"tail")
    there = [place for start, stop in ((16, 20), (36, 42), (58, 62)) for place in range(start, stop)]
    for size in range(len(whole) + 1):
        made = put_together(tmp_path / "flat", whole[:size])
        assert made == b"headmiddletail"[: sum(place < size for place in there)]


def test_wherever_it_is_cut_off_the_rest_is_as_makedumpfile_puts_it(flat: bytes, tmp_path: Path) -> None:
    (tmp_path / "flat").write_bytes(flat)
    with (tmp_path / "flat").open("rb") as file:
        subprocess.run(
            ["makedumpfile", "-R", tmp_path / "plain"], stdin=file, check=True, capture_output=True
        )
    plain = (tmp_path / "plain").read_bytes()
    assert put_together(tmp_path / "flat", flat[flattened.BEGIN : -len(END)]) == plain.rstrip(b"\0")
    chance = random.Random(2)  # noqa: S311 - no secret
    for cut in (chance.randrange(flattened.BEGIN, len(flat)) for _ in range(20)):
        made = put_together(tmp_path / "flat", flat[flattened.BEGIN : cut])
        assert len(made) <= len(plain)
        for place in range(0, len(made), PAGE):
            page, right = made[place : place + PAGE], plain[place : place + PAGE]
            assert page == right or all(byte in {0, other} for byte, other in zip(page, right, strict=False))


def test_cut_off_anywhere_it_gives_a_reason_or_a_part(dumps: Path, flat: bytes, tmp_path: Path) -> None:
    cut = tmp_path / "vmcore-incomplete"
    complete = []
    for number in range(1, 13):
        cut.write_bytes(flat[: len(flat) * number // 12 - 1])
        complete.append(any(answer.verdict for answer in ask(cut, dumps)))
    assert complete[-1]
    assert not complete[0]
    assert complete == sorted(complete)  # a longer part gives no less


@pytest.mark.parametrize("missing", [16, 1_600_000])
def test_the_present_part_answers_like_a_complete_dump(
    dumps: Path, flat: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    cut, room = tmp_path / "vmcore-incomplete", tmp_path / "room"
    room.mkdir()
    monkeypatch.setenv("TMPDIR", str(room))
    cut.write_bytes(flat[:-missing])
    crash = explain(cut, *debug(dumps))
    assert crash["vmcore"]["pointer"] == "account->owner"
    assert crash["verdict"]["vmcore_needed"] is False
    assert "cut off: what there is of it was put together" in step(crash, "dump")["finding"]
    assert cut.read_bytes() == flat[:-missing]
    assert not list(room.iterdir())


def test_it_is_put_together_once_for_all_downloads(
    dumps: Path, flat: bytes, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = tmp_path / "vmcore-incomplete"
    cut.write_bytes(flat[:-16])
    kernel, module = server.add(dumps / "debug" / "vmlinux"), server.add(dumps / "debug" / "ledger.ko")
    *_, crash = log_file.read(str(cut), Origin("file"))
    made = Mock(wraps=process.put_together)
    monkeypatch.setattr(process, "put_together", made)
    report = reading.opened(crash.report, str(cut), debuginfod=Debuginfod((server.url,)))

    assert report.analysis
    assert report.analysis.vmcore
    assert report.analysis.vmcore.pointer == "account->owner"
    assert server.asked == [kernel, module]
    assert made.call_count == 1


def test_a_complete_dump_is_not_rewritten(dumps: Path, flat: bytes, tmp_path: Path) -> None:
    whole = tmp_path / "vmcore.flat"
    whole.write_bytes(flat)
    assert any(answer.verdict for answer in ask(whole, dumps))
    with process.put_together(str(whole), SECONDS) as file:
        assert file is None


def hostile() -> Iterable[tuple[str, bytes]]:
    yield "nothing", b""
    yield "half a header", block(0, b"")[:8]
    yield "an offset that is none", block(1 << 62, b"KDUMP   ") + block(-2, b"x")
    yield "the last offset", block((1 << 63) - 1, b"KDUMP   ")
    yield "a size that is none", block(0, b"KDUMP   ", -1) + block(0, b"x", 1 << 62)
    yield "sizes of all bits", block(0, b"", (1 << 63) - 1) * 4
    yield "everything at one place", b"".join(block(0, b"KDUMP   ") for _ in range(1000))
    yield "many offsets", b"".join(block(n << 30, b"KDUMP   ") for n in range(100))
    yield "tiny blocks", b"".join(block(n, b"K") for n in range(200_000))


@pytest.mark.parametrize(("words", "data"), [pytest.param(*one, id=one[0]) for one in hostile()])
def test_hostile_blocks_stay_within_their_bounds(
    dumps: Path, tmp_path: Path, words: str, data: bytes
) -> None:
    broken = tmp_path / "vmcore"
    broken.write_bytes(HEAD + data)
    assert not any(answer.verdict for answer in ask(broken, dumps)), words
    with process.put_together(str(broken), SECONDS) as file:
        status = os.fstat(file.fileno()) if file else None
    assert status is None or (
        status.st_size <= process.ROOM and status.st_blocks * 512 <= len(data) + (1 << 20)
    )


def test_a_block_of_a_terabyte_of_zeros_takes_no_space(dumps: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "vmcore"
    sparse.write_bytes(HEAD + block(0, b"", 1 << 40))
    os.truncate(sparse, 1 << 40)
    started = time.monotonic()
    assert not any(answer.verdict for answer in ask(sparse, dumps))
    with process.put_together(str(sparse), 2.0) as file:
        assert file is None
    assert time.monotonic() - started < SECONDS + 10


def test_no_more_than_its_room_is_written(tmp_path: Path) -> None:
    data = b"".join(block(n * 1000, b"x" * 1000) for n in range(100))
    assert put_together(tmp_path / "flat", data, room=50_000) == b"x" * 50_000
    again = b"".join(block(0, b"x" * 1000) for _ in range(100))
    assert put_together(tmp_path / "flat", again, room=50_000) == b"x" * 1000


def test_the_part_rearranged_in_time_counts(
    flat: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, slow = tmp_path / "vmcore", tmp_path / "slow.py"
    cut.write_bytes(flat[:-16])
    slow.write_text("import os, time\nos.pwrite(1, b'KDUMP   ', 0)\ntime.sleep(600)\n")
    monkeypatch.setattr(flattened, "__file__", str(slow))
    with process.put_together(str(cut), 3.0) as file:
        assert file is not None
        assert file.read() == b"KDUMP   "
