"""Turns the lines of one incident into one :class:`CrashReport`.

The header gives the crash its name (:mod:`kpanic.grammars.naming`), the facts of the body say the rest
(:mod:`kpanic.grammars.gather`). This module puts both together with what the boot said before.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from itertools import islice, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.grammars import body, machines, signature
from kpanic.grammars.above import with_rest
from kpanic.grammars.blocks.hardware import read_hardware
from kpanic.grammars.blocks.owner import running
from kpanic.grammars.cause import settle, triggered
from kpanic.grammars.data.distributions import distribution
from kpanic.grammars.fact import Fact
from kpanic.grammars.families.headless import ended, remains
from kpanic.grammars.families.panic import LOST
from kpanic.grammars.gather import Gathered, gather
from kpanic.grammars.incident import Head
from kpanic.grammars.model import NO_HOST, CrashReport, Kernel, Process
from kpanic.grammars.naming import Named, name
from kpanic.grammars.numbers import decimal
from kpanic.grammars.report_lines import report_text
from kpanic.grammars.title import plain
from kpanic.grammars.trust import mentioned, mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kpanic.grammars.body import Body
    from kpanic.grammars.boot import Boot
    from kpanic.grammars.incident import Incident
    from kpanic.grammars.model import Hardware, Line
    from kpanic.grammars.registry import Registry
    from kpanic.grammars.report_lines import ReportText

__all__ = ["CONSEQUENCES", "fault_of", "read", "unread"]

_LOST: Final = attrgetter("lost")
_PLACE: Final = attrgetter("place")
SYSRQ: Final = "sysrq_handle_crash"
"""drivers/tty/sysrq.c: nothing else crashes the kernel on purpose from there."""
CONSEQUENCES: Final = 16
"""Maximum later reports of an incident whose titles are worked out."""
FAULT: Final = "the grammar has a fault"
"""Beginning of the doubt about a report at which the grammar failed."""
LONGEST: Final = 400
"""Maximum characters of such a doubt."""
LINES: Final = 200
"""Maximum lines of a later report that are read."""
NEAR: Final = 4
"""Maximum lines of one header: a literal within them is part of the same report."""
ALONE: Final = 2.0
"""Maximum seconds between the first and the last line of a report without a trace."""
DEADLY: Final = frozenset({"oops", "bug"})
"""Kinds of reports that ``Fatal exception`` follows from."""
CRASH: Final = frozenset({"oops", "error code", "pointer", "registers", "code", "opening", "frames"})
"""Kinds of facts that an oops prints itself."""
_WIDER: Final = (64, 32)
"""Bits of a machine, and the machine that a word names wrongly."""
OWNER_WITHIN: Final = 16
"""Lines of a report without a trace in which the running task is looked for."""
STOPPING: Final = ": stopping"
"""End of the first line of a CPU that a panic stops (arch/arm/kernel/smp.c, arch/arm64/kernel/smp.c)."""
_OWNER: Final = "CPU: "
_COMM: Final = " Comm: "
PANIC: Final = "panic"
"""The family of panic()'s own line."""


def read(registry: Registry, boot: Boot, incident: Incident) -> CrashReport | None:
    """Read one incident: its first report is the cause; the others are consequences."""
    for number, head in enumerate(incident.heads):
        heads = incident.heads[number:]
        start, text = report_text(_until_others(incident.lines, heads), head)
        facts = body.read(text)
        if mentioned(start, text, facts, heads[1:]):
            continue
        named = name(registry, start, text, facts)
        if named is None:
            continue
        if incident.above and (whole := with_rest(incident, number, named.family)):
            return read(registry, boot, whole)
        if named.doubt == LOST and (turned := _turned(registry, incident, number)):
            return read(registry, boot, turned)
        if named.family is ended:
            return read(registry, boot, behind) if (behind := _behind(incident, number)) else None
        if named.status != "corrupted" and mixed(named.family, incident.lines, heads, text, facts):
            named.status, named.doubt = "corrupted", "another report begins inside it"
        kept = replace(incident, heads=heads)
        return _report(registry, boot, kept, text, facts, named)
    return None


def _behind(incident: Incident, number: int) -> Incident | None:
    """Return the incident that begins at the head after ``number``; None without another head.

    :param number: index of the head.
    """
    heads = incident.heads[number + 1 :]
    if not heads:
        return None
    place = heads[0].place
    return replace(
        incident,
        lines=incident.lines[place:],
        heads=[Head(head.place - place, head.hits) for head in heads],
        above=(*incident.above, *incident.lines[:place]),
    )


