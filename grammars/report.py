"""One incident's lines become one :class:`CrashReport`.

The header names the family and the form (:mod:`kpanic.grammars.verdict`), the body grammar reads the rest
(:mod:`kpanic.grammars.gather`); here both are put together with what the boot said before.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from kpanic.grammars import body, signature
from kpanic.grammars.boot import architecture
from kpanic.grammars.cause import evidence, settle, triggered
from kpanic.grammars.data.distributions import distribution
from kpanic.grammars.gather import Gathered, gather
from kpanic.grammars.model import CrashReport, Kernel, Process
from kpanic.grammars.numbers import decimal
from kpanic.grammars.report_lines import ReportText, rejoined, report_text
from kpanic.grammars.title import plain
from kpanic.grammars.verdict import Verdict, mixed, understand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpanic.grammars.body import Body
    from kpanic.grammars.boot import Boot
    from kpanic.grammars.incident import Head, Incident
    from kpanic.grammars.model import Line
    from kpanic.grammars.registry import Registry

__all__ = ["CONSEQUENCES", "read"]

_LOST: Final = attrgetter("lost")
SYSRQ: Final = "sysrq_handle_crash"
"""drivers/tty/sysrq.c: nothing else crashes the kernel on purpose from there."""
CONSEQUENCES: Final = 16
"""Later reports of an incident whose titles are worked out."""

_SAID: Final = re.compile(r"[a-z]{2}|[^\w\s]")
"""A word or a mark: ``CPU 1`` has neither."""
_TITLES: Final = ("Subject:", "reason:")
"""What heads a mail, and ABRT's list."""
_COLON: Final = (":", "]", ">", ")")
"""What the words that a kernel or a console puts before a header end in."""
FAULT: Final = "the grammar has a fault"
"""How the doubt about a report begins at which it failed."""
LONGEST: Final = 400
"""Characters of it."""
LINES: Final = 200
"""Lines of a later report that are looked at."""
SOON: Final = 16
"""Lines behind a header within which more of its report comes."""
NEAR: Final = 4
"""Lines of one header: a literal so close to the one before is of the same report."""


def read(registry: Registry, boot: Boot, incident: Incident) -> CrashReport | None:
    """Read one incident: its first report is the cause, the others follow from it."""
    for number, head in enumerate(incident.heads):
        start, text = report_text(incident.lines, head)
        items = body.read(text)
        heads = incident.heads[number:]
        if _prose(start, text, items, heads[1:]):
            continue
        verdict = understand(registry, start, text, items)
        if verdict is None:
            continue
        if verdict.status == "corrupted" and (joined := rejoined(incident.lines, head)):
            start, whole = report_text(joined, head)
            again = body.read(whole)
            if (other := understand(registry, start, whole, again)) and other.status == "complete":
                text, items, verdict = whole, again, other
        if verdict.status != "corrupted" and mixed(verdict, incident.lines, heads, text, items):
            verdict.status, verdict.why = "corrupted", "another report begins inside it"
        kept = replace(incident, heads=heads)
        return _report(
            boot, kept, text, _gathered(items, verdict), verdict, _consequences(registry, verdict.title, kept)
        )
    return None


def fault_of(error: Exception) -> str:
    """Say that the grammar failed at a report."""
    return f"{FAULT} ({type(error).__name__}: {error}); please report it"[:LONGEST]


def unread(boot: Boot, incident: Incident, error: Exception, *, fatal: bool) -> CrashReport:
    """Return what there is of an incident at which the grammar failed: its lines, and its boot."""
    head = incident.lines[incident.heads[0].place]
    return CrashReport(
        title=plain(head.text) or "unknown",
        kind="unknown",
        cause="unknown",
        fatal=fatal,
        status="corrupted",
        doubt=fault_of(error),
        reason=head.text,
        hardware=boot.hardware,
        kernel=_kernel(boot, Gathered()),
        time=head.time,
        boot_epoch=boot.epoch,
        epoch=head.epoch,
        host=head.host,
        hostname=boot.hostname,
        preceded_by=tuple(boot.preceded_by),
        hardware_errors=tuple(boot.hardware_errors),
        truncated=incident.truncated,
        lines=tuple(incident.lines),
        evidence=tuple(boot.evidence),
    )


def _prose(head: Head, text: ReportText, items: Body, later: Sequence[Head]) -> bool:
    """Tell whether a sentence only mentions a header: no transport wrote it, nothing of a report follows."""
    line = text.lines[0]
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
    end = min(later[0].place - head.place if later else SOON, SOON)
    first = next(iter(items), None)
    return first is None or first.place >= end


