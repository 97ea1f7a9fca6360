"""Panels of all dashboards, as data.

A panel counts something (``metrics``) over some documents (``where``), grouped by a field (``by``), split by
another (``split``), and is drawn in a form. A product's renderer is one file of
:mod:`kpanic.dashboards.products`; a new panel is one entry here.

Panels count incidents, not documents: a crash that arrives by netconsole, pstore and kdump is three documents
with one ``event.id``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kpanic.indices import DAYS, PATTERN, SIGNATURES

Form = Literal["number", "histogram", "bars", "heatmap", "table", "documents"]
Source = Literal["panics", "signatures", "days"]

INDEX: dict[Source, str] = {"panics": PATTERN, "signatures": SIGNATURES, "days": DAYS}
"""Index of each source: the crashes; one document for each signature, of its first crash; counts of days."""
TIME = "@timestamp"
GRID = 48
"""Columns of a dashboard."""
ANY = "*"
"""Any value of a field, in a term."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One column: a number, date or word about a group of documents."""

    kind: Literal["distinct", "earliest", "latest", "newest", "sum"]
    """``distinct`` values of the field, its ``earliest`` or ``latest`` date, ``newest`` value or ``sum``."""
    field: str
    label: str


@dataclass(frozen=True, slots=True)
class Term:
    """A condition: the field holds the value (:data:`ANY`: some value), or with ``negate`` does not."""

    field: str
    value: str | bool
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A question about crashes, and how it is answered and drawn."""

    id: str
    title: str
    question: str
    form: Form
    metrics: tuple[Metric, ...]
    """Columns. The first orders the groups, the greatest or newest first."""
    narrow: tuple[Metric, ...] = ()
    """Metrics for a table with columns of equal width, which would cut ``metrics``."""
    by: str = ""
    """Field to group by; a date is grouped by interval."""
    label: str = ""
    """Name of a group, as the head of its column."""
    split: str = ""
    size: int = 10
    where: tuple[Term, ...] = ()
    source: Source = "panics"
    width: int = 12
    """Columns of 48."""
    height: int = 12
    """Rows of about 20 pixels."""
    rate: bool = False
    """The histogram shows panics per 1,000 hosts of the fleet and day."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Panels in reading order; they fill rows from the left."""

    id: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    days: int
    """Time range on opening: days back from now."""
    about: str = ""
    """Field whose value the reader chooses, if the dashboard is about one such value."""


INCIDENTS = Metric("distinct", "event.id", "Panics")
HOSTS = Metric("distinct", "host.name", "Hosts")
KERNELS = Metric("distinct", "host.os.kernel", "Kernels")
FAULTS = Metric("distinct", "kernel.panic.signature.id", "Signatures")
FIRST = Metric("earliest", TIME, "First seen")
LAST = Metric("latest", TIME, "Last seen")
TITLE = Metric("newest", "kernel.panic.title", "Title")
CAUSE = Metric("newest", "kernel.panic.cause", "Cause")
TRIAGE = Metric("newest", "kernel.panic.triage.status", "Triage")

FINDINGS = {
    "kernel.panic.vmcore.source": "Source line",
    "kernel.panic.vmcore.pointer": "Bad pointer",
    "kernel.panic.vmcore.object": "Object",
    "kernel.panic.vmcore.lock": "Lock",
    "kernel.panic.vmcore.holder": "Lock holder",
}
"""The answers of a crash's dump, by field."""
_SOURCE_LINE, _POINTER, _OBJECT, _LOCK, _HOLDER = (
    Metric("newest", field, label) for field, label in FINDINGS.items()
)
ANSWERED = Term("kernel.panic.vmcore.status", "answered")
"""The dump answers what the log leaves open."""

FATAL = (Term("kernel.panic.fatal", value=True),)
SURVIVED = (Term("kernel.panic.fatal", value=False),)
NEWBORN = (Term("fatal", value=True),)
UNKNOWN_HOST = (*FATAL, Term("host.name", ANY, negate=True))
UNPARSED = (Term("kernel.panic.parse.status", "complete", negate=True),)

