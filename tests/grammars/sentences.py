"""Generates texts from a sentence's expression, and compares the two ways to match them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyparsing as pp
from hypothesis import strategies as st

from kpanic.grammars.sentence import Sentence
from kpanic.grammars.vocabulary.elements import Later, Lines, UpTo

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LOGS = [
    path
    for folder in ("../logs", "reports")
    for path in sorted((Path(__file__).parent / folder).rglob("*"))
    if path.suffix in {".log", ".txt"}
]
_LOOKAHEAD = re.compile(r"\(\?[=!](?:[^()]|\([^()]*\))*\)")
LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12)


def texts(element: pp.ParserElement) -> SearchStrategy[str]:  # noqa: C901 - one line for each element
    """Return texts that the expression is likely to match."""
    match element:
        case pp.Regex():
            return st.from_regex(_LOOKAHEAD.sub("", element.re.pattern), fullmatch=True)
        case pp.Literal():
            return st.just(element.match)
        case pp.And():
            return st.tuples(*map(texts, element.exprs)).map("".join)
        case pp.MatchFirst():
            return st.one_of(*map(texts, element.exprs))
        case pp.Opt():
            return st.one_of(texts(element.expr), st.just(""))
        case pp.OneOrMore():
            return st.lists(texts(element.expr), min_size=1, max_size=3).map("".join)
        case pp.ZeroOrMore():
            return st.lists(texts(element.expr), max_size=3).map("".join)
        case pp.NotAny() | pp.FollowedBy() | pp.Empty():
            return st.just("")
        case UpTo():
            return LINE
        case Lines():
            lines = st.lists(texts(element.expr), min_size=element.least, max_size=min(element.most, 3))
            return lines.map(lambda found: "".join([f"{line}\n" for line in found]))
        case Later():
            return st.lists(LINE, min_size=1, max_size=element.within + 1).map(
                lambda lines: "\n" + "\n".join(lines)
            )
    assert isinstance(element, pp.ParseElementEnhance)
    assert element.expr is not None
    return texts(element.expr)


@st.composite
def damaged(draw: st.DrawFn, whole: SearchStrategy[str]) -> str:
    """Return a text, or the text with a piece removed, doubled or replaced."""
    text = draw(whole)
    at = draw(st.integers(0, len(text)))
    end = draw(st.integers(at, min(at + 8, len(text))))
    return draw(
        st.sampled_from([text, text[:at] + text[end:], text[:end] + text[at:], text[:at] + "\n" + text[end:]])
    )


def streamlined(sentence: Sentence) -> Sentence:
    """Return a sentence that pyparsing matches fast: its expression is streamlined as by ``parse_string``."""
    made = Sentence(sentence.key, sentence.build)
    made.expression.streamline()
    return made


def agree(sentence: Sentence, text: str, at: int = 0) -> None:
    """Assert that pyparsing and the compiled pattern agree on the match, its end and its fields."""
    read, reference = sentence.match(text, at), sentence.parse(text, at)
    if reference is not None:
        reference = reference[0], {name: value for name, value in reference[1].items() if value}
    assert read == reference, (sentence.key, text[at : at + 400])
