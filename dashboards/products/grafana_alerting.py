"""Rules for Grafana, as a file for its provisioning.

The data source of either engine always filters by its own time field, the time of the crash. So the range of
the query is a year, and older crashes do not alert. The query itself selects the documents that arrived
lately.

:see: https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/
"""

from __future__ import annotations

import json
from typing import Any

from kpanic.dashboards.panels import FINDINGS
from kpanic.dashboards.products._rule_search import select_lucene
from kpanic.dashboards.products.grafana_queries import MISSING
from kpanic.dashboards.products.message import FACTS, silence
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, SIGNATURE_ID, Options, Rule, rules

__all__ = ["provisioning"]

Json = dict[str, Any]

RANGE = 365 * 24 * 3600
"""Maximum age of a crash in seconds."""
ONE_BUCKET = "36500d"
"""Interval of a date histogram that holds everything in one bucket, so that no limit cuts a count in two."""


def provisioning(options: Options = DEFAULTS) -> str:
    """Return a provisioning file; its data sources are ``kpanic-panics`` and ``kpanic-signatures``."""
    group = {
        "orgId": 1,
        "name": "kpanic",
        "folder": "Kernel panics",
        "interval": "1m",
        "rules": [_rule(rule) for rule in rules(options)],
    }
    return json.dumps({"apiVersion": 1, "groups": [group]}, indent=2, sort_keys=True) + "\n"


def _labels(rule: Rule) -> dict[str, str]:
    """Return the fields to group by: Grafana knows only the labels of a document's group."""
    facts = {fact.label: fact.field for fact in FACTS[rule.source]}
    if rule.source == "signatures":
        return facts
    names: tuple[str, ...]
    if not rule.per:
        names = ("Signature", "Title", "Cause", "Host", "Kernel", "Machine")
        if rule.of_dumps:
            names += tuple(FINDINGS.values())
    elif rule.per == SIGNATURE_ID:  # a signature has one title and cause, so that they split no group
        names = ("Signature", "Title", "Cause")
    else:
        names = tuple(label for label, field in facts.items() if field == rule.per)
    return {label: facts[label] for label in names}


def _query(rule: Rule, name: str, minutes: int, labels: dict[str, str]) -> Json:
    """Return the query of documents that arrived within some minutes: one value for each group."""
    metric = {"id": "1", "type": "count"}
    if rule.per:
        metric = {"id": "1", "type": "cardinality", "field": rule.count.field}
    # A document without the field is in no group, unless the query gives a value for missing fields.
    settings = {"size": "100", "order": "desc", "orderBy": "_term", "min_doc_count": "1", "missing": MISSING}
    buckets: list[Json] = [
        {"id": str(10 + place), "type": "terms", "field": field, "settings": settings}
        for place, field in enumerate(labels.values())
    ]
    histogram = {"interval": ONE_BUCKET, "min_doc_count": "0"}
    buckets.append({"id": "30", "type": "date_histogram", "field": ARRIVED, "settings": histogram})
    model = {
        "refId": name,
        "queryType": "lucene",
        "luceneQueryType": "Metric",
        "query": f"({select_lucene(rule)}) AND {ARRIVED}:[now-{minutes}m TO now]",
        "timeField": ARRIVED,
        "metrics": [metric],
        "bucketAggs": buckets,
    }
    return _step(f"kpanic-{rule.source}", model)


def _step(source: str, model: Json) -> Json:
    return {
        "refId": model["refId"],
        "datasourceUid": source,
        "model": model,
        "relativeTimeRange": {"from": RANGE, "to": 0},
    }


def _reduce(name: str, of: str) -> Json:
    return _step("__expr__", {"refId": name, "type": "reduce", "expression": of, "reducer": "sum"})


def _rule(rule: Rule) -> Json:
    labels = _labels(rule)
    steps = [_query(rule, "A", rule.minutes, labels), _reduce("B", "A")]
    if rule.growth:
        # D covers both spans, because a group without earlier documents has no series of the earlier span.
        steps += [_query(rule, "T", 2 * rule.minutes, labels), _reduce("D", "T")]
        words = f"$B > {rule.above} && $B > {rule.growth} * ($D - $B)"
        steps.append(_step("__expr__", {"refId": "C", "type": "math", "expression": words}))
    else:
        conditions = [{"evaluator": {"type": "gt", "params": [rule.above]}}]
        model = {"refId": "C", "type": "threshold", "expression": "B", "conditions": conditions}
        steps.append(_step("__expr__", model))
    lines = [f'{label}: {{{{ index $labels "{field}" }}}}\n' for label, field in labels.items()]
    if rule.per:
        lines.append(f"{rule.count.label}: {{{{ $values.B.Value }}}}\n")
    for field in {"id", SIGNATURE_ID} & set(labels.values()):
        key = f'{{{{ index $labels "{field}" }}}}'
        lines.append(f"Dashboard: {{{{ externalURL }}}}d/kpanic-signature?var-signature={key}\n")
        lines.append(silence(key))
    if rule.per and rule.per != SIGNATURE_ID:
        key = f'{{{{ index $labels "{rule.per}" }}}}'
        lines.append(f"Dashboard: {{{{ externalURL }}}}d/kpanic-panics?var-filters={rule.per}|=|{key}\n")
        lines.append(silence())
    return {
        "uid": f"kpanic-{rule.id}",
        "title": rule.name,
        "condition": "C",
        "data": steps,
        "noDataState": "OK",
        "execErrState": "Error",
        "for": "0s",
        "annotations": {"summary": rule.meaning, "description": "".join(lines)},
        "labels": {"kpanic": rule.id},
    }