def _until_others(lines: Sequence[Line], heads: Sequence[Head]) -> Sequence[Line]:
    """Return the lines before those of other CPUs; all lines if no other CPU printed any.

    The rest of a report ends with its panic. A panic's own report ends where it stops another CPU.
    """
    family = heads[0].hits[0][0]
    if family is remains:
        panics = (head.place for head in heads[1:] if head.hits[0][0].name == PANIC)
        # one that the text has before its report is turned behind it
        end = next((at for at in panics if at > heads[0].place), len(lines)) + 1
    elif family.name == PANIC:
        behind = heads[0].place + 1
        stops = (at for at, line in enumerate(lines[behind:], behind) if line.text.endswith(STOPPING))
        end = next(stops, len(lines))
    else:
        return lines
    return lines if end >= len(lines) else lines[:end]


def _turned(registry: Registry, incident: Incident, number: int) -> Incident | None:
    """Return an incident whose first report is the one that led to the panic, where the text has it last.

    People who type a screen off may begin with its last line.

    :param number: index of the panic's head.
    """
    for at in range(number + 1, min(len(incident.heads), number + 1 + CONSEQUENCES)):
        head = incident.heads[at]
        if incident.lines[head.place].time is not None:
            return None
        start, text = report_text(incident.lines, head)
        named = name(registry, start, text, body.read(text))
        if named is not None and named.reading is not None and named.reading.form.kind in DEADLY:
            panic = incident.heads[number]
            return replace(incident, heads=[head, panic, *incident.heads[at + 1 :]], above=())
    return None


def fault_of(error: Exception) -> str:
    """Say that the grammar failed at a report."""
    return f"{FAULT} ({type(error).__name__}: {error}); please report it"[:LONGEST]


def _named(host: str) -> str:
    """Return the host of a stamp; empty if the machine had no name yet."""
    return "" if host.lower() in NO_HOST else host


def unread(boot: Boot, incident: Incident, error: Exception, *, fatal: bool) -> CrashReport:
    """Return the lines and the boot of an incident at which the grammar failed."""
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
        host=_named(head.host),
        hostname=boot.hostname,
        facts=tuple(boot.facts),
        preceded_by=tuple(boot.preceded_by),
        hardware_errors=tuple(_between(boot.hardware_errors, 0, head.number)),
        truncated=incident.truncated,
        lines=tuple(incident.lines),
    )


def _said(incident: Incident, named: Named) -> Line:
    """Return the header; without a header, the line that identifies the rest of its report."""
    number = 1 if named.family is remains and len(incident.heads) > 1 else 0
    return incident.lines[incident.heads[number].place]


def _gathered(facts: Body, named: Named, incident: Incident) -> Gathered:
    """Collect a report's facts; KFENCE and KCSAN print the running task last.

    Lines that arrive seconds after a single-line report belong to another report. So does the instruction
    pointer of a kernel that crashed once more while it panicked.
    """
    own: Iterable[Fact] = facts
    head = incident.lines[incident.heads[0].place]
    last = named.title.startswith(("KFENCE: ", "KCSAN: "))
    panicked = named.reading is not None and named.reading.form.kind == "panic"
    if panicked and (again := _again(incident)):
        own = [fact for fact in facts if fact.kind not in CRASH or fact.lines[0].number < again.number]
        found = gather(own)
        found.machine = found.machine or gather(facts).machine
        return found
    if named.reading is not None and named.reading.form.traceless and (time := head.time) is not None:
        own = takewhile(lambda fact: (fact.lines[0].time or 0.0) <= time + ALONE, facts)
    found = gather(own, owner_last=last)
    if panicked and _until_others(incident.lines, incident.heads) is not incident.lines:
        _complete(found, gather(body.read(report_text(incident.lines, incident.heads[0])[1])))
    return found


def _complete(found: Gathered, whole: Gathered) -> None:
    """Take the kernel and the machine from the lines of CPUs that a panic stops."""
    found.machine = found.machine or whole.machine
    if found.owner is None and (owner := whole.first("owner")):
        found.owner = replace(owner.value, process=Process())
        found.facts.append(replace(owner, value=found.owner))
    if found.hardware is None and (hardware := whole.first("hardware")):
        found.hardware = hardware.value
        found.facts.append(hardware)