KERNEL_PANICS = Dashboard(
    id="panics",
    title="Kernel panics",
    description="Crashed kernels, the places and causes of crashes, and new faults.",
    days=30,
    panels=(
        Panel(
            "panics",
            "Panics",
            "How many kernels died?",
            "number",
            (INCIDENTS,),
            where=FATAL,
            width=8,
            height=6,
        ),
        Panel(
            "hosts",
            "Hosts affected",
            "How many machines did it hit?",
            "number",
            (HOSTS,),
            where=FATAL,
            width=8,
            height=6,
        ),
        Panel(
            "unknown-hosts",
            "Host unknown",
            "How many panics do not tell their machine?",
            "number",
            (Metric("distinct", "event.id", "Host unknown"),),
            where=UNKNOWN_HOST,
            width=8,
            height=6,
        ),
        Panel(
            "faults",
            "Signatures",
            "How many different faults?",
            "number",
            (FAULTS,),
            where=FATAL,
            width=8,
            height=6,
        ),
        Panel(
            "new",
            "New signatures",
            "How many faults were never seen before?",
            "number",
            (Metric("distinct", "id", "New signatures"),),
            where=NEWBORN,
            source="signatures",
            width=8,
            height=6,
        ),
        Panel(
            "unparsed",
            "Not fully parsed",
            "How many reports does the grammar not fully understand?",
            "number",
            (Metric("distinct", "event.id", "Not fully parsed"),),
            where=UNPARSED,
            width=8,
            height=6,
        ),
        Panel(
            "over-time",
            "Panics over time",
            "When did kernels die, and of what?",
            "histogram",
            (INCIDENTS,),
            by=TIME,
            label="Time",
            split="kernel.panic.cause",
            where=FATAL,
            width=48,
            height=14,
        ),
        Panel(
            "by-cause",
            "By cause",
            "What triggered them?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.cause",
            label="Cause",
            where=FATAL,
            width=16,
            height=16,
        ),
        Panel(
            "by-kernel",
            "By kernel version",
            "Which kernels died?",
            "bars",
            (INCIDENTS,),
            by="host.os.kernel",
            label="Kernel",
            where=FATAL,
            width=16,
            height=16,
        ),
        Panel(
            "by-rip",
            "By RIP",
            "Which function was running?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.rip.symbol",
            label="RIP",
            where=FATAL,
            width=16,
            height=16,
        ),
        Panel(
            "top-signatures",
            "Top signatures",
            "Which faults are worth fixing first?",
            "table",
            (INCIDENTS, HOSTS, KERNELS, FIRST, LAST, TITLE, CAUSE, TRIAGE),
            narrow=(INCIDENTS, HOSTS, LAST, TITLE, CAUSE),
            by="kernel.panic.signature.id",
            label="Signature",
            size=50,
            where=FATAL,
            width=48,
            height=20,
        ),
        Panel(
            "kernel-signature",
            "Fault by kernel version",
            "Which version brought a crash, and which one ended it?",
            "heatmap",
            (INCIDENTS,),
            by="host.os.kernel",
            label="Kernel",
            split="kernel.panic.title",
            size=20,
            where=FATAL,
            width=48,
            height=20,
        ),
        Panel(
            "by-hardware",
            "By machine",
            "Is it one model?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.hardware.product",
            label="Machine",
            where=FATAL,
            width=12,
            height=14,
        ),
        Panel(
            "by-bios",
            "By BIOS version",
            "Is it one firmware?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.hardware.bios_version",
            label="BIOS",
            where=FATAL,
            width=12,
            height=14,
        ),
        Panel(
            "by-module",
            "By module",
            "Is it one module's code?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.rip.module",
            label="Module",
            where=FATAL,
            width=12,
            height=14,
        ),
        Panel(
            "by-taint",
            "By taint",
            "Was the kernel tainted before it died?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.taint.flags",
            label="Taint",
            where=FATAL,
            width=12,
            height=14,
        ),
        Panel(
            "repeat-hosts",
            "Repeat offenders",
            "Which machines keep dying?",
            "table",
            (INCIDENTS, FAULTS, FIRST, LAST),
            narrow=(INCIDENTS, FAULTS, LAST),
            by="host.name",
            label="Host",
            where=FATAL,
            width=24,
            height=16,
        ),
        Panel(
            "newest-signatures",
            "Newest signatures",
            "What was never seen before?",
            "table",
            (FIRST, Metric("newest", "title", "Title"), Metric("newest", "cause", "Cause")),
            by="id",
            label="Signature",
            where=NEWBORN,
            source="signatures",
            width=24,
            height=16,
        ),
        Panel(
            "survived",
            "Survived",
            "What did kernels report and survive?",
            "bars",
            (Metric("distinct", "event.id", "Reports"),),
            by="kernel.panic.cause",
            label="Cause",
            where=SURVIVED,
            width=24,
            height=16,
        ),
        Panel(
            "by-triage",
            "Triage",
            "Which are known, fixed, ignored, or back after their fix?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.triage.status",
            label="Triage",
            where=FATAL,
            width=24,
            height=16,
        ),
        Panel(
            "incidents",
            "Incidents",
            "What exactly was printed?",
            "documents",
            (INCIDENTS,),
            size=100,
            where=FATAL,
            width=48,
            height=16,
        ),
    ),
)

