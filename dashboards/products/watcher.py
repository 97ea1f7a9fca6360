"""Watches for Elasticsearch: ``PUT /_watcher/watch/{id}``.

:see: https://www.elastic.co/docs/api/doc/elasticsearch/group/endpoint-watcher
"""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products._rule_search import arrived, counts, select, window
from kpanic.dashboards.products.message import fields, heading, mustache, opening
from kpanic.dashboards.products.request import Request
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, Options, Rule, rules

__all__ = ["requests"]

Json = dict[str, Any]

NOW = "{{ctx.trigger.scheduled_time}}"
GROUPS = "ctx.payload.aggregations.groups.buckets"
THROTTLE = 900_000
"""Milliseconds between two messages of one watch on groups: a group stays above its limit for a while."""


def requests(options: Options = DEFAULTS) -> list[Request]:
    """Return the requests that create the watches."""
    return [
        Request("PUT", f"/_watcher/watch/kpanic-{rule.id}", _watch(rule, options)) for rule in rules(options)
    ]


def _watch(rule: Rule, options: Options) -> Json:
    lines = mustache(rule.source, options.kibana_url)
    if rule.per:
        body, condition, text = _groups(rule, lines)
    else:
        body, condition, text = _documents(rule, lines)
    action: Json = {"logging": {"text": opening(rule) + text}}
    if rule.per:
        action["throttle_period_in_millis"] = THROTTLE
    request = {"indices": [INDEX[rule.source]], "rest_total_hits_as_int": True, "body": body}
    return {
        "metadata": {"name": rule.name, "description": rule.meaning},
        "trigger": {"schedule": {"interval": "1m"}},
        "input": {"search": {"request": request}},
        "condition": condition,
        "actions": {"log": action},
    }


def _documents(rule: Rule, lines: str) -> tuple[Json, Json, str]:
    """Return the search for single documents, the condition and the message.

    Watcher remembers no documents. Checks are a minute apart, and each document is in exactly one: a check
    covers the minute that ended a minute ago, whose documents are searchable by now.
    """
    minute = arrived(f"{NOW}||-2m", f"{NOW}||-1m")
    body: Json = {
        "size": 10,
        "_source": fields(rule.source),
        "query": {"bool": {"filter": [minute, select(rule)]}},
    }
    if rule.once:
        body["collapse"] = {"field": rule.once}
    condition = {"compare": {"ctx.payload.hits.total": {"gt": 0}}}
    return body, condition, f"{{{{#ctx.payload.hits.hits}}}}{lines}{{{{/ctx.payload.hits.hits}}}}"


def _groups(rule: Rule, lines: str) -> tuple[Json, Json, str]:
    """Return the search for groups above the limit, the condition and the message."""
    counted = counts(rule, NOW)
    paths, source = {"count": "count"}, f"params.count > {rule.above}"
    if rule.growth:
        paths = {"count": "recent>count", "before": "before>count"}
        source += f" && params.count > {rule.growth} * params.before"
    newest = {"size": 1, "sort": [{ARRIVED: "desc"}], "_source": fields(rule.source)}
    inner = counted | {
        "hosts": {"terms": {"field": "host.name", "size": 10}},
        "newest": {"top_hits": newest},
        # Groups at or below the limit are dropped, so that the message lists none of them.
        "exceeding": {"bucket_selector": {"buckets_path": paths, "script": source}},
    }
    # A group above the limit has at least as many documents.
    groups = {"field": rule.per, "size": 100, "min_doc_count": rule.above + 1}
    body = {
        "size": 0,
        "query": window(rule, NOW),
        "aggs": {"groups": {"terms": groups, "aggs": inner}},
    }
    condition = {"array_compare": {GROUPS: {"path": "doc_count", "gt": {"value": 0}}}}
    count = "recent.count.value" if rule.growth else "count.value"
    text = (
        f"{{{{#{GROUPS}}}}}{heading(rule, '{{key}}', f'{{{{{count}}}}}')}"
        "Hosts:{{#hosts.buckets}} {{key}}{{/hosts.buckets}}\n"
        f"{{{{#newest.hits.hits}}}}{lines}{{{{/newest.hits.hits}}}}{{{{/{GROUPS}}}}}"
    )
    return body, condition, text
