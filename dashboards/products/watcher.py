"""Watches for Elasticsearch: ``PUT /_watcher/watch/{id}``.

:see: https://www.elastic.co/docs/api/doc/elasticsearch/group/endpoint-watcher
"""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products._message import mustache, opening, shown
from kpanic.dashboards.products._request import Request
from kpanic.dashboards.products._rule_search import window
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, Options, Rule, rules

Json = dict[str, Any]


def requests(options: Options = DEFAULTS) -> list[Request]:
    """Return the requests that create the watches in Elasticsearch."""
    return [Request("PUT", f"/_watcher/watch/kpanic-{rule.id}", _watch(rule)) for rule in rules(options)]


def _watch(rule: Rule) -> Json:
    body: Json = {
        "size": 0 if rule.per else 10,
        "_source": sorted(shown(rule.source).values()),
        "query": window(rule, "{{ctx.trigger.scheduled_time}}"),
    }
    condition: Json = {"compare": {"ctx.payload.hits.total": {"gt": 0}}}
    lines = mustache(rule.source)
    text = f"{{{{#ctx.payload.hits.hits}}}}{lines}{{{{/ctx.payload.hits.hits}}}}"
    if rule.per:
        newest = {"size": 1, "sort": [{ARRIVED: "desc"}], "_source": sorted(shown(rule.source).values())}
        inner = {
            "count": {"cardinality": {"field": rule.count.field}},
            "newest": {"top_hits": newest},
        }
        # Whom the limit exceeds has as many documents at least.
        groups = {"field": rule.per, "size": 100, "min_doc_count": rule.above + 1}
        body["aggs"] = {"groups": {"terms": groups, "aggs": inner}}
        greater = {"path": "count.value", "gt": {"value": rule.above}}
        condition = {"array_compare": {"ctx.payload.aggregations.groups.buckets": greater}}
        text = (
            f"{{{{#ctx.payload.aggregations.groups.buckets}}}}{rule.count.label}: {{{{count.value}}}}\n"
            f"{{{{#newest.hits.hits}}}}{lines}{{{{/newest.hits.hits}}}}"
            "{{/ctx.payload.aggregations.groups.buckets}}"
        )
    elif rule.once:  # of one signature one document: a message is for reading
        body["collapse"] = {"field": rule.once}
    request = {
        "indices": [INDEX[rule.source]],
        "rest_total_hits_as_int": True,
        "body": body,
    }
    action: Json = {"logging": {"text": opening(rule) + text}}
    if rule.per:  # the group is above the limit at each check of the hour
        action["throttle_period_in_millis"] = 900_000
    return {
        "metadata": {"name": rule.name, "description": rule.meaning},
        "trigger": {"schedule": {"interval": "1m"}},
        "input": {"search": {"request": request}},
        "condition": condition,
        "actions": {"log": action},
    }
