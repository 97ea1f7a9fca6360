"""One incident's lines become one :class:`CrashReport`.

The header names the family and the form, the body grammar reads the rest, the walk names the guilty function.
What makes a report ``corrupted`` is decided here: text that cannot be trusted is never given a confident
name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from grammars import body, signature
from grammars.blame import Walker
from grammars.cause import evidence, settle, triggered
from grammars.facts import architecture
from grammars.header import Code, Modules, Owner
from grammars.machines import UNTITLED, Pointer, Registers
from grammars.model import Blame, CrashReport, Hardware, Kernel, Oops, Process
from grammars.text import ReportText
from grammars.title import plain, stamped
from grammars.trace import Opening, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grammars.body import Body
    from grammars.facts import Boot
    from grammars.family import Family
    from grammars.model import Frame, Line, Status
    from grammars.registry import Reading, Registry

NEAR: Final = 15
"""Lines behind ``Call Trace:`` within which a frame must come."""
HEADER: Final = 8192
"""Characters behind a header that its grammar may look at."""
SYSRQ: Final = "sysrq_handle_crash"
"""drivers/tty/sysrq.c: nothing else crashes the kernel on purpose from there."""
CONSEQUENCES: Final = 16
"""Later reports of an incident whose titles are worked out."""

_INJECTED = re.compile(
    r"^ *(?:\[<?(?:0x)?[0-9a-f]+>?\])? *should_fail(?:slab)?(?:\.[a-z]+(?:\.[0-9]+)?)?\+0x", re.MULTILINE
)

_FOREIGN = re.compile(r"FAULT_INJECTION: forcing a failure|allocation failure: ")
_CRASH_HEADS: Final = frozenset({"fault", "trap", "lockdep"})
"""Families whose header is directly followed by its own report."""
_CONTINUE: Final = _CRASH_HEADS | {"panic", "generic", "headless"}
"""Families whose header may stand inside such a report."""


class Head(NamedTuple):
    """A line on which a report may start."""

    index: int
    """Of the line in the incident."""
    hits: tuple[tuple[Family, int], ...]
    """Families whose literal it holds, best first, and where."""


@dataclass(slots=True)
class Verdict:
    """What a header and its body amount to."""

    title: str
    status: Status
    why: str
    reading: Reading | None
    family: Family
    blame: Blame


def own(lines: Sequence[Line], head: int) -> list[int]:
    """Return the lines from ``head`` on that belong to the same report: its task's or CPU's own.

    Without CONFIG_PRINTK_CALLER these are all. With it, other tasks' lines are left out; but once a CPU has sent an
    NMI to the others, their backtraces belong to the report.
    """
    first = lines[head]
    caller, timed = first.caller, first.time is not None
    if not caller:
        return [
            index
            for index in range(head, len(lines))
            if not timed or lines[index].time is not None or index == head
        ]
    cpus = False
    chosen = []
    for index in range(head, len(lines)):
        line = lines[index]
        if line.caller == caller:
            chosen.append(index)
            cpus = cpus or line.text.startswith("Sending NMI")
        elif cpus and line.caller.startswith("C"):
            chosen.append(index)
    return chosen


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
    title = form.title.format_map(
        {**fields, "what": fields.get("what", ""), "function": blame.function or "corrupted"}
    )
    title = plain(title)
    why = form.corrupted
    if not why and named and not blame.function:
        why = "no function is left to name"
    if not why and not form.traceless and not brief:
        why = _broken(text, items)
    if not why and stamped(form.title.format_map({**fields, "what": fields.get("what", ""), "function": ""})):
        why = "another line's time stamp is in the title"
    status: Status = "corrupted" if why else "partial" if form.cause == "unknown" else "complete"
    return Verdict(title, status, why, reading, family, blame)


def _broken(text: ReportText, items: Body) -> str:
    """Say why a report's traces cannot be trusted; empty where they can."""
    openings = list(islice((item.location for item in items if type(item.value) is Opening), 2))
    if _INJECTED.search(text.text, 0, openings[1] if len(openings) > 1 else len(text.text)):
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
        if kind in seen:
            continue
        seen.add(kind)
        line = text.index(item.location)
        for later in items.after(number):
            if type(later.value) is Opening or text.index(later.location) > line + NEAR:
                break
            if type(later.value) is Trace and later.value:
                break
        else:
            later = item
        if (
            type(later.value) is not Trace
            and "(stack is not available)" not in text.text[item.location : item.location + 400]
        ):
            return f"{value.label} has no frames"
    return "" if any_frames or _jumped(items) else "there is no call trace"


def _jumped(items: Body) -> bool:
    """Tell whether a report is of a jump to nowhere, behind which the machine prints no trace."""
    pointers = (item.value for item in items if type(item.value) is Pointer and not item.value.user)
    first = next(pointers, None)
    return first is not None and first.machine in UNTITLED and not first.ip.symbol and bool(first.caller)


def read(
    registry: Registry, boot: Boot, lines: Sequence[Line], heads: Sequence[Head], *, truncated: bool
) -> CrashReport | None:
    """Read one incident: its first report is the cause, the others follow from it."""
    verdict = None
    first = 0
    for first, head in enumerate(heads):
        chosen = own(lines, head.index)
        text = ReportText([lines[index] for index in chosen])
        items = body.read(text.text)
        verdict = understand(registry, head, text, items)
        if verdict is not None:
            break
    if verdict is None:
        return None
    if verdict.status != "corrupted" and _mixed(verdict, lines, heads[first:], text, items):
        verdict.status, verdict.why = "corrupted", "another report begins inside it"
    return _report(registry, boot, lines, heads[first:], text, items, verdict, truncated=truncated)


