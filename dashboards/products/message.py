"""The text of an alert: the facts of one crash in the template languages of the products.

A message holds what died, where and of what, the reading's summary and verdict, what the dump says, what to
do, the first frames of the call trace, a link to the signature's dashboard, and how to silence the signature.
If a document lacks a field, the message lacks its line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kpanic.dashboards.panels import FINDINGS, KERNEL_PANICS, SIGNATURE
from kpanic.dashboards.rules import SIGNATURE_ID

if TYPE_CHECKING:
    from kpanic.dashboards.panels import Source
    from kpanic.dashboards.rules import Rule

__all__ = ["FACTS", "dashboard_url", "fields", "heading", "jinja", "mustache", "opening", "silence"]


class Fact(NamedTuple):
    """One line of a message, or one line for each value of the field."""

    label: str
    field: str


FACTS: dict[Source, tuple[Fact, ...]] = {
    "panics": (
        Fact("Title", "kernel.panic.title"),
        Fact("Cause", "kernel.panic.cause"),
        Fact("Host", "host.name"),
        Fact("Kernel", "host.os.kernel"),
        Fact("Machine", "kernel.panic.hardware.product"),
        Fact("Signature", SIGNATURE_ID),
        Fact("Ticket", "kernel.panic.triage.ticket"),
        Fact("Owner", "kernel.panic.triage.owner"),
        Fact("Fixed in", "kernel.panic.triage.fixed_in"),
        Fact("Summary", "kernel.panic.analysis.summary"),
        Fact("Verdict", "kernel.panic.analysis.why"),
        *(Fact(label, field) for field, label in FINDINGS.items()),
        Fact("What to do", "kernel.panic.analysis.next"),
        Fact("Trace", "kernel.panic.trace_head"),
    ),
    "signatures": (
        Fact("Title", "title"),
        Fact("Cause", "cause"),
        Fact("Host", "host.name"),
        Fact("Kernel", "host.os.kernel"),
        Fact("Machine", "machine"),
        Fact("Signature", "id"),
        Fact("Summary", "summary"),
        Fact("Verdict", "why"),
        Fact("What to do", "next"),
        Fact("Trace", "trace"),
    ),
}
"""The facts of a document in a message, a line for each value; OpenSearch's Mustache cannot shorten a list.
"""
_BLOCKS = {"kernel.panic.trace_head", "trace", "next"}
"""Fields of several lines, which begin on a line of their own."""
_SILENCE, _BY = "To silence it, give it status: ignored in the triage file", ", by signature: %s"


def fields(source: Source) -> list[str]:
    """Return the fields of a document that a message needs."""
    return sorted(fact.field for fact in FACTS[source])


def _key_field(source: Source) -> str:
    """Return the field that holds the signature."""
    return "id" if source == "signatures" else SIGNATURE_ID


def heading(rule: Rule, key: str, count: str = "") -> str:
    """Return the lines about a group: its value, and its count if the product has it."""
    label = next(fact.label for fact in FACTS["panics"] if fact.field == rule.per)
    counted = f"Number of {rule.count.label.lower()}: {count}\n" if count else ""
    return f"{label}: {key}\n{counted}"


def opening(rule: Rule) -> str:
    """Return the beginning of a message."""
    return f"{rule.name}: {rule.meaning}\n\n"


def dashboard_url(base: str, value: str, field: str = SIGNATURE_ID) -> str:
    """Return the address of the dashboard below ``base`` that shows a field's value; empty without a base.

    A signature has a dashboard of its own; another value is a filter of the overview.
    """
    if not base:
        return ""
    of = SIGNATURE if field == SIGNATURE_ID else KERNEL_PANICS
    state = f"(query:(language:kuery,query:'{field}:%22{value}%22'))"
    return f"{base}/app/dashboards#/view/kpanic-{of.id}?_a={state}"


def silence(signature: str = "") -> str:
    """Return the last line of a message: how to silence a signature, or those that it lists."""
    return f"{_SILENCE}{_BY % signature if signature else ''}.\n\n"


def _gap(field: str) -> str:
    return "\n" if field in _BLOCKS else " "


def mustache(source: Source, base: str, *, prefix: str = "_source.", raw: bool = False) -> str:
    """Return one document's lines as a Mustache template.

    :param base: address of Kibana or OpenSearch Dashboards, or empty.
    :param prefix: path to the document in the product's context.
    :param raw: write values unescaped, for products that escape plain text as HTML.
    """
    value = "{{{.}}}" if raw else "{{.}}"

    def given(field: str, text: str) -> str:
        return f"{{{{#{prefix}{field}}}}}{text}{{{{/{prefix}{field}}}}}"

    lines = [given(field, f"{label}:{_gap(field)}{value}\n") for label, field in FACTS[source]]
    key = _key_field(source)
    if base:
        lines.append(given(key, f"Dashboard: {dashboard_url(base, value)}\n"))
    # The last line is not a tag alone, because some implementations of Mustache then drop the empty line
    # after it.
    lines.append(f"{_SILENCE}{given(key, _BY % value)}.\n\n")
    return "".join(lines)


def jinja(source: Source, base: str) -> str:
    """Return one document's lines as a Jinja template; ``base`` as for :func:`mustache`."""
    lines = []
    for label, field in FACTS[source]:
        found = _jinja_path(field)
        line = f"{label}:{_gap(field)}{{{{ value }}}}\n"
        each = f"{{% for value in ([{found}] if {found} is string else {found}) %}}{line}{{% endfor %}}"
        lines.append(f"{{% if {found} %}}{each}{{% endif %}}")
    key = _jinja_path(_key_field(source))
    value = f"{{{{ {key} }}}}"
    if base:
        lines.append(f"{{% if {key} %}}Dashboard: {dashboard_url(base, value)}\n{{% endif %}}")
    lines.append(f"{_SILENCE}{{% if {key} %}}{_BY % value}{{% endif %}}.\n")
    return "".join(lines)


def _jinja_path(field: str) -> str:
    """Return an expression that is undefined, and not an error, if a part of the path is missing."""
    found, *rest = field.split(".")
    for part in rest:
        found = f"({found} or {{}}).{part}"
    return found
