"""The matchers with Hyperscan and with ``re`` give the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpanic.grammars import registry
from kpanic.grammars.finder import finder
from kpanic.grammars.precompiled import Patterns
from kpanic.grammars.scan import Search, hyperscan_matcher
from kpanic.grammars.scan.hyperscan_matcher import HyperscanMatcher
from kpanic.grammars.scan.matcher import Matcher, default
from kpanic.grammars.scan.regex_matcher import RegexMatcher

LOGS = Path(__file__).parents[1] / "logs"
MATCHERS: list[type[Matcher]] = [HyperscanMatcher, RegexMatcher]
OVERLAPPING = [b"BUG: ", b"BUG: KASAN: ", b"KASAN: ", b"Oops", b"Oops: ", b"s: ", b"aaa", b"a", b"BUG"]


def found(matcher: type[Matcher], texts: list[bytes], data: bytes) -> list[tuple[int, int]]:
    hits: list[tuple[int, int]] = []
    matcher(texts, range(len(texts)), once=False).scan(data, lambda number, end: hits.append((end, number)))
    return sorted(hits)


def by_definition(texts: list[bytes], data: bytes) -> list[tuple[int, int]]:
    return sorted(
        (end, number)
        for number, text in enumerate(texts)
        for end in range(len(text), len(data) + 1)
        if data[end - len(text) : end] == text
    )


@pytest.mark.parametrize("matcher", MATCHERS)
@given(st.lists(st.sampled_from([*OVERLAPPING, b" ", b"\n", b"\xff\xfe", b"\0", b"BU", b"Oop"]), max_size=12))
def test_every_literal_is_found_wherever_it_ends(matcher: type[Matcher], pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert found(matcher, OVERLAPPING, data) == by_definition(OVERLAPPING, data)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_a_number_is_reported_once_where_that_is_asked(matcher: type[Matcher]) -> None:
    numbers: list[int] = []
    matcher([b"Oops", b"BUG: ", b"INFO: "], [1, 1, 2], once=True).scan(
        b"Oops Oops BUG: INFO: \xff\xfe INFO: ", lambda number, _end: numbers.append(number)
    )
    assert sorted(numbers) == [1, 2]


@pytest.mark.parametrize("matcher", MATCHERS)
def test_no_literals_are_found_nowhere(matcher: type[Matcher]) -> None:
    assert found(matcher, [], b"Oops: 0002 [#1] \xff\xfe") == []


def test_the_literals_of_the_grammar_are_found_alike_in_every_log() -> None:
    search = finder(registry.default()).search
    first, second = (Search(search.literals, search.transports, matcher) for matcher in MATCHERS)
    logs = [path for path in LOGS.rglob("*") if path.is_file()]
    hits = 0
    for path in logs:
        data = path.read_bytes()
        ends = first.ends(data)
        assert second.ends(data) == ends, path
        assert second.kinds(data) == first.kinds(data), path
        hits += len(ends)
    assert hits > len(logs)


def test_compiled_literals_are_kept_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Patterns(Path("none"))
    monkeypatch.setattr(hyperscan_matcher, "PATTERNS", first)
    hits = found(HyperscanMatcher, OVERLAPPING, b"BUG: KASAN: Oops: ")
    second = Patterns(Path("none"))
    second.table = {key: make() for key, make in first.missed.items()}
    monkeypatch.setattr(hyperscan_matcher, "PATTERNS", second)

    assert found(HyperscanMatcher, OVERLAPPING, b"BUG: KASAN: Oops: ") == hits
    assert not second.missed


def test_literals_compiled_by_another_machine_are_recompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Patterns(Path("none"))
    monkeypatch.setattr(hyperscan_matcher, "PATTERNS", first)
    hits = found(HyperscanMatcher, OVERLAPPING, b"BUG: KASAN: Oops: ")
    second = Patterns(Path("none"))
    second.table = {key: b"\0" + make()[1:] for key, make in first.missed.items()}
    monkeypatch.setattr(hyperscan_matcher, "PATTERNS", second)

    assert found(HyperscanMatcher, OVERLAPPING, b"BUG: KASAN: Oops: ") == hits
    assert second.missed.keys() == second.table.keys()


def test_hyperscan_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default() is HyperscanMatcher
    monkeypatch.setitem(__import__("sys").modules, "kpanic.grammars.scan.hyperscan_matcher", None)
    assert default() is RegexMatcher