def _mixed(
    verdict: Verdict, lines: Sequence[Line], heads: Sequence[Head], text: ReportText, items: Body
) -> bool:
    """Tell whether another CPU's report begins between a header and its trace, with nothing to tell them apart by."""
    if text.lines[0].caller or verdict.family.name not in _CRASH_HEADS:
        return False
    traced = next((text.index(item.location) for item in items if type(item.value) is Trace), 0)
    before = {id(line) for line in text.lines[:traced]}
    return any(
        id(lines[head.index]) in before
        and (
            head.hits[0][0].name not in _CONTINUE
            or (verdict.family.name == "lockdep" and head.hits[0][0].name == "fault")
        )
        for head in heads[1:]
    )


def _consequences(
    registry: Registry, title: str, lines: Sequence[Line], heads: Sequence[Head]
) -> tuple[str, ...]:
    """Name the reports that followed."""
    titles: list[str] = [title]
    previous = heads[0].index
    for head in heads[1 : 4 * CONSEQUENCES]:
        if head.index - previous <= 4 or all(family.last for family, _ in head.hits):  # noqa: PLR2004 - the lines of one header
            previous = head.index
            continue
        previous = head.index
        text = ReportText([lines[index] for index in own(lines[: head.index + 200], head.index)])
        verdict = understand(registry, head, text, body.read(text.text), brief=True)
        if verdict is not None and verdict.title not in titles:
            titles.append(verdict.title)
            if len(titles) > CONSEQUENCES:
                break
    return tuple(titles[1:])


def _report(
    registry: Registry,
    boot: Boot,
    lines: Sequence[Line],
    heads: Sequence[Head],
    text: ReportText,
    items: Body,
    verdict: Verdict,
    *,
    truncated: bool,
) -> CrashReport:
    """Put together what is known."""
    process, taint, release, build = Process(), None, "", ""
    hardware: Hardware | None = None
    pointer: Pointer | None = None
    oops: Oops | None = None
    code = ""
    modules: tuple[str, ...] = ()
    registers: list[tuple[str, str]] = []
    trace: tuple[Frame, ...] = ()
    machine = ""
    opened = traced = False
    for item in items:
        value = item.value
        kind = type(value)
        if kind is Trace:
            if opened and not traced:
                trace += value.frames
        elif kind is Opening:
            traced = traced or bool(trace)
            if traced:
                break
            opened = True
        elif kind is Registers:
            if not traced and len(registers) < 64:  # noqa: PLR2004 - more than any machine has
                registers += value.values
        elif kind is Pointer:
            machine = machine or value.machine
            opened = opened or value.machine in UNTITLED
            if pointer is None and not value.user:
                pointer = value
        elif kind is Owner:
            if process.pid is None:
                process, taint, release, build = value.process, value.taint, value.release, value.build
        elif kind is Hardware:
            hardware = hardware or value
        elif kind is Modules:
            modules = modules or value.names
        elif kind is Code:
            code = code or value.raw
        elif kind is Oops:
            oops = oops or value
    form = verdict.reading.form if verdict.reading else None
    fields = verdict.reading.fields if verdict.reading else {}
    cause = "unknown" if form is None else form.cause if isinstance(form.cause, str) else form.cause(fields)
    fatal = (form is not None and form.fatal) or any(
        "Kernel panic - not syncing" in lines[head.index].text for head in heads
    )
    kernel = boot.kernel
    if release and not kernel.release:
        kernel = Kernel(release, build, "", architecture(release), kernel.command_line, kernel.boot_image)
    if machine and not kernel.architecture:
        kernel = replace(kernel, architecture=machine)
    head_line = lines[heads[0].index]
    signed = (
        signature.sign(verdict.title, cause, verdict.blame.function, trace)
        if verdict.status != "corrupted"
        else None
    )
    detail = form.detail.format_map(fields) if form and form.detail else ""
    cause, detail, address, oops = settle(
        cause,
        detail,
        fields,
        text.text,
        oops=oops,
        machine=kernel.architecture,
        at=pointer.ip.address if pointer else None,
    )
    trigger = triggered(boot, head_line)
    if verdict.blame.function == SYSRQ or (trigger is not None and "rigger a crash" in trigger.text):
        cause = "sysrq"
    return CrashReport(
        title=verdict.title,
        kind=form.kind if form and verdict.status != "partial" else "unknown",
        cause=cause,
        fatal=fatal,
        status=verdict.status,
        reason=head_line.text,
        cause_detail=detail,
        blame=verdict.blame,
        signature=signed,
        ip=pointer.ip if pointer else None,
        call_trace=trace,
        fault_address=address,
        oops=oops,
        process=process,
        taint=taint,
        modules=modules,
        hardware=hardware or boot.hardware,
        kernel=kernel,
        registers=tuple(registers),
        code=code,
        time=head_line.time,
        boot_epoch=boot.epoch,
        epoch=head_line.epoch,
        host=head_line.host,
        hostname=boot.hostname,
        consequences=_consequences(registry, verdict.title, lines, heads),
        preceded_by=tuple(boot.preceded_by),
        hardware_errors=tuple(boot.hardware_errors),
        lost=sum(line.lost for line in text.lines),
        truncated=truncated,
        lines=tuple(lines),
        evidence=tuple(evidence(boot, trigger)),
    )