def _glued(text: ReportText, found: Gathered) -> Fact | None:
    """Return the running task where a console wrote other text before it on its line."""
    trace = (fact.place for fact in found.facts if fact.kind in {"opening", "frames"})
    for place, line in enumerate(text.lines[: next(trace, OWNER_WITHIN)]):
        at = line.text.find(_OWNER)
        if at > 0 and _COMM in line.text and (owner := running.read(f"{line.text[at:]}\n", 0)):
            return Fact(running.kind, owner[1], (line,), place)
    return None


def _again(incident: Incident) -> Line | None:
    """Return the next header of an incident that heads an oops; None without one."""
    return next((incident.lines[head.place] for head in incident.heads[1:] if _deadly(head)), None)


def _deadly(head: Head) -> bool:
    """Tell whether a header is that of an oops."""
    return any(form.kind in DEADLY for form in head.hits[0][0].forms)


def _followed_by(registry: Registry, title: str, incident: Incident) -> Iterable[Fact]:
    """Name the reports that followed."""
    seen = {title}
    previous = incident.heads[0].place
    panicked = any(family.name == PANIC for family, _ in incident.heads[0].hits)
    for head in incident.heads[1 : 4 * CONSEQUENCES]:
        near = 0 <= head.place - previous <= NEAR and not (panicked and _deadly(head))
        previous = max(previous, head.place)  # a panic may stand before its oops, see _turned
        if near or all(family.last for family, _ in head.hits):
            continue
        lines = incident.lines[: head.place + LINES]
        start, text = report_text(lines, head)
        named = name(registry, start, text, body.read(text), brief=True)
        if named is not None and named.title not in seen:
            seen.add(named.title)
            yield Fact("consequence", named.title, (lines[head.place],), head.place)


def _panic(registry: Registry, incident: Incident) -> Fact | None:
    """Return the panic and its reason, which may be on the next line; None without a panic."""
    for head in incident.heads:
        for number, (family, at) in enumerate(head.hits):
            if family.name != PANIC:
                continue
            line = incident.lines[head.place]
            if reason := line.text[at:].partition(":")[2].strip():
                return Fact("panic", reason, (line,), head.place)
            start, text = report_text(incident.lines[: head.place + LINES], head)
            at = start.hits[number][1]  # noqa: PLW2901 - an indent is gone
            reading = registry.read(family, text.text[at:])
            end = at + (reading.end if reading else 0)
            said = text.lines[: text.span(at, end)[1] + 1]
            return Fact("panic", text.text[at:end].partition(":")[2].strip(), tuple(said), head.place)
    return None


def _between(facts: Iterable[Fact], first: int, end: int) -> Iterable[Fact]:
    """Yield facts with those of their lines that have numbers from ``first`` to before ``end``, if any."""
    for fact in facts:
        lines = tuple(line for line in fact.lines if first <= line.number < end)
        if lines:
            yield replace(fact, lines=lines)


_GRACE_PERIOD: Final = frozenset({"rcu_sched", "rcu_bh", "rcu_preempt"})
"""RCU's own threads: a stall shows their stacks because they wait (kernel/rcu/tree_stall.h)."""


def _process(fields: Mapping[str, str], found: Gathered) -> Process:
    """Return the task that the header names, the one that was running, or the one whose stack is shown."""
    process = found.owner.process if found.owner else Process()
    if "pid" in fields and (process.pid is None or process.pid != decimal(fields["pid"])):
        return Process(decimal(fields["pid"]), fields["comm"])
    tasks = (fact for fact in found.facts if fact.kind == "task" and fact.value.name not in _GRACE_PERIOD)
    if process.pid is None and (dumped := next(tasks, None)):
        return Process(dumped.value.pid, dumped.value.name, process.cpu)
    did = found.first("lock") or found.first("access")
    if process.pid is None and did is not None and "task" in did.value:
        name, _, pid = did.value["task"].rpartition("/")
        return Process(decimal(pid), name, process.cpu)
    if not process.name and "comm" in fields:
        return Process(process.pid, fields["comm"], process.cpu, process.uid)
    return process


