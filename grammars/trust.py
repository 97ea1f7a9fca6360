"""Decides whether the text of a report can be trusted; otherwise it gets no confident name."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from kpanic.grammars import machines
from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.grammars.blocks.pointer import Pointer
    from kpanic.grammars.body import Body
    from kpanic.grammars.fact import Fact
    from kpanic.grammars.family import Family
    from kpanic.grammars.incident import Head
    from kpanic.grammars.model import Line
    from kpanic.grammars.report_lines import ReportText

__all__ = ["NO_TRACE", "broken", "mentioned", "mixed", "symbolless"]

NO_TRACE: Final = "there is no call trace"
NEAR: Final = 15
"""Maximum lines between ``Call Trace:`` and the first frame."""
RAW: Final = 3
"""Minimum frames of a trace without symbols."""
SOON: Final = 16
"""Maximum lines between a header and other lines of its report."""
_INJECTED: Final = regex(r"should_fail(?:slab)?(?:\.[a-z]+(?:\.[0-9]+)?)?")
"""Functions that dump a stack before they let an allocation fail (lib/fault-inject.c)."""
_PLACES: Final = regex(r"Kernel relocated by | *\.(?:text|data|bss) +@ ")
"""Lines of mips between a panic and its end (arch/mips/kernel/relocate.c)."""
_SAID: Final = regex(r"[a-z]{2}|[^\w\s]")
"""A lower-case word or a punctuation mark, which ``CPU 1`` lacks."""
_TITLES: Final = ("Subject:", "reason:")
"""Words before a title in mails and in ABRT's lists."""
_COLON: Final = (":", "]", ">", ")")
"""Ends of prefixes of the kernel or a console before a header."""
_ANNOUNCE: Final = frozenset({"cfi", "list", "usercopy", "fortify", "rust", "net", "slab", "page", "stack"})
"""Families whose header precedes another header of the same report."""
_CONTINUE: Final = _ANNOUNCE | {"fault", "trap", "lockdep", "panic", "generic", "headless"}
"""Families whose header may be inside a report."""


def broken(report: ReportText, facts: Body) -> str:
    """Return why a report's traces cannot be trusted; empty if they can."""
    if any(map(_INJECTED.fullmatch, _first_frames(facts, "should_fail"))):
        return "the stack of an injected failure is mixed into it"
    if not report.lines[0].caller and _dumps(facts):
        return "another task's dump begins inside it"
    seen: set[str] = set()
    any_frames = False
    for number, fact in enumerate(facts):
        if fact.kind == "frames":
            any_frames = any_frames or bool(fact.value)
            continue
        if fact.kind != "opening":
            continue
        label = fact.value.label
        kind = label.rstrip(": 0123456789")
        if kind in seen or _repeated(facts, number):
            continue
        seen.add(kind)
        if not _framed(facts, number, fact):
            return f"{label} has no frames"
    return "" if any_frames or _jumped(facts) or _terse(report, facts) else NO_TRACE


def symbolless(facts: Body) -> bool:
    """Tell whether the kernel has no symbols, like small ones: its trace has only addresses."""
    frames = [frame for fact in facts if fact.kind == "frames" for frame in fact.value.frames]
    return len(frames) >= RAW and all(frame.address and not frame.symbol for frame in frames)


def mixed(
    family: Family, lines: Sequence[Line], heads: Sequence[Head], report: ReportText, facts: Body
) -> bool:
    """Tell whether a report of another CPU begins between a header and its trace, without a distinction."""
    if report.lines[0].caller or family.name in _ANNOUNCE:
        return False
    traced = next((fact.place for fact in facts if fact.kind == "frames"), 0)
    before = {line.number for line in report.lines[:traced]}
    last = heads[0].place
    for head in heads[1:]:
        name = head.hits[0][0].name
        if name == family.name and (head.place == last + 1 or name == "bug"):
            last = head.place  # a header for each inlined function; riscv prints a BUG twice
        elif lines[head.place].number in before and (
            name not in _CONTINUE or (family.name == "lockdep" and name == "fault")
        ):
            return True
    return False


def mentioned(head: Head, report: ReportText, facts: Body, later: Sequence[Head]) -> bool:
    """Tell whether a sentence only mentions a header: it has no transport's prefix, and no report follows."""
    line = report.lines[0]
    before = line.text[: min(at for _, at in head.hits)].rstrip()
    if (
        not before
        or (before.endswith(_COLON) and not before.startswith(_TITLES))
        or not _SAID.search(before)
        or line.time is not None
        or line.host
        or line.epoch is not None
    ):
        return False
    end = min((SOON, *(one.place - head.place for one in later if one.place > head.place)))
    first = next(iter(facts), None)
    return first is None or first.place >= end


def _first_frames(facts: Body, beginning: str) -> Iterator[str]:
    """Yield the reliable functions of the first trace with such a beginning, with their suffixes."""
    opened = False
    for fact in facts:
        if fact.kind == "opening":
            if opened:
                return
            opened = True
        elif fact.kind == "frames" and fact.value.mentions(beginning):
            yield from [frame.symbol for frame in fact.value.frames if frame.reliable]


def _dumps(facts: Body) -> bool:
    """Tell whether a stack dump that is not a report begins between a header and the first trace."""
    for fact in facts:
        if fact.kind == "opening":
            return False
        if fact.kind == "other dump" and fact.place:
            return next((True for later in facts if later.kind == "opening"), False)
    return False


def _repeated(facts: Body, number: int) -> bool:
    """Tell whether the next line opens the same trace again, since a second console printed it too."""
    this, *later = islice(facts.after(number - 1), 2)
    if not later or later[0].value != this.value:
        return False
    return later[0].place == this.place + 1 and this.lines[0].time == later[0].lines[0].time


def _framed(facts: Body, number: int, opening: Fact) -> bool:
    """Tell whether frames follow the opening line of a trace, or the line says why not."""
    for fact in facts.after(number):
        if fact.kind == "opening" or fact.place > opening.place + NEAR:
            break
        if fact.kind == "no stack":
            return True
        if fact.kind == "frames" and (
            fact.value.sound or (fact.value and _nowhere(_pointer(islice(facts, number))))
        ):
            return True
    return False


def _pointer(facts: Iterable[Fact]) -> Pointer | None:
    """Return the first instruction pointer in the kernel."""
    return next((fact.value for fact in facts if fact.kind == "pointer" and not fact.value.user), None)


def _nowhere(pointer: Pointer | None) -> bool:
    """Tell whether the CPU was outside of code, from where the unwinder can only guess."""
    return pointer is not None and not pointer.ip.symbol


def _terse(report: ReportText, facts: Body) -> bool:
    """Tell whether a panic ends at once: without DEBUG_BUGVERBOSE it prints no trace (kernel/panic.c)."""
    end = next((fact.place for fact in facts if fact.kind == "end"), 0)
    panic = max((place for place in range(end) if "Kernel panic" in report.lines[place].text), default=-1)
    if panic < 0 or (panic and "panic_on_warn" not in report.lines[panic].text):
        return False
    return all(_PLACES.match(line.text) for line in report.lines[panic + 1 : end])


def _jumped(facts: Body) -> bool:
    """Tell whether a report is of a jump out of code, after which the machine prints no trace."""
    pointer = _pointer(facts)
    if pointer is None or not machines.find(pointer.machine).untitled:
        return False
    return _nowhere(pointer) and bool(pointer.caller)