SIGNATURE = Dashboard(
    id="signature",
    title="Kernel panic signature",
    description="Everything about one fault: where it is, since when, on what.",
    days=365,
    about="kernel.panic.signature.id",
    panels=(
        Panel("signature-panics", "Panics", "How often?", "number", (INCIDENTS,), width=12, height=6),
        Panel("signature-hosts", "Hosts", "On how many machines?", "number", (HOSTS,), width=12, height=6),
        Panel("signature-first", "First seen", "Since when?", "number", (FIRST,), width=12, height=6),
        Panel("signature-last", "Last seen", "Still?", "number", (LAST,), width=12, height=6),
        Panel(
            "signature-over-time",
            "Over time",
            "Does it come more often, and with which kernel?",
            "histogram",
            (INCIDENTS,),
            by=TIME,
            label="Time",
            split="host.os.kernel",
            width=48,
            height=12,
        ),
        Panel(
            "signature-kernels",
            "By kernel version",
            "Which version brought it, which one ended it?",
            "table",
            (INCIDENTS, HOSTS, FIRST, LAST),
            narrow=(INCIDENTS, FIRST, LAST),
            by="host.os.kernel",
            label="Kernel",
            width=24,
            height=14,
        ),
        Panel(
            "signature-machines",
            "By host",
            "Which machines?",
            "table",
            (INCIDENTS, FIRST, LAST),
            by="host.name",
            label="Host",
            width=24,
            height=14,
        ),
        Panel(
            "signature-hardware",
            "Machine",
            "Is it one model?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.hardware.product",
            label="Machine",
            width=12,
            height=12,
        ),
        Panel(
            "signature-bios",
            "BIOS version",
            "Is it one firmware?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.hardware.bios_version",
            label="BIOS",
            width=12,
            height=12,
        ),
        Panel(
            "signature-modules",
            "Module",
            "Whose code was running?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.rip.module",
            label="Module",
            width=12,
            height=12,
        ),
        Panel(
            "signature-causes",
            "Cause",
            "Does it die the same way every time?",
            "bars",
            (INCIDENTS,),
            by="kernel.panic.cause",
            label="Cause",
            width=12,
            height=12,
        ),
        Panel(
            "signature-triage",
            "Triage",
            "Who owns it, under which ticket, and where is it fixed?",
            "table",
            (
                INCIDENTS,
                LAST,
                Metric("newest", "kernel.panic.triage.ticket", "Ticket"),
                Metric("newest", "kernel.panic.triage.owner", "Owner"),
                Metric("newest", "kernel.panic.triage.fixed_in", "Fixed in"),
            ),
            by="kernel.panic.triage.status",
            label="Triage",
            width=48,
            height=8,
        ),
        Panel(
            "signature-vmcore",
            "What vmcores say",
            "What does the memory of the machines say that their logs do not?",
            "table",
            (LAST, _SOURCE_LINE, _POINTER, _OBJECT, _LOCK, _HOLDER),
            narrow=(LAST, _SOURCE_LINE, _OBJECT, _LOCK, _HOLDER),
            by="host.name",
            label="Host",
            where=(ANSWERED,),
            width=48,
            height=8,
        ),
        Panel(
            "signature-incidents",
            "Incidents",
            "What exactly was printed?",
            "documents",
            (INCIDENTS,),
            size=100,
            width=48,
            height=20,
        ),
    ),
)

DASHBOARDS = (KERNEL_PANICS, SIGNATURE)

