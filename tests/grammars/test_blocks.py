"""The blocks of a report: each matches its examples, and its pattern agrees with pyparsing."""

from __future__ import annotations

import re
from functools import lru_cache
from time import thread_time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpanic.grammars import body
from kpanic.grammars.model import Line
from kpanic.grammars.report_lines import ReportText
from tests.grammars.sentences import LOGS, agree, damaged, streamlined, texts

if TYPE_CHECKING:
    from pathlib import Path

    from kpanic.grammars.blocks import Block
    from kpanic.grammars.sentence import Sentence

BLOCKS = body.blocks()
SENTENCES = list(dict.fromkeys(sentence for block in BLOCKS for sentence in block.sentences))
by_block = pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.key)
by_sentence = pytest.mark.parametrize("sentence", SENTENCES, ids=lambda sentence: sentence.key)


def facts(text: str) -> list[tuple[str, tuple[str, ...]]]:
    report = ReportText([Line(number, line) for number, line in enumerate(text.splitlines(), 1)])
    return [(fact.kind, tuple(line.text for line in fact.lines)) for fact in body.read(report)]


@by_sentence
def test_a_sentence_matches_its_examples(sentence: Sentence) -> None:
    assert sentence.examples
    for example in sentence.examples:
        text = f"{example}\n"
        assert sentence.match(text) is not None, example
        agree(sentence, text)


@by_block
def test_a_report_that_is_what_a_block_quotes_has_the_block(block: Block) -> None:
    for example in block.examples:
        kind, lines = facts(example)[0]
        assert kind == block.kind
        assert example.startswith("\n".join(lines))


@by_block
def test_a_block_is_looked_for_where_it_begins(block: Block) -> None:
    for example in block.examples:
        assert not block.literals or example.startswith(block.literals)


def _unstamped(path: Path) -> str:
    """Return a log without the prefixes of dmesg and consoles."""
    stamp = r"(?m)^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?"
    return re.sub(stamp, "", path.read_text("utf-8", "replace"))


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_pyparsing_and_the_patterns_agree_on_logs(path: Path) -> None:
    """At the lines that begin like a block."""
    text = _unstamped(path)
    for sentence in SENTENCES:
        for literal in sentence.literals:
            at = -1
            while (at := text.find(f"\n{literal}", at + 1)) >= 0:
                agree(sentence, text[at + 1 : at + 8192])


@pytest.mark.slow
@by_sentence
def test_pyparsing_and_the_patterns_agree_on_every_line(sentence: Sentence) -> None:
    flat = streamlined(sentence)
    for text in _kinds_of_lines():
        agree(flat, text)


@lru_cache(maxsize=1)
def _kinds_of_lines() -> list[str]:
    """Return each distinct line of all logs, ignoring numbers, with the lines after it."""
    found: dict[str, str] = {}
    for path in LOGS:
        lines = _unstamped(path).splitlines(keepends=True)
        for number, line in enumerate(lines):
            found.setdefault(re.sub(r"[0-9a-f]", "0", line), "".join(lines[number : number + 8]))
    return list(found.values())


@by_sentence
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_pyparsing_and_the_patterns_agree_on_texts_of_the_grammar(
    sentence: Sentence, data: st.DataObject
) -> None:
    agree(sentence, data.draw(damaged(texts(sentence.expression))))


LONG = {
    "a taint": "CPU: 1 Tainted:a (1." + "1" * 8000,
    "an owner": "CPU: 1 UID: 1 PID: 1 Comm: a Kdump: loaded Tainted:a" + " " * 8000 + "x",
    "a frame without a symbol": " [<0000000000000000>] " + " " * 8000 + "0x0",
    "a frame's name": " " + "a." * 4000,
    "a frame's file": " f+0x1/0x2 " + "a." * 4000,
    "a frame's module": " f+0x1/0x2 " + "[a" * 4000,
    "a frame's caller": "(" * 4000 + "a from " * 500,
    "a demangled name": " <a" + ">a" * 4000,
    "an error code": "Oops: " + "1 " * 4000,
    "a stack": "0 " * 4000 + "Call",
    "a task": "task:" + "a " * 4000,
    "a state": "task:a" + " state:" * 1200,
    "the hardware": "Hardware name: " + " BIOS" * 1600,
    "the modules": "Modules linked in:" + "a(" * 4000,
}


@pytest.mark.parametrize("line", LONG.values(), ids=LONG)
def test_a_long_line_costs_what_its_length_says(line: str) -> None:
    """A line of four times the length may take four times as long; quadratic time would be sixteen times."""

    def cost(text: str) -> float:
        report = ReportText([Line(number, text) for number in range(1, 21)])
        taken = []
        for _ in range(3):
            start = thread_time()
            for fact in body.read(report):
                list(getattr(fact.value, "frames", ()))
            taken.append(thread_time() - start)
        return min(taken)

    cost(line)
    # other processes may slow one measurement, but not three
    assert any(cost(line) < max(9 * cost(line[: len(line) // 4]), 0.05) for _ in range(3))
