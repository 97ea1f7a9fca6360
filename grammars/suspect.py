"""Finds the suspect function: which frames are considered, in which order, and which are skipped.

The instruction pointer is often in the checker, the lock or the allocator that detected the fault. So helpers
are skipped, each for a reason: by the source file that defines them (:mod:`kpanic.grammars.helpers`), or by
their name (:mod:`kpanic.grammars.data.skip`). For a CPU in a loop, the walk goes down to the function that
dispatched the work (:mod:`kpanic.grammars.data.anchors`).
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING, Final

from kpanic.grammars import helpers, machines
from kpanic.grammars.blocks.backtrace import Opening, Trace
from kpanic.grammars.blocks.pointer import Jump, Pointer
from kpanic.grammars.data import reasons
from kpanic.grammars.data.anchors import (
    ANCHORS,
    BLOCKERS,
    ENTRIES,
    GROUPS,
    PREFIXES,
    STALL_SKIP,
    STARTS,
    WAITS,
)
from kpanic.grammars.data.skip import SKIP
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Blame
from kpanic.grammars.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.grammars.body import Body
    from kpanic.grammars.fact import Fact
    from kpanic.grammars.family import Walk

Rules = tuple[tuple[str, str], ...]

_RUST = "_R"
"""Beginning of Rust's mangled names (RFC 2603)."""
_BUILT = regex(r"\.|\$(?:part|isra|constprop|cold)\b")
"""Suffixes of compilers. A ``.`` is never part of a name; xtensa writes ``$part$0``."""
_MANGLED = regex(r"_Z(?P<length>\d{1,3})(?P<rest>\w+)$")
SKIPPED: Final = 64
"""Maximum skipped functions of a report that are recorded."""
IDLE: Final = regex(r"idle|safe_halt|mwait|wait_for_interrupt|cpu_do_wfi|arch_cpu_halt")
PANIC: Final = "panic"
WATCHDOG: Final = 4
"""Number of frames at the top of a stack that include panic() if the watchdog called it."""
RUNAWAY: Final = 8
"""Minimum frames of one function in one stack that count as an endless recursion."""
BEHIND: Final = "is only the address behind a call that never returns"
"""Reason for frames ``f+0x0/…`` of machines that print the return address (``%pS``), not the call."""
RECURSES: Final = "calls itself without an end"
PRINTERS: Final = frozenset({reasons.PRINTS, reasons.WALKS, reasons.STOPS, reasons.REPORTS})
"""Skip reasons of functions at the beginning of a trace."""
REMEMBERED: Final = 16_384
"""Maximum functions whose skip reason is cached."""


@functools.lru_cache(maxsize=REMEMBERED)
def base(symbol: str) -> str:
    """Remove what the build adds to a symbol: ``f.isra.0.cold``, ``__pfx_f`` and ``f_noprof`` become ``f``.

    C++'s ``_Z1fv`` becomes ``f`` too. A Rust name becomes that of the source, without hashes:
    ``<T as Trait>::method``.
    """
    if symbol.startswith("<"):
        return symbol
    name = _BUILT.split(symbol, 1)[0] if "." in symbol or "$" in symbol else symbol
    name = helpers.folded(name)
    if not name.startswith("_"):
        return name
    if name.startswith(_RUST):
        return _rust(name)
    mangled = _MANGLED.match(name)
    return mangled["rest"][: int(mangled["length"])] if mangled else name


@functools.lru_cache(maxsize=REMEMBERED)
def _rust(name: str) -> str:
    """Demangle a name; an invalid one is returned unchanged."""
    from demangle import demangle  # noqa: PLC0415 - slow, and few crashes are Rust's

    return demangle(name, language="rust")


def bare(function: str) -> str:
    """Remove the prefix of a system call's entry from a function."""
    if function.startswith(PREFIXES):
        return function[next(len(prefix) for prefix in PREFIXES if function.startswith(prefix)) :]
    return function