COUNTED = Metric("sum", "incidents", "Panics")
"""Panics of a day, as ``kpanic rollup`` counted them."""
GROUP = "group"
"""Field of the days: the field by which its panics are grouped, or :data:`ALL`."""
ALL = "all"
LONG_TERM = Dashboard(
    id="long-term",
    title="Kernel panics, long term",
    description="Years of panics, from the counts of days that kpanic rollup keeps.",
    days=5 * 365,
    panels=(
        *(
            Panel(
                f"long-term-{name}",
                title,
                question,
                "number",
                (metric,),
                where=(Term(GROUP, ALL),),
                source="days",
                width=16,
                height=6,
            )
            for name, title, question, metric in (
                ("panics", "Panics", "How many kernels died?", COUNTED),
                ("first", "First day", "How far back do the counts go?", FIRST),
                ("last", "Last day", "Are the counts kept up?", LAST),
            )
        ),
        Panel(
            "long-term-over-time",
            "Panics over time",
            "Do kernels die more often than they did, and of what?",
            "histogram",
            (COUNTED,),
            by=TIME,
            label="Time",
            split="kernel.panic.cause",
            where=(Term(GROUP, "kernel.panic.cause"),),
            source="days",
            width=48,
            height=14,
        ),
        *(
            Panel(
                f"long-term-{name}",
                title,
                question,
                "bars",
                (COUNTED,),
                by=field,
                label=label,
                where=(Term(GROUP, field),),
                source="days",
                width=16,
                height=14,
            )
            for name, title, question, label, field in (
                ("causes", "By cause", "What triggered them?", "Cause", "kernel.panic.cause"),
                ("kernels", "By kernel version", "Which kernels died?", "Kernel", "host.os.kernel"),
                ("rips", "By RIP", "Which function was running?", "RIP", "kernel.panic.rip.symbol"),
                ("machines", "By machine", "Is it one model?", "Machine", "kernel.panic.hardware.product"),
                ("modules", "By module", "Is it one module's code?", "Module", "kernel.panic.rip.module"),
                (
                    "taints",
                    "By taint",
                    "Was the kernel tainted?",
                    "Taint",
                    "kernel.panic.taint.flags",
                ),
            )
        ),
        Panel(
            "long-term-signatures",
            "Signatures",
            "Which faults come back?",
            "table",
            (COUNTED, FIRST, LAST, TITLE),
            by="kernel.panic.signature.id",
            label="Signature",
            size=50,
            where=(Term(GROUP, "kernel.panic.signature.id"),),
            source="days",
            width=48,
            height=20,
        ),
    ),
)
"""Its panels have no hosts and no filters, because a day's counts do not identify their crashes."""

FACETS = {
    "host.os.kernel": "Kernel",
    "kernel.panic.cause": "Cause",
    "host.name": "Host",
    "kernel.panic.taint.flags": "Taint",
}
"""Filters at the top, each of which can also leave a value out."""
RATE = Panel(
    "rate",
    "Panics per 1,000 hosts a day",
    "Does the fleet get better?",
    "histogram",
    (INCIDENTS,),
    by=TIME,
    label="Day",
    where=FATAL,
    width=48,
    height=10,
    rate=True,
)


def of_fleet(size: int | None) -> tuple[Dashboard, ...]:
    """Return the dashboards; if the fleet's size is known, with the rate below the histogram."""
    if not size:
        return DASHBOARDS
    panels = list(KERNEL_PANICS.panels)
    place = next(place for place, panel in enumerate(panels, 1) if panel.form == "histogram")
    return (replace(KERNEL_PANICS, panels=(*panels[:place], RATE, *panels[place:])), SIGNATURE)


def of_stack(size: int | None) -> tuple[Dashboard, ...]:
    """Return the dashboards of OpenSearch Dashboards, Kibana and Grafana."""
    return (*of_fleet(size), LONG_TERM)


COLUMNS = (
    "host.name",
    "host.os.kernel",
    "kernel.panic.title",
    "kernel.panic.cause",
    "kernel.panic.rip.signature",
    "event.provider",
)
"""Columns of the list of incidents, beside the time."""


def flow(dashboard: Dashboard) -> list[tuple[Panel, int, int]]:
    """Return each panel with its column and row; a panel that no longer fits begins a new row."""
    places = []
    x = y = tallest = 0
    for panel in dashboard.panels:
        if x + panel.width > GRID:
            x, y, tallest = 0, y + tallest, 0
        places.append((panel, x, y))
        x += panel.width
        tallest = max(tallest, panel.height)
    return places


def fields(dashboards: tuple[Dashboard, ...] = DASHBOARDS) -> frozenset[tuple[Source, str]]:
    """Return each field that a panel asks for, with its source."""
    asked: set[tuple[Source, str]] = {("panics", column) for column in COLUMNS}
    for dashboard in dashboards:
        for panel in dashboard.panels:
            names = {panel.by, panel.split, dashboard.about, TIME, *(m.field for m in panel.metrics)}
            names.update(term.field for term in panel.where)
            asked.update((panel.source, name) for name in names - {""})
    return frozenset(asked)
