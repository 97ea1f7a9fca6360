"""Reads texts and the answers of a person about them: ``answers.tsv`` and ``*.txt`` in one folder.

A row of ``answers.tsv`` is a document: the case (a file without ``.txt``), the document's number (0: the text
holds no crash; ``last``), the number of documents, and the fields. ``||`` parts answers that are all right,
``-`` means that the field is absent, ``*`` that it is not examined.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import kpanic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
SAME: Final = {"arm64": "aarch64", "i386": "i686", "amd64": "x86_64", "ppc64el": "ppc64le", "arm": "armv7l"}
"""Other names of machines."""


@dataclass(frozen=True)
class Answer:
    """A field of a document: kpanic's value, and the right one."""

    case: str
    field: str
    got: str
    wanted: tuple[str, ...]

    @property
    def right(self) -> bool:
        return SAME.get(self.got, self.got) in {SAME.get(one, one) for one in self.wanted}


def cases(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each case."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (folder / "answers.tsv").open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
            found[row["case"]].append(row)
    return found


def answers(folder: Path, case: str, rows: list[dict[str, str]]) -> Iterator[Answer]:
    """Read a text, and compare it with its rows; a missing document is wrong in every field."""
    reports = kpanic.parse((folder / f"{case}.txt").read_bytes())
    documents = [kpanic.document(report) for report in reports]
    if rows[0]["count"] != "*":
        yield Answer(case, "count", str(len(documents)), tuple(rows[0]["count"].split(" || ")))
    for row in rows:
        if row["doc"] == "0":
            continue
        number = len(documents) if row["doc"] == "last" else int(row["doc"])
        document = documents[number - 1] if 0 < number <= len(documents) else None
        for name, dotted in FIELDS.items():
            wanted = (row.get(name) or "*").split(" || ")
            if "*" not in wanted:
                got = "no document" if document is None else _field(document, dotted) or "-"
                yield Answer(case, name, got, tuple(wanted))


def _field(document: dict[str, Any], dotted: str) -> str:
    value: Any = document
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return {True: "yes", False: "no", None: ""}.get(value, value)
