"""All regular expressions of the program."""

from __future__ import annotations

import re
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

import pytest

from tests.growth import quadratic
from tests.patterns import Compiled, gathered

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = pytest.mark.slow
ONE_CHARACTER = {_constants.LITERAL, _constants.NOT_LITERAL, _constants.IN, _constants.ANY}


def operations(parsed: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - structures of the parser of re
    """Walk a parsed expression."""
    if isinstance(parsed, _parser.SubPattern):
        for operation, argument in parsed:
            yield operation, argument
            yield from operations(argument)
    elif isinstance(parsed, list | tuple):
        for one in parsed:
            yield from operations(one)


def is_one_character(parsed: Any) -> bool:  # noqa: ANN401
    """Tell whether the expression is a character or a class, possibly in a non-capturing group."""
    if len(parsed) != 1:
        return False
    operation, argument = parsed[0]
    if operation is _constants.SUBPATTERN:
        return argument[0] is None and is_one_character(argument[-1])
    return operation in ONE_CHARACTER


def repeats_groups_possessively(pattern: re.Pattern[Any]) -> bool:
    return any(
        operation is _constants.POSSESSIVE_REPEAT and not is_one_character(argument[2])
        for operation, argument in operations(_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
    )


@pytest.mark.parametrize("text", [r"(?:ab?)?+", r"((?:::\w++)*+)", r"(?=(?:a|bc){2,3}+)", r"(?>x(ab)++)"])
def test_a_possessive_repeat_of_a_group_is_recognised(text: str) -> None:
    assert repeats_groups_possessively(re.compile(text))


@pytest.mark.parametrize("text", [r"a?+[bc]*+.++(?:d)?+", r"(?>(?:ab?)?)", r"(?:ab)*"])
def test_other_repeats_are_not_taken_for_one(text: str) -> None:
    assert not repeats_groups_possessively(re.compile(text))


@pytest.fixture(scope="module")
def patterns() -> list[Compiled]:
    return gathered()


def test_no_group_is_repeated_possessively(patterns: list[Compiled]) -> None:
    """Python before 3.11.5 matches them wrongly (gh-106052); an atomic group is equivalent."""
    assert len(patterns) > 200
    wrong = [(one.module, one.pattern) for one in patterns if repeats_groups_possessively(one.compile())]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "searched"),
    [("a+b", True), (r"x:\s*\s*y", False), pytest.param("(?:a{1,3})+b", False, marks=SLOW)],
)
def test_growth_with_the_square_is_found(text: str, *, searched: bool) -> None:
    assert any(quadratic(Compiled("here", text, 0, binary=False, searched=searched)) for _ in range(3))


@pytest.mark.parametrize(
    ("text", "searched"),
    [("(?<!a)a+b", True), ("a{1,64}b", True), (r"\s*+\s*x", False), (r"(?>(?:ab|a\w)*),", False)],
)
def test_growth_with_the_length_is_not(text: str, *, searched: bool) -> None:
    pattern = Compiled("here", text, 0, binary=False, searched=searched)
    assert any(quadratic(pattern) == "" for _ in range(3))


@pytest.mark.parametrize(("share", "variety"), [(5, 1), pytest.param(1, 5, marks=SLOW)])
def test_no_pattern_s_time_grows_with_the_square_of_a_text(
    patterns: list[Compiled], share: int, variety: int
) -> None:
    """The unit tests try a fifth of the patterns with the most likely characters.

    What else runs on the machine can make one reading grow, not three.
    """
    found = [one for one in patterns[::share] if all(quadratic(one, variety=variety) for _ in range(3))]
    assert found == []