def _gathered(items: Body, verdict: Verdict) -> Gathered:
    """Collect a report's facts; KFENCE and KCSAN close theirs with who was running."""
    return gather(items, owner_last=verdict.title.startswith(("KFENCE: ", "KCSAN: ")))


def _consequences(registry: Registry, title: str, incident: Incident) -> dict[str, Line]:
    """Name the reports that followed; with each the line on which it starts."""
    titles: dict[str, Line] = {title: incident.lines[incident.heads[0].place]}
    previous = incident.heads[0].place
    for head in incident.heads[1 : 4 * CONSEQUENCES]:
        near = head.place - previous <= NEAR
        previous = head.place
        if near or all(family.last for family, _ in head.hits):
            continue
        lines = incident.lines[: head.place + LINES]
        start, text = report_text(lines, head)
        verdict = understand(registry, start, text, body.read(text), brief=True)
        if verdict is not None and verdict.title not in titles:
            titles[verdict.title] = lines[head.place]
            if len(titles) > CONSEQUENCES:
                break
    del titles[title]
    return titles


def _process(fields: Mapping[str, str], found: Gathered) -> Process:
    """Return the task that the header names, or the one that was running."""
    if "pid" in fields:
        return Process(decimal(fields["pid"]), fields["comm"])
    return found.owner.process if found.owner else Process()


def _kernel(boot: Boot, found: Gathered) -> Kernel:
    """Return the boot's kernel, or what the report itself says of it."""
    kernel = boot.kernel
    if found.owner is not None and found.owner.release and not kernel.release:
        release = found.owner.release
        kernel = replace(kernel, release=release, build=found.owner.build, architecture=architecture(release))
    if found.machine and not kernel.architecture:
        kernel = replace(kernel, architecture=found.machine)
    known = distribution(kernel.release, kernel.banner or kernel.build)
    return kernel if known is None else replace(kernel, distribution=known)


def _report(  # noqa: PLR0913, PLR0917 - it all comes together here
    boot: Boot,
    incident: Incident,
    text: ReportText,
    found: Gathered,
    verdict: Verdict,
    consequences: dict[str, Line],
) -> CrashReport:
    """Put together what is known."""
    lines, heads = incident.lines, incident.heads
    form = verdict.reading.form if verdict.reading else None
    fields = verdict.reading.fields if verdict.reading else {}
    cause = "unknown" if form is None else form.cause if isinstance(form.cause, str) else form.cause(fields)
    fatal = (form is not None and form.fatal) or any(
        "Kernel panic - not syncing" in lines[head.place].text for head in heads
    )
    kernel = _kernel(boot, found)
    head_line = lines[heads[0].place]
    signed = None
    if verdict.status != "corrupted":
        signed = signature.sign(verdict.title, cause, verdict.blame.function, found.trace)
    cause, detail, address, oops = settle(
        cause,
        form.detail.format_map(defaultdict(str, fields)) if form and form.detail else "",
        fields,
        text.text,
        oops=found.oops,
        machine=kernel.architecture,
        at=found.pointer.ip.address if found.pointer else None,
    )
    trigger = triggered(boot, head_line)
    if verdict.blame.function == SYSRQ or (trigger is not None and "rigger a crash" in trigger.text):
        cause = "sysrq"
        fatal = True  # sysrq_handle_crash sets panic_on_oops or panics itself (drivers/tty/sysrq.c)
    return CrashReport(
        title=verdict.title,
        kind=form.kind if form and verdict.status != "partial" else "unknown",
        cause=cause,
        fatal=fatal,
        status=verdict.status,
        doubt=verdict.why,
        reason=head_line.text,
        cause_detail=detail,
        blame=verdict.blame,
        signature=signed,
        ip=found.pointer.ip if found.pointer else None,
        call_trace=found.trace,
        fault_address=address,
        oops=oops,
        process=_process(fields, found),
        taint=found.owner.taint if found.owner else None,
        modules=found.modules,
        hardware=found.hardware or boot.hardware,
        kernel=kernel,
        registers=tuple(found.registers),
        code=found.code,
        time=head_line.time,
        boot_epoch=boot.epoch,
        epoch=head_line.epoch,
        host=head_line.host,
        hostname=boot.hostname,
        consequences=tuple(consequences),
        followed_by=tuple(consequences.values()),
        preceded_by=tuple(boot.preceded_by),
        hardware_errors=tuple(boot.hardware_errors),
        lost=sum(map(_LOST, text.lines)),
        truncated=incident.truncated,
        lines=tuple(lines),
        evidence=tuple(evidence(boot, trigger)),
    )