def _kernel(boot: Boot, found: Gathered) -> Kernel:
    """Return the boot's kernel, or what the report itself says of it."""
    kernel = boot.kernel
    if found.owner is not None and found.owner.release and not kernel.release:
        release = found.owner.release
        kernel = replace(
            kernel, release=release, build=found.owner.build, architecture=machines.named_in(release)
        )
    if _tells(found.machine, kernel.architecture):
        kernel = replace(kernel, architecture=found.machine)
    known = distribution(kernel.release, kernel.banner or kernel.build)
    return kernel if known is None else replace(kernel, distribution=known)


def _tells(machine: str, named: str) -> bool:
    """Tell whether the report's registers say the machine better than a word in the kernel's name.

    A board's build may have the same name for its 32-bit and its 64-bit processors.
    """
    return bool(machine) and (not named or (machines.find(machine).bits, machines.find(named).bits) == _WIDER)


def _hardware(boot: Boot, found: Gathered) -> Hardware | None:
    """Return the machine that the report names, or its boot; 2.6.32 names it behind the task."""
    if found.hardware is None and found.owner is not None and found.owner.hardware:
        return read_hardware(found.owner.hardware)
    return found.hardware or boot.hardware


def _report(  # noqa: PLR0913, PLR0917 - it all comes together here
    registry: Registry, boot: Boot, incident: Incident, text: ReportText, facts: Body, named: Named
) -> CrashReport:
    """Put the facts of the report and of its boot together."""
    head = incident.lines[incident.heads[0].place]
    found = _gathered(facts, named, incident)
    form = named.reading.form if named.reading else None
    traced = form is not None and not form.traceless
    if traced and found.owner is None and _COMM in text.text and (fact := _glued(text, found)):
        found.owner = fact.value
        insort(found.facts, fact, key=_PLACE)
    fields = named.reading.fields if named.reading else {}
    cause = "unknown" if form is None else form.cause if isinstance(form.cause, str) else form.cause(fields)
    panic = _panic(registry, incident)
    said = _said(incident, named)
    header = panic.lines if panic and panic.lines[0].number == said.number else (said,)
    end = incident.lines[-1].number + 1
    fatal = (form is not None and form.fatal) or panic is not None
    kernel = _kernel(boot, found)
    signed = None
    if named.status != "corrupted":
        signed = signature.sign(named.title, cause, named.blame.function, found.trace)
    elif named.place:
        signed = signature.sign(named.title, cause, "", ())
    settled = settle(
        cause,
        form.detail.format_map(defaultdict(str, fields)) if form and form.detail else "",
        fields,
        found,
        machine=kernel.architecture,
    )
    cause = settled.cause
    trigger = triggered(boot.trigger, head)
    if named.blame.function == SYSRQ or (trigger is not None and trigger.value["what"] == "SysRq"):
        cause = "sysrq"
        fatal = True  # sysrq_handle_crash sets panic_on_oops or panics itself (drivers/tty/sysrq.c)
    return CrashReport(
        title=named.title,
        kind=form.kind if form and named.status != "partial" else "unknown",
        cause=cause,
        fatal=fatal,
        status=named.status,
        doubt=named.doubt,
        reason=" ".join(line.text.strip() for line in header),
        cause_detail=settled.detail,
        blame=named.blame,
        signature=signed,
        ip=found.pointer.ip if found.pointer else None,
        call_trace=found.trace,
        fault_address=settled.address,
        oops=settled.oops,
        process=_process(fields, found),
        taint=found.owner.taint if found.owner and found.owner.taint and found.owner.taint.raw else None,
        modules=found.modules,
        hardware=_hardware(boot, found),
        kernel=kernel,
        registers=tuple(found.registers),
        code=found.code,
        time=head.time,
        boot_epoch=boot.epoch,
        epoch=head.epoch,
        clock=head.clock,
        host=_named(head.host),
        hostname=boot.hostname,
        facts=(
            *[fact for fact in boot.facts if fact.kind != "reboot"],
            *([trigger] if trigger else ()),
            Fact("header", fields, header),
            *found.facts,
            *([panic] if panic else ()),
            *_between(boot.hardware_errors, head.number, end),
            *_between([fact for fact in boot.facts if fact.kind == "reboot"], head.number, end),
        ),
        followed_by=tuple(islice(_followed_by(registry, named.title, incident), CONSEQUENCES)),
        preceded_by=tuple(boot.preceded_by),
        hardware_errors=tuple(_between(boot.hardware_errors, 0, head.number)),
        lost=sum(map(_LOST, text.lines)),
        truncated=incident.truncated,
        lines=tuple(incident.lines),
    )