RULES: Final = (SKIP, STALL_SKIP, WAITS)
"""The rules of all families."""


@functools.lru_cache(maxsize=64)
def compiled(rules: Rules) -> Names:
    """Return the compiled rules."""
    return Names(rules)


@functools.lru_cache(maxsize=REMEMBERED)
def _reason(function: str, rules: Rules, anchored: bool = False) -> str:  # noqa: FBT001, FBT002 - a key of the cache
    """Return why a function is skipped by these rules; empty if it is not."""
    return compiled(rules).reason(function, anchored=anchored)


@functools.lru_cache(maxsize=REMEMBERED)
def _skipped(function: str, anchored: bool = False) -> str:  # noqa: FBT001, FBT002 - a key of the cache
    """Return why a function is skipped by the rules of all families, which are slow to hash as a key."""
    return compiled(SKIP).reason(function, anchored=anchored)


def passed_over(function: str) -> str:
    """Return why a function is skipped; empty if it may be the suspect function."""
    name = base(function)
    return _skipped(name) or helpers.reason(name)


class Walker:
    """Searches the facts of a report for the suspect function."""

    def __init__(self, items: Body, extra: Rules = ()) -> None:
        """Start a walk over the facts after a header; ``extra`` are the family's own rules."""
        self.items = items
        self.extra = extra
        self.skipped: list[tuple[str, str]] = []
        self.modules: dict[str, str] = {}
        """Functions of modules, each with its module; their names may resemble the kernel's helpers."""
        self.resort = ""
        """The first skipped function; it is the suspect function if no other frame is left."""

    def find(self, walk: Walk, named: str, more: Iterable[str] = ()) -> Blame:
        """Walk as a form requires; ``named`` and ``more`` are functions that the report names."""
        if walk == "none":
            return Blame(rule="the report names no function")
        if walk == "only-named":
            return Blame(bare(base(named)), "the report's first line names it")
        if walk in {"named", "chain"}:
            self._note_pointer()
            if first := self._first(name for name in (named, *more) if name):
                return self._blame(first, "the report names it")
        way = {
            "stall": self._stall,
            "hung": self._hung,
            "down": self._down,
            "deep": self._deep,
            "ip": self._pointed,
            "interrupted": self._interrupted,
            "chain": self._chain,
        }.get(walk, self._called)
        return way()

    def _chain(self) -> Blame:
        """Consider the first frames of any kind."""
        first = self._first(self._trace(self.items, bare_frames=True))
        return self._blame(first, "the first frame of the report that is no helper")

    def _called(self) -> Blame:
        """Consider the frames of the first call trace."""
        first = self._first(self._trace(self.items))
        return self._blame(first, "the first frame of the call trace that is no helper")

    def place(self) -> str:
        """Return the function of the first instruction pointer in the kernel, helper or not."""
        for item in self.items:
            if type(item.value) is Pointer and (symbol := self._point(item.value)):
                return bare(base(symbol))
        return ""

    def breaks_off(self) -> bool:
        """Tell whether the call trace ends inside the code that printed it, before the suspect function."""
        last = ""
        for last in self._trace(self.items, pointers=False):  # noqa: B007 - the last value is used
            pass
        return passed_over(last) in PRINTERS

    def _blame(self, function: str, rule: str) -> Blame:
        if not function and self.resort:
            function, rule = self.resort, "no other frame of the call trace is left"
        return Blame(
            bare(function), rule if function else "no frame of the call trace is left", tuple(self.skipped)
        )

    def _first(self, functions: Iterable[str]) -> str:
        """Return the first function that no rule skips."""
        for function in functions:
            name = base(function)
            reason = self._helper(function, name)
            if not reason:
                return name
            self._pass(name, reason)
        return ""

    def _pass(self, name: str, reason: str) -> None:
        """Remember a function that is skipped."""
        if len(self.skipped) < SKIPPED and (name, reason) not in self.skipped:
            self.skipped.append((name, reason))

    def _helper(self, function: str, name: str) -> str:
        """Return why a function is skipped; in a module, a rule must match from the start of the name."""
        anchored = function in self.modules
        if reason := (self.extra and _reason(name, self.extra, anchored)) or _skipped(name, anchored):
            return reason
        rule = helpers.rule(name)
        if rule is None:
            return ""
        if rule.last_resort:
            self.resort = self.resort or name
        return rule.reason

    def _trace(
        self, items: Iterable[Fact], *, bare_frames: bool = False, pointers: bool = True
    ) -> Iterator[str]:
        """Yield the reliable frames of the first trace with some, and the places of interrupts between them.

        Arm before 6.0 has no opening line of a trace, nor have a few reports (``bare_frames``). x86 before
        4.14 without frame pointers marks all frames as guesses; they are used if there are no others.
        """
        opened, any_ = bare_frames, False
        guesses: list[str] = []
        for item in items:
            value = item.value
            if type(value) is Opening:
                if any_ or guesses:
                    break
                opened = True
            elif type(value) is Pointer:
                if any_ and pointers and (symbol := self._point(value)):
                    yield symbol
                opened = opened or machines.find(value.machine).untitled
            elif type(value) is Trace and (opened or value.linked or not item.place):
                for symbol in self._reliable(value):
                    any_ = True
                    yield symbol
                if not any_:
                    guesses += self._guessed(value)
        if not any_:
            yield from guesses

    def _reliable(self, trace: Trace) -> Iterator[str]:
        """Yield the symbols of the reliable frames."""
        for frame in trace.frames:
            if frame.symbol and frame.reliable and not frame.inline:
                if frame.module:
                    self.modules[frame.symbol] = frame.module
                if frame.offset == 0 and frame.size:
                    name = base(frame.symbol)
                    reason = self._helper(frame.symbol, name)
                    if not reason:
                        self.resort = self.resort or name
                    self._pass(name, reason or BEHIND)
                    continue
                yield frame.symbol

    def _guessed(self, trace: Trace) -> Iterator[str]:
        """Yield the symbols of the frames of a kernel that only guesses."""
        for frame in trace.guesses:
            if frame.symbol:
                if frame.module:
                    self.modules[frame.symbol] = frame.module
                yield frame.symbol

    def _point(self, pointer: Pointer) -> str:
        """Return the instruction pointer in the kernel."""
        if pointer.user:
            return ""
        if pointer.ip.module:
            self.modules[pointer.ip.symbol] = pointer.ip.module
        return pointer.ip.symbol

    def _note_pointer(self) -> None:
        """Record the module of the first instruction pointer, which a header with its function omits."""
        for item in self.items:
            if type(item.value) is Pointer:
                self._point(item.value)
                return
            if type(item.value) is Opening:
                return

    def _pointed(self) -> Blame:
        """Consider the instruction pointer, then the frames after it."""
        rest: Iterable[Fact] = self.items
        for number, item in enumerate(self.items):
            value = item.value
            if type(value) is Pointer and not value.user and not self._named_later(value, number):
                symbol = self._point(value)
                if symbol and (first := self._first([symbol])):
                    return self._blame(first, "the instruction pointer is in it")
                if self._called_none(value) and (first := self._first(self._returns(value))):
                    return self._blame(first, f"it called {base(symbol)}, says the return address register")
                if not value.ip.symbol and (first := self._first(self._jumpers(value))):
                    return self._blame(first, "it jumped to where no code is, as the link register says")
                rest = self.items.after(number - 1)
                break
        if first := self._first(self._guesses()):
            return self._blame(first, "the unwinder's first guess: the jump left it no place to start from")
        for items in (rest, self.items):
            if first := self._first(self._trace(items)):
                return self._blame(first, "the first frame of the call trace that is no helper")
        return self._blame("", "")

    def _named_later(self, pointer: Pointer, number: int) -> bool:
        """Tell whether a later line names the function of a pointer that is only an address."""
        later = (item.value for item in self.items.after(number))
        return not pointer.ip.symbol and any(type(one) is Pointer and one.names(pointer) for one in later)

    def _called_none(self, pointer: Pointer) -> bool:
        """Tell whether the function has made no call yet, so that the link register points into its caller.

        Calls of a sanitizer's checks do not count: the compiler inserts them.
        """
        symbol = base(pointer.ip.symbol)
        if not symbol or helpers.leaf(symbol):
            return bool(symbol)
        return base(pointer.caller) != symbol and (symbol, reasons.SANITIZER) not in self.skipped

    def _returns(self, pointer: Pointer) -> Iterator[str]:
        """Yield the caller of a leaf function at a pointer, which the trace may omit."""
        if pointer.caller:
            yield pointer.caller

    def _jumpers(self, pointer: Pointer) -> Iterator[str]:
        """Yield the function that jumped to a pointer."""
        yield from self._returns(pointer)
        yield from (item.value.caller for item in self.items if type(item.value) is Jump)

    def _interrupted(self) -> Blame:
        """Consider the code that an NMI interrupted."""
        for item in self.items:
            value = item.value
            if type(value) is Pointer and not value.user and value.ip.symbol:
                name = base(value.ip.symbol)
                if IDLE.search(name):
                    return Blame(rule=f"the CPU was idle, in {name}")
                return Blame(name, "the CPU was in it when it was interrupted")
        return Blame(rule="the CPU was in user mode, or it is not said where it was")

    def _guesses(self) -> Iterator[str]:
        """Yield a module's guessed frames above the others, the best after a jump out of the code."""
        pointers = [item.value for item in self.items if type(item.value) is Pointer and not item.value.user]
        if not pointers or pointers[0].ip.symbol:
            return
        for item in self.items:
            if type(item.value) is Trace:
                for frame in item.value.frames:
                    if frame.reliable and frame.symbol:
                        return
                    if frame.module:
                        self.modules[frame.symbol] = frame.module
                        yield frame.symbol

    def _stacks(self) -> Iterator[tuple[list[str], bool]]:
        """Yield the functions of each trace, instruction pointers first, and whether it has such pointers."""
        functions: list[str] = []
        guesses: list[str] = []
        pointers: list[str] = []  # so far without frames after them
        opened = pointed = framed = False
        for item in self.items:
            value = item.value
            if type(value) is Opening:
                if opened and (functions or guesses):
                    yield functions if framed else functions + guesses, pointed
                    functions, guesses, pointed, framed = [], [], False, False
                opened = True
            elif type(value) is Pointer:
                if symbol := self._point(value):
                    pointers.append(symbol)
            elif type(value) is Trace and (opened or value.linked):
                functions += pointers
                pointed = pointed or bool(pointers)
                pointers = []
                before = len(functions)
                functions += self._reliable(value)
                framed = framed or len(functions) > before
                if not framed:
                    guesses += self._guessed(value)
        if functions or pointers or guesses:
            rest = pointers if framed else pointers + guesses
            yield functions + rest, pointed or bool(pointers)

    def _stall(self) -> Blame:
        """Go down to the function that dispatched the work; the frame above it looped.

        A timer interrupt or an NMI detects a stall: only the interrupted code is considered.
        """
        for functions, _ in self._stacks():
            below = _below(functions)
            if below and (blame := self._anchored(below)):
                return blame
        for functions, pointed in self._stacks():
            if pointed and (blame := self._anchored(functions)):
                return blame
        return Blame("", "no frame above a dispatcher of work is left", tuple(self.skipped))

    def _anchored(self, functions: Sequence[str]) -> Blame | None:
        """Return the frame above the first dispatcher of work, if there is one."""
        previous = taker = ""
        spins = next((name for name in map(base, functions[:1]) if passed_over(name) == reasons.LOCKS), "")
        recursive = _recursive(functions)
        if recursive and (runaway := _runaway(functions, recursive)):
            return Blame(bare(runaway), "it calls itself without an end", tuple(self.skipped))
        for function in functions:
            name = base(function)
            if name in recursive:
                self._pass(name, RECURSES)
                previous = ""
                continue
            if function in self.modules:
                return Blame(
                    name, f"the first frame of a module, {self.modules[function]}", tuple(self.skipped)
                )
            if group := _grouped(name):
                return Blame(*group, tuple(self.skipped))
            anchor = _dispatches(name)
            reason = _reason(name, STALL_SKIP) or ("" if anchor and previous else passed_over(name))
            if reason:
                self._pass(name, reason)
                continue
            previous = previous or name
            taker = taker or name
            if anchor:
                if spins and taker != previous and STARTS.search(name):
                    return self._blame(taker, f"it takes the lock that the CPU waits for in {spins}")
                rule = f"the frame above {name}, which dispatches work"
                if previous == name:
                    rule = "the CPU was in it, and no frame above it is left"
                return Blame(bare(previous), rule, tuple(self.skipped))
            previous = name
        return None

    def _down(self) -> Blame:
        """Proceed as for a stall, with the stack in the report itself.

        If the watchdog panics at once, that is its own stack, and the interrupted code is below.
        """
        for stack, _ in self._stacks():
            functions = (PANIC in map(base, stack[:WATCHDOG]) and _below(stack)) or stack
            if blame := self._anchored(functions):
                return blame
        return Blame("", "no frame above a dispatcher of work is left", tuple(self.skipped))

    def _deep(self) -> Blame:
        """Proceed as for a lockup, on an overflowed stack: its top frame if nothing dispatched the work."""
        blame = self._down()
        return blame if blame.function else self._pointed()

    def _hung(self) -> Blame:
        """Skip functions that block, except for a few that are the suspect function themselves."""
        functions = list(self._trace(self.items))
        for name in map(base, functions):
            for pattern, answer, why in BLOCKERS:
                if pattern.search(name):
                    return Blame(answer, why, tuple(self.skipped))
        for function in functions:
            name = base(function)
            anchored = function in self.modules
            reason = _reason(name, WAITS, anchored) or self._helper(function, name)
            if not reason:
                return self._blame(name, "the first frame of the task that does not just wait")
            self._pass(name, reason)
        return self._blame("", "")


