"""What a header and the text behind it amount to: the crash's name, and whether it can be trusted.

What makes a report ``corrupted`` is decided here: text that cannot be trusted is never given a confident
name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from kpanic.grammars.machines import UNTITLED, Pointer
from kpanic.grammars.model import Blame
from kpanic.grammars.suspect import Walker
from kpanic.grammars.title import plain, stamped
from kpanic.grammars.trace import Opening, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kpanic.grammars.body import Body
    from kpanic.grammars.fact import Fact
    from kpanic.grammars.family import Family
    from kpanic.grammars.incident import Head
    from kpanic.grammars.model import Line, Status
    from kpanic.grammars.registry import Reading, Registry
    from kpanic.grammars.report_lines import ReportText

NEAR: Final = 15
"""Lines behind ``Call Trace:`` within which a frame must come."""
RAW: Final = 3
"""Frames that are a trace though none has a symbol."""
UNAVAILABLE: Final = 400
"""Characters behind it within which it says that there is no stack."""
HEADER: Final = 8192
"""Characters behind a header that its grammar may look at."""
_INJECTED = re.compile(
    r"^ *(?:\[<?(?:0x)?[0-9a-f]+>?\])? *should_fail(?:slab)?(?:\.[a-z]+(?:\.[0-9]+)?)?\+0x", re.MULTILINE
)

_FOREIGN = re.compile(
    r"FAULT_INJECTION: forcing a failure|allocation failure: |FAULT_FLAG_ALLOW_RETRY missing"
)
"""What dumps a stack and is no report: lib/fault-inject.c, mm/vmalloc.c, mm/userfaultfd.c."""
_ANNOUNCE: Final = frozenset({"cfi", "list", "usercopy", "fortify", "rust", "net", "slab", "page", "stack"})
"""Families whose header goes before that of another, of the same report."""
_CONTINUE: Final = _ANNOUNCE | {"fault", "trap", "lockdep", "panic", "generic", "headless"}
"""Families whose header may stand inside a report."""


@dataclass(slots=True)
class Verdict:
    """What a header and its body amount to."""

    title: str
    status: Status
    why: str
    reading: Reading | None
    family: Family
    blame: Blame


def understand(
    registry: Registry, head: Head, text: ReportText, items: Body, *, brief: bool = False
) -> Verdict | None:
    """Name the crash whose header is the first line of ``text``; None where the line is no header.

    ``brief``: nobody wants to know more than its title.
    """
    first = text.lines[0].text
    end = len(text.text)
    for family, at in head.hits:
        if registry.ignores(family, first):
            continue
        reading = registry.read(family, text.text[at : min(at + HEADER, end)])
        if reading is not None:
            return _name(reading, family, text, items, at, brief=brief)
    known = [
        (family, at) for family, at in head.hits if not registry.ignores(family, first) and not family.last
    ]
    if not known:
        return None
    family, at = known[0]
    return Verdict(
        plain(first[at:]), "corrupted", "the header is in no form that is known", None, family, Blame()
    )


def _name(  # noqa: PLR0913 - all of it bears on the name
    reading: Reading, family: Family, text: ReportText, items: Body, at: int, *, brief: bool
) -> Verdict:
    form, fields = reading
    fields = dict(fields)
    prefix = text.lines[0].text[:at]
    fields.setdefault("prefix", "BUG" if "BUG: " in prefix else "WARNING")
    fields.setdefault("word", text.lines[0].text[at:].partition(":")[0])
    walker = Walker(items, form.skip)
    named = "{function}" in form.title
    if "second" in fields:
        fields["pair"] = " / ".join(sorted((fields["function"], fields["second"])))
    blame = walker.find(
        "none" if brief and not named else form.walk,
        fields.get("function", form.function),
        [fields["holding"]] if "holding" in fields else (),
    )
    words = defaultdict(str, fields)  # a form's words need not all be there
    wording = form.title
    why = form.corrupted
    if not why and named and not blame.function:
        if _symbolless(items):
            wording = wording.replace(" in {function}", "")
        else:
            why = "no function is left to name"
    title = plain(wording.format_map(words | {"function": blame.function or "corrupted"}))
    if not why and not form.traceless and not brief:
        why = _broken(text, items)
        if not why and form.walk == "named" and walker.breaks_off():
            why = "the call trace breaks off"
    if not why and stamped(form.title.format_map(words | {"function": ""})):
        why = "another line's time stamp is in the title"
    status: Status = "corrupted" if why else "partial" if form.cause == "unknown" else "complete"
    return Verdict(title, status, why, reading, family, blame)


def _symbolless(items: Body) -> bool:
    """Tell whether the kernel knows no symbols, as small ones do: then its trace is nothing but addresses."""
    frames = [frame for item in items if type(item.value) is Trace for frame in item.value.frames]
    return len(frames) >= RAW and all(frame.address and not frame.symbol for frame in frames)


def _broken(text: ReportText, items: Body) -> str:
    """Say why a report's traces cannot be trusted; empty where they can."""
    openings = list(islice((text.start(item.place) for item in items if type(item.value) is Opening), 2))
    if "should_fail" in text.text and _INJECTED.search(
        text.text, 0, openings[1] if len(openings) > 1 else len(text.text)
    ):
        return "the stack of an injected failure is mixed into it"
    if (
        openings
        and not text.lines[0].caller
        and _FOREIGN.search(text.text, len(text.lines[0].text), openings[0])
    ):
        return "another task's dump begins inside it"
    seen: set[str] = set()
    any_frames = False
    for number, item in enumerate(items):
        value = item.value
        if type(value) is Trace:
            any_frames = any_frames or bool(value)
            continue
        if type(value) is not Opening:
            continue
        kind = value.label.rstrip(": 0123456789")
        if kind in seen or _repeated(items, number):
            continue
        seen.add(kind)
        if not _framed(text, items, number, item.place):
            return f"{value.label} has no frames"
    return "" if any_frames or _jumped(items) else "there is no call trace"


