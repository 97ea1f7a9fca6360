"""The text of an alert: a line for each fact of a document, in the template languages of the products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.dashboards.rules import SIGNATURE_ID

if TYPE_CHECKING:
    from kpanic.dashboards.panels import Source
    from kpanic.dashboards.rules import Rule

__all__ = ["jinja", "mustache", "opening", "shown"]

TRACE_LINES = 8


def shown(source: Source) -> dict[str, str]:
    """Return what a message says of a document, label to field; a trace has a line of its own a frame."""
    if source == "signatures":
        names = {"Title": "title", "Cause": "cause", "Host": "host.name", "Kernel": "host.os.kernel"}
        return names | {"Signature": "id", "Reading": "summary", "Verdict": "why", "Trace": "trace"}
    return {
        "Title": "kernel.panic.title",
        "Cause": "kernel.panic.cause",
        "Host": "host.name",
        "Kernel": "host.os.kernel",
        "Signature": SIGNATURE_ID,
        "Ticket": "kernel.panic.triage.ticket",
        "Owner": "kernel.panic.triage.owner",
        "Fixed in": "kernel.panic.triage.fixed_in",
        "Reading": "kernel.panic.analysis.summary",
        "Verdict": "kernel.panic.analysis.why",
        "Trace": "error.stack_trace",
    }


def mustache(source: Source, *, prefix: str = "_source.", raw: bool = False) -> str:
    """Return a document's lines for Mustache; a line is there where its field is."""
    value = "{{{.}}}" if raw else "{{.}}"
    lines = []
    for label, field in shown(source).items():
        gap = "\n" if label == "Trace" else " "
        lines.append(f"{{{{#{prefix}{field}}}}}{label}:{gap}{value}\n{{{{/{prefix}{field}}}}}")
    return "".join(lines) + "\n"


def jinja(source: Source) -> str:
    """Return a document's lines for Jinja; a line is there where its field is."""
    lines = []
    for label, field in shown(source).items():
        first, *rest = field.split(".")
        found = first
        for part in rest:
            found = f"({found} or {{}}).{part}"
        value = found
        if label == "Trace":
            value = f"'\\n' ~ '\\n'.join({found}.splitlines()[:{TRACE_LINES}])"
        elif label == "Fixed in":
            value = f"{found} | join(', ')"
        lines.append(f"{{% if {found} %}}{label}: {{{{ {value} }}}}\n{{% endif %}}")
    return "".join(lines)


def opening(rule: Rule) -> str:
    return f"{rule.name}: {rule.meaning}\n\n"