@functools.lru_cache(maxsize=REMEMBERED)
def _dispatches(name: str) -> bool:
    """Tell whether a function dispatches work."""
    return ANCHORS.search(name) is not None


def _recursive(functions: Sequence[str]) -> set[str]:
    """Return the functions of an endless recursion; the first caller started it."""
    counts = Counter(base(function) for function in functions)
    return {name for name, count in counts.items() if count >= RUNAWAY}


def _runaway(functions: Sequence[str], recursive: set[str]) -> str:
    """Return the recursive function if a dispatcher of work called it, otherwise its caller.

    Instruction pointers are listed before or after the frames.
    """
    names = [base(function) for function in functions]
    for number, name in enumerate(names, start=1):
        if name in recursive:
            callers = names[number : number + 2]
            if callers[:1] != [name] and any(map(_dispatches, callers)):
                return name
    return ""


def _below(functions: Sequence[str]) -> list[str]:
    """Return the functions below the first entry of an interrupt."""
    inside = False
    for number, function in enumerate(functions):
        entry = ENTRIES.search(function) is not None
        if inside and not entry:
            return list(functions[number:])
        inside = inside or entry
    return []


@functools.lru_cache(maxsize=REMEMBERED)
def _grouped(function: str) -> tuple[str, str] | None:
    """Return the name of a function's group, and the reason for that name; None without a group."""
    return next(((name, why) for prefix, name, why in GROUPS if function.startswith(prefix)), None)
