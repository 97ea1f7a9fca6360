"""Damaged and misleading dumps are opened within bounds, and the reason of a failure is given."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.vmcore import process
from kpanic.shipper.vmcore.answers import Answer, Asked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

SECONDS = 20.0


def ask(path: Path, dumps: Path, cause: str = "null-dereference") -> list[Answer]:
    debug = tuple(str(dumps / "debug" / name) for name in ("vmlinux", "ledger.ko"))
    started = time.monotonic()
    asked = Asked(str(path), cause, 8, debug_information=debug)
    with process.put_together(str(path), SECONDS / 2) as whole:
        answers = list(process.questioned(asked, whole, seconds=SECONDS))
    assert time.monotonic() - started < SECONDS + 30
    assert answers
    assert not any("ValidationError" in answer.skipped for answer in answers)  # the question was understood
    assert all(answer.findings or answer.skipped for answer in answers)
    return answers


def test_a_dump_that_is_cut_off_anywhere_gives_a_reason_or_a_part(dumps: Path, tmp_path: Path) -> None:
    data = (dumps / "vmcore.null").read_bytes()
    cut = tmp_path / "vmcore-incomplete"
    complete = 0
    for number in range(50):
        cut.write_bytes(data[: len(data) * number // 50])
        complete += any(answer.verdict for answer in ask(cut, dumps))
    assert 0 < complete < 50


def test_flipped_bits_end_nothing_but_the_answer(dumps: Path, tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    data = bytearray((dumps / "vmcore.hung").read_bytes())
    broken = tmp_path / "vmcore"
    for _ in range(12):
        copy = bytearray(data)
        for _ in range(40):
            place = chance.randrange(len(copy)) if chance.random() < 0.5 else chance.randrange(8192)
            copy[place] ^= 1 << chance.randrange(8)
        broken.write_bytes(copy)
        ask(broken, dumps, "hung-task")


@pytest.mark.parametrize("place", range(0, 8192, 512))
def test_absurd_sizes_in_the_header_are_refused(dumps: Path, tmp_path: Path, place: int) -> None:
    copy = bytearray((dumps / "vmcore.null").read_bytes())
    copy[place + 8 : place + 512] = b"\xff" * 504
    broken = tmp_path / "vmcore"
    broken.write_bytes(copy)
    ask(broken, dumps)


def test_a_sparse_file_of_a_terabyte_is_refused(dumps: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "vmcore"
    sparse.write_bytes((dumps / "vmcore.null").read_bytes()[:4096])
    os.truncate(sparse, 1 << 40)
    answers = ask(sparse, dumps)
    assert not any(answer.verdict for answer in answers)


def test_the_process_that_opens_a_dump_has_limited_memory(dumps: Path) -> None:
    debug = (str(dumps / "debug" / "vmlinux"),)
    asked = Asked(str(dumps / "vmcore.null"), "null-dereference", 8, debug_information=debug)
    answers = list(process.questioned(asked, seconds=SECONDS, memory=200 << 20))
    assert any(answer.skipped for answer in answers)


def test_time_that_is_over_leaves_what_was_answered(dumps: Path) -> None:
    debug = (str(dumps / "debug" / "vmlinux"),)
    asked = Asked(str(dumps / "vmcore.null"), "null-dereference", 8, debug_information=debug)
    answers = list(process.questioned(asked, seconds=0.01))
    assert answers[-1].skipped == "not all was asked within 0 s"
