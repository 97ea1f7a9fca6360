"""Measures how the time of a regular expression grows with texts that are made to be slow."""

from __future__ import annotations

import re
import signal
import statistics
import time
from contextlib import contextmanager
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.patterns import Compiled

REPEATS = {_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT}
MANY = 16
"""A repetition with a higher maximum can be pumped."""
ALPHABET = " a0\n_.:AZfzx-([<\"/,\t\\=+#@?*)]>|{}~'`$%&!;^\x1b\u00e9"
"""Characters that represent character classes, the most likely first."""
SIZES = (32, 128, 512, 2048, 8192)
"""Bytes of the longer of two texts; the shorter one has a quarter."""
SLOW = 0.005
"""Seconds after which no larger size is tried."""
NOISE = 300e-6
"""Seconds below which a time is noise."""
LIMIT = 8.0
"""Maximum ratio of the times of two texts: 16 for quadratic time, 4 for linear time."""
ENDLESS = 5.0
"""CPU seconds after which a match counts as endless; :mod:`re` checks for signals."""
REPETITIONS = (3, 6, 22)
"""Maximum measurements of both texts; a further one is made only if the ratio is above the limit."""
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    _constants.CATEGORY_DIGIT: str.isdigit,
    _constants.CATEGORY_NOT_DIGIT: lambda one: not one.isdigit(),
    _constants.CATEGORY_SPACE: str.isspace,
    _constants.CATEGORY_NOT_SPACE: lambda one: not one.isspace(),
    _constants.CATEGORY_WORD: lambda one: one.isalnum() or one == "_",
    _constants.CATEGORY_NOT_WORD: lambda one: not (one.isalnum() or one == "_"),
}


class Pump(NamedTuple):
    """A growing text: its beginning, the repeated part, and its end."""

    before: str
    piece: str
    after: str


def pumps(pattern: str | bytes, flags: int, *, variety: int = 5) -> Iterator[Pump]:
    """Yield texts for each repetition in a pattern, with a number of the characters that it accepts."""
    seen = set()
    for before, piece in _repeats(_parser.parse(pattern, flags & ~re.UNICODE), "", variety):
        for one in (
            *(Pump(start, piece, after) for start in (before, "") for after in ("\x00", "", "\n")),
            Pump("", before + piece, "\x00"),
        ):
            if one.piece and one not in seen:
                seen.add(one)
                yield one


def quadratic(one: Compiled, *, variety: int = 5) -> str:
    """Return the method and the text for which the time grows too fast; empty if there are none."""
    pattern = one.compile()
    for pump in pumps(pattern.pattern, one.flags, variety=variety):

        def text(length: int, pump: Pump = pump) -> str | bytes:
            made = pump.before + pump.piece * (length // len(pump.piece)) + pump.after
            return made.encode("latin-1", "replace") if one.binary else made

        for method in ("match", "search") if one.searched else ("match",):
            try:
                with _bounded():
                    found = grows(getattr(pattern, method), text) > LIMIT
            except _EndlessError:
                found = True
            if found:
                return f"{method} on {pump!r}"
    return ""


class _EndlessError(Exception):
    """A match does not end."""


@contextmanager
def _bounded() -> Iterator[None]:
    def over(_signal: int, _frame: object) -> None:
        raise _EndlessError

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _repeats(parsed: Any, before: str, variety: int) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Yield each repetition: the path to it, and the repeated part."""
    for operation, argument in parsed:
        if operation in REPEATS:
            least, most, body = argument
            if most - least >= MANY or most is _constants.MAXREPEAT:
                pieces = dict.fromkeys(_sample(body, turn) for turn in range(variety))
                yield from ((before, piece) for piece in pieces)
        for part in _parts(operation, argument):
            yield from _repeats(part, before, variety)
        before += _sample([(operation, argument)], 0)


def _parts(operation: Any, argument: Any) -> list[Any]:  # noqa: ANN401
    """Return the expressions in an operation."""
    if operation in REPEATS:
        return [argument[2]]
    if operation is _constants.BRANCH:
        return list(argument[1])
    if operation is _constants.SUBPATTERN:
        return [argument[-1]]
    if operation is _constants.ATOMIC_GROUP:
        return [argument]
    if operation in {_constants.ASSERT, _constants.ASSERT_NOT}:
        return [argument[1]]
    return []


def _sample(parsed: Any, turn: int) -> str:  # noqa: ANN401
    """Return a text that the expression probably matches; ``turn`` selects characters and branches."""
    made = []
    for operation, argument in parsed:
        if operation is _constants.LITERAL:
            made.append(chr(argument))
        elif operation in {_constants.IN, _constants.NOT_LITERAL, _constants.ANY}:
            fitting = [one for one in ALPHABET if _takes(operation, argument, one)]
            made.append(fitting[turn % len(fitting)] if fitting else "")
        elif operation in REPEATS:
            made.append(_sample(argument[2], turn) * min(argument[0], 64))
        elif operation is _constants.BRANCH:
            made.append(_sample(argument[1][turn % len(argument[1])], turn))
        elif operation is not _constants.ASSERT_NOT and operation is not _constants.ASSERT:
            made += [_sample(part, turn) for part in _parts(operation, argument)]
    return "".join(made)


def _takes(operation: Any, argument: Any, one: str) -> bool:  # noqa: ANN401
    """Tell whether a class contains a character."""
    if operation is _constants.ANY:
        return one != "\n"
    if operation is _constants.NOT_LITERAL:
        return chr(argument) != one
    negated = bool(argument) and argument[0][0] is _constants.NEGATE
    for kind, value in argument:
        if (
            (kind is _constants.LITERAL and chr(value) == one)
            or (kind is _constants.RANGE and value[0] <= ord(one) <= value[1])
            or (kind is _constants.CATEGORY and _CATEGORIES[value](one))
        ):
            return not negated
    return negated


def grows(run: Callable[[Any], object], text: Callable[[int], Any]) -> float:
    """Return the ratio of the times of a text and one of four times the length; 0 if they are too short.

    A ratio above :data:`LIMIT` is measured again with texts of four times the length: what grows with the
    square of a bounded window, and then with the length, is above it for some lengths alone.
    """
    for large in SIZES:
        if _once(run, text(large)) > SLOW:
            break
    ratio = _ratio(run, text(large), text(large // 4), REPETITIONS)
    return ratio if ratio <= LIMIT else _ratio(run, text(large * 4), text(large), (1,))


def _ratio(run: Callable[[Any], object], long: Any, short: Any, repetitions: Sequence[int]) -> float:  # noqa: ANN401
    """Return the ratio of the times of the long and the short text.

    Both texts are measured in turn, so that what else runs on the machine slows both. A ratio above
    :data:`LIMIT` is measured again, often.
    """
    if _once(run, long) < NOISE:
        return 0.0
    times: list[tuple[float, float]] = []
    ratio = 0.0
    for repeats in repetitions:
        times += [(_once(run, long), _once(run, short)) for _ in range(repeats)]
        if statistics.median(one for one, _ in times) < NOISE:
            return 0.0
        ratio = statistics.median(one / other for one, other in times)
        if ratio <= LIMIT:
            break
    return ratio


def _once(run: Callable[[Any], object], text: Any) -> float:  # noqa: ANN401
    """Return the CPU seconds of one match in this thread."""
    began = time.thread_time()
    run(text)
    return time.thread_time() - began
