"""Rules for Kibana: ``POST /api/alerting/rule/{id}``, type ``.es-query``.

:see: https://www.elastic.co/docs/api/doc/kibana ("Create a rule")
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from kpanic.dashboards.panels import INDEX, Term
from kpanic.dashboards.products._message import mustache, opening
from kpanic.dashboards.products._request import Request
from kpanic.dashboards.products._rule_search import select
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, Options, Rule, rules

Json = dict[str, Any]


def requests(options: Options = DEFAULTS) -> list[Request]:
    """Return the requests that create the rules in Kibana (below ``/s/<space>`` where there is one).

    Kibana takes no name for the id of what it encrypts, only a UUID.
    """
    return [
        Request("POST", f"/api/alerting/rule/{rule_id(rule)}", _rule(rule, options))
        for rule in rules(options)
    ]


def rule_id(rule: Rule) -> str:
    """Return a rule's id: a UUID that looks random and is always the same."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"kpanic-{rule.id}".encode()).digest()[:16], version=4))


def _rule(rule: Rule, options: Options) -> Json:
    common: Json = {
        "timeField": ARRIVED,
        "threshold": [0],
        "thresholdComparator": ">",
        "timeWindowSize": rule.minutes,
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
    shown = "".join(f"{name.title()}: {{{{_source.{name}}}}}\n" for name in GROUP)
    shown = shown.replace("Count: ", f"{rule.count.label}: ")
    lines = f"{shown}\n" if rule.per else mustache(rule.source)
    message = f"{opening(rule)}{{{{#context.hits}}}}{lines}{{{{/context.hits}}}}"
    params: Json = {"message": message}
    if options.kibana_connector_type == ".webhook":
        params = {"body": json.dumps({"text": message})}
    elif options.kibana_connector_type == ".server-log":
        params["level"] = "warn"
    # A run reports what the one before did not; each is news.
    frequency = {"summary": False, "notify_when": "onActiveAlert", "throttle": None}
    return [
        {
            "group": "query matched",
            "id": options.kibana_connector,
            "params": params,
            "frequency": frequency,
        }
    ]


GROUP = {
    "signature": "",
    "count": "",
    "title": "kernel.panic.title",
    "cause": "kernel.panic.cause",
    "host": "host.name",
    "kernel": "host.os.kernel",
    "reading": "kernel.panic.analysis.summary",
    "verdict": "kernel.panic.analysis.why",
    "trace": "error.stack_trace",
}
"""Columns of a group in ES|QL, and of which field they are one value."""


def _esql(rule: Rule) -> str:
    """Return the groups that came to exceed the limit within the last two minutes.

    Those that exceeded it before were told of; two minutes rather than one, as runs are not on the second.
    """
    conditions = " OR ".join(_esql_terms(terms) for terms in rule.where)
    values = ", ".join(f"{name} = MAX({field})" for name, field in GROUP.items() if field)
    return (
        f"FROM {INDEX[rule.source]} | WHERE {conditions}"
        f" | EVAL earlier = CASE({ARRIVED} < NOW() - 2 minutes, {rule.count.field}, NULL)"
        f" | STATS count = COUNT_DISTINCT({rule.count.field}), before = COUNT_DISTINCT(earlier), {values}"
        f" BY signature = {rule.per} | WHERE count > {rule.above} AND before <= {rule.above}"
    )


def _esql_terms(terms: tuple[Term, ...]) -> str:
    parts = []
    for term in terms:
        value = json.dumps(term.value)
        absent = f" OR {term.field} IS NULL" if term.negate else ""
        parts.append(f"({term.field} {'!=' if term.negate else '=='} {value}{absent})")
    return "(" + " AND ".join(parts) + ")"
