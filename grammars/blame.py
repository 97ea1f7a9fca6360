"""Whom a crash is attributed to: which frames are asked, in which order, and which are passed over.

The instruction pointer is rarely the culprit: it stands in the checker, the lock or the allocator that noticed.
So helpers are skipped, each by a rule with a reason (:mod:`grammars.data.skip`), and where a CPU was only found
somewhere in a loop the walk goes down to what dispatched the work (:mod:`grammars.data.anchors`).
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from grammars.data.anchors import ANCHORS, BLOCKERS, ENTRIES, PREFIXES
from grammars.data.skip import SKIP
from grammars.machines import Pointer
from grammars.model import Blame
from grammars.trace import Opening, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from grammars.body import Item
    from grammars.family import Walk
    from grammars.model import Frame

Rules = tuple[tuple[str, str], ...]

REMEMBERED: Final = 16_384
"""Functions whose skip rule is kept at hand."""


def base(symbol: str) -> str:
    """Take the compiler's suffixes from a symbol: ``f.isra.0.cold`` is ``f``."""
    if symbol.startswith("<"):
        return symbol
    return symbol.partition(".")[0]


def bare(function: str) -> str:
    """Take the prefix of a system call's entry from a function."""
    for prefix in PREFIXES:
        if function.startswith(prefix):
            return function[len(prefix) :]
    return function


@functools.lru_cache(maxsize=64)
def _compiled(rules: Rules) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """Return one pattern for all the rules, and the reason of each."""
    return re.compile("|".join(f"({pattern})" for pattern, _ in rules)), tuple(reason for _, reason in rules)


@functools.lru_cache(maxsize=REMEMBERED)
def _reason(function: str, rules: Rules) -> str:
    """Return why a function is passed over; empty where it is not."""
    pattern, reasons = _compiled(rules)
    found = pattern.search(function)
    return reasons[found.lastindex - 1] if found and found.lastindex else ""


class Walker:
    """Looks for the guilty function in what the grammar read."""

    def __init__(self, items: Sequence[Item], extra: Rules = ()) -> None:
        """Start a walk over the items behind a header; ``extra`` are the family's own rules."""
        self.items = items
        self.extra = extra
        self.skipped: list[tuple[str, str]] = []

    def find(self, walk: Walk, named: str) -> Blame:
        """Walk in the way that a form asks for; ``named`` is the function in the header."""
        if walk == "none":
            return Blame(rule="the report names no function")
        if walk == "only-named":
            return Blame(bare(base(named)), "the report's first line names it")
        if walk == "stall":
            return self._stall()
        if walk == "hung":
            return self._hung()
        if walk == "named" and named:
            first = self._first([named])
            if first:
                return self._blame(first, "the report's first line names it")
        if walk == "inner":
            inner = self._first(base(frame.symbol) for frame in self._interrupted())
            if inner:
                return self._blame(inner, "the first frame below the exception that is no helper")
        if walk in {"ip", "inner"}:
            return self._pointed()
        frames = self._trace(self.items)
        return self._blame(self._first(frames), "the first frame of the call trace that is no helper")

    def _blame(self, function: str, rule: str) -> Blame:
        return Blame(bare(function), rule if function else "no frame of the call trace is left", tuple(self.skipped))

    def _first(self, functions: Iterable[str]) -> str:
        """Return the first function that no rule passes over."""
        for function in functions:
            name = base(function)
            reason = (self.extra and _reason(name, self.extra)) or _reason(name, SKIP)
            if not reason:
                return name
            if len(self.skipped) < 64:  # noqa: PLR2004 - enough for any real trace
                self.skipped.append((name, reason))
        return ""

    def _trace(self, items: Iterable[Item]) -> Iterator[str]:
        """Yield the reliable frames of the first trace that has some."""
        opened = any_ = False
        for item in items:
            value = item.value
            if type(value) is Opening:
                if any_:
                    return
                opened = True
            elif type(value) is Trace and opened:
                for frame in value.frames:
                    if frame.symbol and frame.reliable and not frame.inline:
                        any_ = True
                        yield frame.symbol

    def _pointed(self) -> Blame:
        """Ask the instruction pointer, then the frames behind it."""
        for number, item in enumerate(self.items):
            value = item.value
            if type(value) is Pointer:
                name = value.ip.symbol
                if name and not value.user and (first := self._first([name])):
                    return self._blame(first, "the instruction pointer is in it")
                if value.caller and (first := self._first([value.caller])):
                    return self._blame(first, "the link register is in it")
                return self._blame(
                    self._first(self._trace(self.items[number + 1 :])),
                    "the first frame of the call trace that is no helper",
                )
        return self._blame(
            self._first(self._trace(self.items)), "the first frame of the call trace that is no helper"
        )

    def _stack(self) -> list[Frame]:
        """Return the reliable frames of the first trace, with the instruction pointers inside it."""
        frames: list[Frame] = []
        opened = False
        for item in self.items:
            value = item.value
            if type(value) is Opening:
                if frames:
                    break
                opened = True
            elif type(value) is Trace and opened:
                frames += [frame for frame in value.frames if frame.symbol and frame.reliable]
        return frames

    def _interrupted(self) -> list[Frame]:
        """Return the frames below the last entry of an interrupt or exception."""
        frames = self._stack()
        for number in range(len(frames) - 1, -1, -1):
            if ENTRIES.search(frames[number].symbol):
                return frames[number + 1 :]
        return []

    def _stall(self) -> Blame:
        """Go down to what dispatched the work; the frame above it is the one that looped."""
        frames = [frame for frame in (self._interrupted() or self._stack()) if not frame.inline]
        previous = ""
        for frame in frames:
            name = base(frame.symbol)
            if ANCHORS.search(name):
                if previous:
                    return Blame(_alias(bare(previous)), f"the frame above {name}, which dispatches work")
                continue
            if name.startswith("smp_call_function"):
                return Blame("smp_call_function", "it waits for another CPU")
            if not _reason(name, SKIP):
                previous = name
        return Blame("", "no frame above a dispatcher of work is left")

    def _hung(self) -> Blame:
        """Pass over whatever blocks; a few blockers are answers themselves."""
        frames = [base(frame.symbol) for frame in self._stack()]
        for name in frames:
            for pattern, answer in BLOCKERS:
                if re.search(pattern, name):
                    return Blame(answer, f"{name} is what everybody waits for")
        return Blame("", "")


def _alias(function: str) -> str:
    return function
