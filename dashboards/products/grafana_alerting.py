"""Rules for Grafana, as a file for its provisioning.

:see: https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/
"""

from __future__ import annotations

import json
from typing import Any

from kpanic.dashboards.products._message import shown
from kpanic.dashboards.products._rule_search import select_lucene
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, Options, Rule, rules

Json = dict[str, Any]


def provisioning(options: Options = DEFAULTS) -> str:
    """Return a provisioning file for Grafana: data sources ``kpanic-panics`` and ``kpanic-signatures``."""
    group = {
        "orgId": 1,
        "name": "kpanic",
        "folder": "Kernel panics",
        "interval": "1m",
        "rules": [_rule(rule) for rule in rules(options)],
    }
    return json.dumps({"apiVersion": 1, "groups": [group]}, indent=2, sort_keys=True) + "\n"


def _labels(rule: Rule) -> dict[str, str]:
    """Return the fields to group by, which are labels then: of a document Grafana shows nothing else."""
    if rule.per:
        return {"Signature": rule.per, "Title": "kernel.panic.title", "Cause": "kernel.panic.cause"}
    if rule.source == "signatures":
        return shown(rule.source)
    fields = shown(rule.source)
    return {label: fields[label] for label in ("Signature", "Title", "Cause", "Host", "Kernel")}


def _rule(rule: Rule) -> Json:
    metric = {"id": "1", "type": "count"}
    if rule.per:
        metric = {"id": "1", "type": "cardinality", "field": rule.count.field}
    labels = _labels(rule)
    # A document without a field is in no group of it: what may lack is grouped as empty.
    settings = {"size": "100", "order": "desc", "orderBy": "_term", "min_doc_count": "1", "missing": "-"}
    buckets: list[Json] = [
        {"id": str(10 + place), "type": "terms", "field": field, "settings": settings}
        for place, field in enumerate(labels.values())
    ]
    # Alerting needs a number: of a time series without gaps, the sum; of a group, the greatest.
    buckets.append(
        {
            "id": "30",
            "type": "date_histogram",
            "field": ARRIVED,
            "settings": {"interval": f"{rule.minutes}m", "min_doc_count": "0"},
        }
    )
    query = {
        "refId": "A",
        "queryType": "lucene",
        "luceneQueryType": "Metric",
        "query": select_lucene(rule),
        "timeField": ARRIVED,
        "metrics": [metric],
        "bucketAggs": buckets,
    }
    reduced = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "max" if rule.per else "sum"}
    evaluator = {"type": "gt", "params": [rule.above]}
    threshold = {
        "refId": "C",
        "type": "threshold",
        "expression": "B",
        "conditions": [{"evaluator": evaluator}],
    }
    back = {"relativeTimeRange": {"from": rule.minutes * 60, "to": 0}}
    lines = "".join(f'{label}: {{{{ index $labels "{field}" }}}}\n' for label, field in labels.items())
    return {
        "uid": f"kpanic-{rule.id}",
        "title": rule.name,
        "condition": "C",
        "data": [
            {"refId": "A", "datasourceUid": f"kpanic-{rule.source}", "model": query, **back},
            {"refId": "B", "datasourceUid": "__expr__", "model": reduced, **back},
            {"refId": "C", "datasourceUid": "__expr__", "model": threshold, **back},
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": "0s",
        "annotations": {"summary": rule.meaning, "description": lines},
        "labels": {"kpanic": rule.id},
    }
