"""Finds the lines of a report that have a frame or a register; formats lists and durations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.fact import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.model import CrashReport, Line

__all__ = ["frame", "header", "listed", "register", "span"]

_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def header(report: CrashReport) -> tuple[Line, ...]:
    """Return the header's lines; a report that lost its beginning has none."""
    return lines_of(report.facts_of("header")) or report.lines[:1]


def frame(report: CrashReport, symbol: str) -> tuple[Line, ...]:
    """Return the line of a function's frame, or of the instruction pointer in the function.

    The innermost frame is used; reliable frames are preferred to guesses.

    :param symbol: with or without the compiler's suffixes.
    """
    guess: tuple[Line, ...] = ()
    for fact in report.facts:
        if fact.kind == "pointer" and _is(fact.value.ip.symbol, symbol):
            named = tuple(line for line in fact.lines if symbol in line.text)  # loongarch prints ra first
            return (named or fact.lines)[:1]
        if fact.kind != "frames" or not fact.value.mentions(symbol):
            continue
        for place, one in zip(fact.value.places, fact.value.frames, strict=True):
            if one.symbol.startswith(symbol) and _is(one.symbol, symbol):
                if one.reliable:
                    return (fact.lines[place],)
                guess = guess or (fact.lines[place],)
    return guess


def _is(symbol: str, wanted: str) -> bool:
    """Tell whether a symbol is a function, with or without the compiler's suffixes."""
    return symbol == wanted or (bool(symbol) and symbol.partition(".")[0] == wanted)


def register(report: CrashReport, wanted: str, value: str) -> tuple[Line, ...]:
    """Return the line of the dump with a register and its value, as printed."""
    for fact in report.facts_of("registers"):
        for number, (name, written) in enumerate(fact.value.values):
            if (name, written) == (wanted, value):
                return (fact.lines[fact.value.place(number)],)
    return ()


def listed(items: Iterable[str], most: int = 3) -> str:
    """Return a list in words: ``a, b, c and 4 more``."""
    items = list(items)
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return " and ".join((", ".join(items[:-1]), items[-1])) if len(items) > 1 else "".join(items)


def span(seconds: float) -> str:
    """Return a duration in words, in its two largest units."""
    left, words = int(seconds), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(words[:2]) or "less than a second"
