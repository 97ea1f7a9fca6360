"""Rules for Kibana: ``POST /api/alerting/rule/{id}``, type ``.es-query``.

:see: https://www.elastic.co/docs/api/doc/kibana ("Create a rule")
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products._rule_search import select
from kpanic.dashboards.products.message import dashboard_url, heading, mustache, opening, silence
from kpanic.dashboards.products.request import Request
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, SIGNATURE_ID, Options, Rule, rules

if TYPE_CHECKING:
    from kpanic.dashboards.panels import Term

__all__ = ["requests", "rule_id"]

Json = dict[str, Any]

SIGNATURE_COLUMNS = {
    "Title": "kernel.panic.title",
    "Cause": "kernel.panic.cause",
    "Kernel": "host.os.kernel",
    "Machine": "kernel.panic.hardware.product",
    "Summary": "kernel.panic.analysis.summary",
    "Verdict": "kernel.panic.analysis.why",
    "Trace": "error.stack_trace",
}
"""Columns of a signature in ES|QL: any of the field's values, because they are alike within a signature. A
group that is not a signature's shows one of its traces.
"""
LIST_COLUMNS = {
    "Hosts": "host.name",
    "Kernels": "host.os.kernel",
    "Titles": "kernel.panic.title",
    "Causes": "kernel.panic.cause",
    "Machines": "kernel.panic.hardware.product",
    "Signatures": SIGNATURE_ID,
    "Verdicts": "kernel.panic.analysis.why",
    "Actions": "kernel.panic.analysis.next",
}
"""Columns of any group in ES|QL: the field's first ten values."""
BLOCKS = {"Trace", "Verdicts", "Actions"}
"""Columns of several lines, which begin on a line of their own."""
LINE, COMMA = r'"\n"', '", "'
"""Texts of ES|QL between the values of a column."""
_EDGE = 2
"""Minutes within which a group has begun to exceed the limit: runs are only about a minute apart."""


def requests(options: Options = DEFAULTS) -> list[Request]:
    """Return the requests that create the rules in Kibana (below ``/s/<space>`` where there is one)."""
    return [
        Request("POST", f"/api/alerting/rule/{rule_id(rule)}", _rule(rule, options))
        for rule in rules(options)
    ]


def rule_id(rule: Rule) -> str:
    """Return a rule's id, always the same: Kibana takes only UUIDs for objects that it encrypts."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"kpanic-{rule.id}".encode()).digest()[:16], version=4))


def _rule(rule: Rule, options: Options) -> Json:
    common: Json = {
        "timeField": ARRIVED,
        "threshold": [0],
        "thresholdComparator": ">",
        "timeWindowSize": rule.minutes * (2 if rule.growth else 1),
        "timeWindowUnit": "m",
    }
    if rule.per:  # only ES|QL counts distinct values
        params = {"searchType": "esqlQuery", "esqlQuery": {"esql": _esql(rule)}, "size": 0}
    else:
        params = {
            "searchType": "esQuery",
            "index": [INDEX[rule.source]],
            "esQuery": json.dumps({"query": select(rule)}, sort_keys=True),
            "size": 100,
            "excludeHitsFromPreviousRun": True,
        }
    return {
        "name": rule.name,
        "rule_type_id": ".es-query",
        "consumer": "stackAlerts",
        "tags": ["kpanic"],
        "schedule": {"interval": "1m"},
        "params": common | params,
        "actions": _actions(rule, options),
    }


def _actions(rule: Rule, options: Options) -> list[Json]:
    if not options.kibana_connector:
        return []
    lines = _group_lines(rule, options) if rule.per else mustache(rule.source, options.kibana_url)
    message = f"{opening(rule)}{{{{#context.hits}}}}{lines}{{{{/context.hits}}}}"
    params: Json = {"message": message}
    if options.kibana_connector_type == ".webhook":
        params = {"body": json.dumps({"text": message})}
    elif options.kibana_connector_type == ".server-log":
        params["level"] = "warn"
    # Each run reports only what the run before did not report.
    frequency = {"summary": False, "notify_when": "onActiveAlert", "throttle": None}
    return [
        {
            "group": "query matched",
            "id": options.kibana_connector,
            "params": params,
            "frequency": frequency,
        }
    ]


def _columns(rule: Rule) -> tuple[dict[str, str], dict[str, str]]:
    """Return the columns of one value, and those that are lists, of a rule's groups."""
    one = SIGNATURE_COLUMNS if rule.per == SIGNATURE_ID else {"Trace": SIGNATURE_COLUMNS["Trace"]}
    known = {rule.per, *one.values()}
    return one, {label: field for label, field in LIST_COLUMNS.items() if field not in known}


