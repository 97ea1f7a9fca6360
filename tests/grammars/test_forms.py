"""The kernel's sentences: each matches its examples, and its pattern agrees with pyparsing."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpanic.grammars import compiled, diagram, parse, precompile, regenerate
from kpanic.grammars import vocabulary as k
from kpanic.grammars.compile import GrammarError, literals, pattern
from kpanic.grammars.registry import default
from kpanic.grammars.report import FAULT
from tests.grammars.sentences import LOGS, agree, damaged, streamlined, texts

if TYPE_CHECKING:
    from pathlib import Path

    from kpanic.grammars.family import Family, Form

FORMS = [(family, form) for family in default().families for form in family.forms]
by_form = pytest.mark.parametrize(("family", "form"), FORMS, ids=[form.sentence.key for _, form in FORMS])


@by_form
def test_a_form_matches_its_examples(family: Family, form: Form) -> None:
    examples = form.sentence.examples
    assert examples
    for example in examples:
        reading = default().read(family, example)
        assert reading is not None
        assert reading.form is form
        agree(form.sentence, example)


@by_form
def test_the_scan_finds_what_a_form_quotes(family: Family, form: Form) -> None:
    if not family.scanned:
        assert not any(other is family for _, other in default().literals)
        return
    numbers = [number for number, (_, other) in enumerate(default().literals) if other is family]
    for example in form.sentence.examples:
        line = example.partition("\n")[0]
        assert any(
            default().place(number, line) == 0 for number in numbers if default().literals[number][0] in line
        )


@pytest.mark.parametrize(
    "line",
    [
        "BUG: write-lock lockup on CPU#0, bash/1, ffff888012345678",
        "WARNING: possible bad bit-spinlock",
        "INFO: possible bad bit-spinlock",
        "buffer overflow detected in strcpy",
        "Kernel panic -not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    ],
)
def test_a_rare_wording_is_a_report(line: str) -> None:
    (report,) = parse(f"[    1.000000] {line}\n[    1.000001] Call Trace:\n[    1.000002]  boom+0x1/0x2\n")
    assert report.kind != "unknown"
    assert "no form" not in report.doubt
    assert not report.doubt.startswith(FAULT)
    assert report.fatal == ("panic" in line)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_pyparsing_and_the_pattern_agree_on_logs(path: Path) -> None:
    text = _unstamped(path)
    for number, (literal, family) in enumerate(default().literals):
        at = text.find(literal)
        while at >= 0:
            line = text.rfind("\n", 0, at) + 1
            place = line + default().place(number, text[line : text.find("\n", at)])
            for form in family.forms:
                agree(form.sentence, text[place : place + 8192])
            at = text.find(literal, at + 1)


AHEAD = 400
"""Number of characters that distinguish places in logs for a sentence."""


@pytest.mark.slow
@by_form
def test_pyparsing_and_the_pattern_agree_on_every_line(family: Family, form: Form) -> None:
    assert form in family.forms
    sentence = streamlined(form.sentence)
    for text, at in _places():
        agree(sentence, text, at)


@lru_cache(maxsize=1)
def _places() -> list[tuple[str, int]]:
    """Return the beginnings of lines of all logs, without duplicates, since machines boot alike."""
    places: dict[str, tuple[str, int]] = {}
    for path in LOGS:
        text = _unstamped(path)
        at = 0
        while at < len(text):
            places.setdefault(text[at : at + AHEAD], (text, at))
            at = (text.find("\n", at) + 1) or len(text)
    return list(places.values())


def _unstamped(path: Path) -> str:
    """Return a log without the prefixes of dmesg and consoles."""
    stamp = r"(?m)^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?"
    return re.sub(stamp, "", path.read_text("utf-8", "replace"))


@by_form
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_pyparsing_and_the_pattern_agree_on_texts_of_the_grammar(
    family: Family, form: Form, data: st.DataObject
) -> None:
    assert form in family.forms
    agree(form.sentence, data.draw(damaged(texts(form.sentence.expression))))


def test_the_kept_patterns_are_those_of_the_sources() -> None:
    fresh: dict[str, object] = {}
    exec(regenerate.source(), fresh)  # noqa: S102 - the source of a module
    assert fresh["SENTENCES"] == compiled.SENTENCES, "run python -m kpanic.grammars.regenerate"
    assert fresh["CHECKSUMS"] == compiled.CHECKSUMS, "run python -m kpanic.grammars.regenerate"


@pytest.mark.slow
def test_the_picture_shows_every_sentence(tmp_path: Path) -> None:
    picture = tmp_path / "grammar.html"
    sentences = precompile.sentences()
    assert diagram.draw(picture) == len(sentences)
    page = picture.read_text(encoding="utf-8")
    assert page.count('<section class="form">') == len(FORMS)
    assert page.count('<section class="block">') == len(sentences) - len(FORMS)
    assert page.count("<svg") >= len(sentences)
    assert all(f"<h3>{sentence.key}</h3>" in page for sentence in sentences)


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        (lambda: "a bug in " + k.OneOrMore(k.name("function")), "fields cannot repeat"),
        (lambda: "a bug in " + (k.name + "/" + k.name)("function"), "not one piece of text"),
        (lambda: "a bug in " + k.Regex("(a)(b)"), "without groups"),
    ],
)
def test_the_reason_of_a_failed_compilation_is_given(expression: object, wrong: str) -> None:
    assert callable(expression)
    with pytest.raises(GrammarError, match=wrong):
        pattern(expression())


def test_a_form_that_begins_with_anything_is_refused() -> None:
    with pytest.raises(GrammarError, match="too short to look for"):
        literals(k.name + " is broken")