def _repeated(items: Body, number: int) -> bool:
    """Tell whether the next line opens the same trace once more: a second console wrote it too."""
    this, *later = islice(items.after(number - 1), 2)
    if not later or later[0].value != this.value:
        return False
    return later[0].place == this.place + 1 and this.lines[0].time == later[0].lines[0].time


def _lost(items: Iterable[Fact]) -> bool:
    """Tell whether the CPU was where no code is: the unwinder can but guess from there."""
    pointers = (item.value for item in items if type(item.value) is Pointer and not item.value.user)
    first = next(pointers, None)
    return first is not None and not first.ip.symbol


def _framed(text: ReportText, items: Body, number: int, line: int) -> bool:
    """Tell whether the line that opens a trace has frames behind it, or says why not."""
    start = text.start(line)
    end = start + UNAVAILABLE
    for later in items.after(number):
        if type(later.value) is Opening:
            end = min(end, text.start(later.place))
        if type(later.value) is Opening or later.place > line + NEAR:
            break
        if type(later.value) is Trace and (
            later.value.sound or (later.value and _lost(islice(items, number)))
        ):
            return True
    return "(stack is not available)" in text.text[start:end]


def _jumped(items: Body) -> bool:
    """Tell whether a report is of a jump to nowhere, behind which the machine prints no trace."""
    pointers = (item.value for item in items if type(item.value) is Pointer and not item.value.user)
    first = next(pointers, None)
    return first is not None and first.machine in UNTITLED and not first.ip.symbol and bool(first.caller)


def mixed(
    verdict: Verdict, lines: Sequence[Line], heads: Sequence[Head], text: ReportText, items: Body
) -> bool:
    """Tell whether another CPU's report begins between a header and its trace, with nothing to tell by."""
    if text.lines[0].caller or verdict.family.name in _ANNOUNCE:
        return False
    traced = next((item.place for item in items if type(item.value) is Trace), 0)
    before = {line.number for line in text.lines[:traced]}
    last = heads[0].place
    for head in heads[1:]:
        name = head.hits[0][0].name
        if name == verdict.family.name and (head.place == last + 1 or name == "bug"):
            last = head.place  # a header for each inlined function; riscv says a BUG twice
        elif lines[head.place].number in before and (
            name not in _CONTINUE or (verdict.family.name == "lockdep" and name == "fault")
        ):
            return True
    return False