def _group_lines(rule: Rule, options: Options) -> str:
    """Return the lines of one group."""
    lines = [heading(rule, "{{_source.key}}", "{{_source.count}}")]
    one, many = _columns(rule)
    for label in sorted((*one, *many), key="Trace".__eq__):  # the trace comes last
        column = f"_source.{label.lower()}"
        gap = "\n" if label in BLOCKS else " "
        lines.append(f"{{{{#{column}}}}}{label}:{gap}{{{{.}}}}\n{{{{/{column}}}}}")
    if options.kibana_url:
        lines.append(f"Dashboard: {dashboard_url(options.kibana_url, '{{_source.key}}', rule.per)}\n")
    lines.append(silence("{{_source.key}}" if rule.per == SIGNATURE_ID else ""))
    return "".join(lines)


def _esql(rule: Rule) -> str:
    """Return the groups that have just begun to exceed the limit; earlier ones were reported before."""
    conditions = " OR ".join(_esql_terms(terms) for terms in rule.where)
    field = rule.count.field
    then = f"{ARRIVED} < NOW() - {_EDGE} minutes"
    # Each column holds the counted field if the document belongs to that count.
    columns = {"present": "true", "presentthen": then}
    now, before = f"count > {rule.above}", f"countthen > {rule.above}"
    if rule.growth:
        start, startthen = (f"NOW() - {rule.minutes + edge} minutes" for edge in (0, _EDGE))
        columns = {
            "present": f"{ARRIVED} >= {start}",
            "presentthen": f"{ARRIVED} >= {startthen} AND {then}",
            "past": f"{ARRIVED} < {start}",
            "pastthen": f"{ARRIVED} < {startthen}",
        }
        now += f" AND count > {rule.growth} * past"
        before += f" AND countthen > {rule.growth} * pastthen"
    made = ", ".join(f"{name} = CASE({test}, {field}, NULL)" for name, test in columns.items())
    names = {name: name.replace("present", "count") for name in columns}
    numbers = [f"{name} = COUNT_DISTINCT({column})" for column, name in names.items()]
    one, many = _columns(rule)
    values = [f"{label.lower()} = MAX({column})" for label, column in one.items()]
    values += [f"{label.lower()} = VALUES({column})" for label, column in many.items()]
    shown = [
        f"{label.lower()} = MV_CONCAT(MV_SLICE({label.lower()}, 0, 9), {LINE if label in BLOCKS else COMMA})"
        for label in many
    ]
    shown.append('trace = MV_CONCAT(MV_SLICE(SPLIT(trace, "\\n"), 0, 7), "\\n")')
    return (
        f"FROM {INDEX[rule.source]} | WHERE {conditions} | EVAL {made}"
        f" | STATS {', '.join(numbers + values)} BY key = {rule.per}"
        f" | WHERE {now} AND NOT ({before}) | EVAL {', '.join(shown)}"
    )


def _esql_terms(terms: tuple[Term, ...]) -> str:
    parts = []
    for term in terms:
        value = json.dumps(term.value)
        absent = f" OR {term.field} IS NULL" if term.negate else ""
        parts.append(f"({term.field} {'!=' if term.negate else '=='} {value}{absent})")
    return "(" + " AND ".join(parts) + ")"
