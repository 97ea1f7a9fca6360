"""Crash texts as people and log stores hand them on, beside what a reader says of each.

``tests/wild/answers.tsv`` has a row a document: the case (a file without ``.txt``), the document's number (0:
the text holds no crash; ``last``), the number of documents, and the fields. ``||`` parts answers that are all
right, ``-`` means that the field is absent, ``*`` that it is not examined.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest

import kpanic

FOLDER: Final = Path(__file__).parent.parent / "wild"
FIELDS: Final = {
    "title": "kernel.panic.title",
    "cause": "kernel.panic.cause",
    "function": "kernel.panic.function",
    "kernel": "host.os.kernel",
    "arch": "host.architecture",
    "hardware": "kernel.panic.hardware.name",
    "fatal": "kernel.panic.fatal",
    "comm": "process.name",
    "module": "kernel.panic.rip.module",
}
CASES: Final = defaultdict(list)
with (FOLDER / "answers.tsv").open(newline="", encoding="utf-8") as rows:
    for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
        CASES[row["case"]].append(row)


def field(document: dict[str, Any], dotted: str) -> str:
    value: Any = document
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return {True: "yes", False: "no", None: ""}.get(value, value)


WRONG: Final = {
    "amdgpu-reset-then-oops": "the first report names the crash, though a graver one follows",
    "html-escaped": "a line break of HTML stays at the end of a line",
    "journal-pager-cut": "a word that the pager cut is taken for whole",
    "one-line-flattened": "records on one line are not parted",
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.xfail(reason=WRONG[case], strict=False) if case in WRONG else ())
        for case in sorted(CASES)
    ],
)
def test_a_text_is_read_as_a_person_reads_it(case: str) -> None:
    reports = list(kpanic.parse((FOLDER / f"{case}.txt").read_bytes()))
    documents = [kpanic.document(report) for report in reports]
    for row in CASES[case]:
        assert row["count"] == "*" or str(len(documents)) in row["count"].split(" || ")
        if row["doc"] == "0":
            continue
        document = documents[-1 if row["doc"] == "last" else int(row["doc"]) - 1]
        got = {name: field(document, dotted) for name, dotted in FIELDS.items()}
        wanted = {name: row[name].split(" || ") for name in FIELDS if row[name] != "*"}
        wrong = {
            name: (got[name], answers)
            for name, answers in wanted.items()
            if (got[name] or "-") not in answers
        }
        assert not wrong


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
