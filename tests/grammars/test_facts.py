"""Every fact knows the lines that it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpanic.grammars import body, parse
from kpanic.grammars.blocks.backtrace import Trace
from kpanic.grammars.blocks.pointer import Pointer
from kpanic.grammars.blocks.registers import Registers
from kpanic.grammars.report_lines import ReportText

REPORTS = sorted((Path(__file__).parent / "reports").glob("*.txt"))


def meaning(value: object) -> object:
    if isinstance(value, Trace):
        return value.frames
    if isinstance(value, Pointer):
        return value.ip  # the caller is in the lines below it
    return value.values if isinstance(value, Registers) else value


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_the_lines_of_a_fact_say_it_alone(path: Path) -> None:
    (crash,) = parse(path.read_text(encoding="utf-8").partition("\n\n")[2])
    report = ReportText(crash.lines)
    facts = list(body.read(report))
    assert [fact.place for fact in facts] == sorted(fact.place for fact in facts)
    for fact in facts:
        assert fact.lines == tuple(report.lines[fact.place : fact.place + len(fact.lines)])
        again = next(iter(body.read(ReportText(fact.lines))))
        assert (again.kind, meaning(again.value)) == (fact.kind, meaning(fact.value))
