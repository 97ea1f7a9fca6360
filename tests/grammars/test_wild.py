"""Crash texts that people posted, with the answers of a person who read them (``tests/wild``)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import kpanic
from tests.wild_answers import answers, cases

FOLDER: Final = Path(__file__).parent.parent / "wild"
CASES: Final = cases(FOLDER)


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_text_is_read_as_a_person_reads_it(case: str) -> None:
    assert [one for one in answers(FOLDER, case, CASES[case]) if not one.right] == []


def test_every_text_has_an_answer() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize(
    ("case", "host"),
    [
        ("loki-logcli-text", "web09"),
        ("loki-logcli-jsonl", "web09"),
        ("elasticdump-ndjson", "web09"),
        ("kubernetes-fluent-bit-ndjson", "node-7"),
        ("cloudwatch-get-log-events", ""),
    ],
)
def test_the_host_is_the_one_that_the_store_names(case: str, host: str) -> None:
    (report,) = kpanic.parse((FOLDER / f"{case}.txt").read_bytes())
    assert report.host == host
