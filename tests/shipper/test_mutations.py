"""Mutated crash logs pass all steps without an exception: a short run of ``tests.fuzz.mutations``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz.mutations import Fuzz, way

if TYPE_CHECKING:
    from pathlib import Path


def test_mutated_logs_are_parsed_documented_explained_and_reported(tmp_path: Path) -> None:
    fuzz = Fuzz(0, tmp_path)
    fuzz.run(range(770, 830))
    assert fuzz.counts["inputs"] == 60, [path.name for path in tmp_path.iterdir()]
    assert fuzz.counts["crashes"] > 20
    assert (fuzz.counts["exceptions"], fuzz.counts["slow"]) == (0, 0)


def test_an_empty_line_after_a_record_is_no_fault() -> None:
    record = b"3,1,1000000,-;kernel BUG at drivers/widget/main.c:77!\n"
    assert way(record + b"\x1b[2J\n" + record)
