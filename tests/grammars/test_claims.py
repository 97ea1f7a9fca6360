"""Every sentence of the reading occurs in a test, and only with the lines that prove it.

The sentences are those of the code: whoever adds one without a text here that makes the reading say it, or
whose lines do not hold what the sentence quotes, finds out.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from kpanic.grammars import parse
from kpanic.grammars.fact import lines_of
from kpanic.grammars.parser import died
from kpanic.grammars.reading.claim import SENTENCES, Absence, Claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars import CrashReport
    from kpanic.grammars.model import Sentence

HERE = Path(__file__).parent
LOGS = [
    *sorted((HERE / "reports").glob("*.txt")),
    *sorted((HERE / "claims").glob("*.txt")),
    *sorted((HERE.parent / "logs" / "lab").glob("*.log")),
    *sorted((HERE.parent / "logs" / "story").glob("*.txt")),
    *sorted((HERE.parent / "logs" / "transports").glob("*.txt")),
]
_ZEROS = re.compile(r"\b(?:0x)?0+(?=[0-9a-f])")


class Said(NamedTuple):
    """A sentence of the reading, and the values in it."""

    words: str
    report: CrashReport
    sentence: Sentence
    fields: dict[str, object]


def plain(text: str) -> str:
    """Return a text without differences of white space, case, and leading zeros."""
    return _ZEROS.sub("", " ".join(text.split()).lower())


@pytest.fixture(scope="module")
def said() -> Iterator[list[Said]]:
    """Return the sentences of the readings of all logs."""
    found: list[Said] = []
    patch = pytest.MonkeyPatch()
    for kind in (Claim, Absence):
        say = kind.say

        def record(claim, report, lines=None, _say=say, **fields):  # type: ignore[no-untyped-def]  # noqa: ANN001,ANN003,ANN202
            sentence = _say(claim, report, **({} if lines is None else {"lines": lines}), **fields)
            if sentence is not None:
                found.append(Said(claim.words, report, sentence, fields))
            return sentence

        patch.setattr(kind, "say", record)
    for path in LOGS:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.parent.name in {"reports", "claims"}:
            text = text.partition("\n\n")[2]
        for report in parse(text):
            died(report)
    yield found
    patch.undo()


def test_every_sentence_occurs_for_some_log(said: list[Said]) -> None:
    assert {one.words for one in SENTENCES} - {one.words for one in said} == set()


def test_no_two_sentences_are_the_same() -> None:
    assert len({one.words for one in SENTENCES}) == len(SENTENCES)


def test_a_claim_has_lines_of_its_own_report_or_boot(said: list[Said]) -> None:
    claims = {one.words for one in SENTENCES if isinstance(one, Claim)}
    for one in said:
        report = one.report
        known = {
            line.number
            for facts in (report.facts, report.preceded_by, report.hardware_errors, report.followed_by)
            for line in lines_of(facts)
        } | {line.number for line in report.lines}
        assert one.words not in claims or one.sentence.evidence
        assert {line.number for line in one.sentence.evidence} <= known


def test_the_quotations_of_a_claim_are_in_its_lines(said: list[Said]) -> None:
    derived = {one.words: one.derived for one in SENTENCES if isinstance(one, Claim)}
    for one in said:
        if one.words not in derived:
            continue
        lines = plain(" ".join(f"{line.text} {line.raw}" for line in one.sentence.evidence))
        for name in {name for _, name, _, _ in Formatter().parse(one.words) if name}:
            value = plain(str(one.fields[name]))
            assert name in derived[one.words] or value in lines, (one.words, name, value)


def test_an_absence_holds(said: list[Said]) -> None:
    holds = {one.words: one.holds for one in SENTENCES if isinstance(one, Absence)}
    for one in said:
        assert one.words not in holds or holds[one.words](one.report)
