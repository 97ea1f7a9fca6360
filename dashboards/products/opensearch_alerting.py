"""Monitors for OpenSearch's Alerting plugin: ``POST /_plugins/_alerting/monitors``.

A rule on signatures is a document-level monitor: it follows sequence numbers, so it misses no late arrival.
Other rules are bucket-level monitors. They make one alert per group, which is new once, however often a run
sees the group's documents. So each run can look back far enough to catch up after a pause of the node.

:see: https://docs.opensearch.org/latest/observing-your-data/alerting/api/
"""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products._rule_search import counts, select_lucene, window
from kpanic.dashboards.products.message import heading, mustache, opening
from kpanic.dashboards.products.request import Request
from kpanic.dashboards.rules import DEFAULTS, Options, Rule, rules

__all__ = ["requests", "stored"]

Json = dict[str, Any]

GROUPS = "composite_agg"
"""Name of the aggregation of groups; the plugin finds a group's sample documents only under this name."""


def requests(options: Options = DEFAULTS) -> list[Request]:
    """Return the requests that create the monitors."""
    return [
        Request("POST", "/_plugins/_alerting/monitors", _monitor(rule, options)) for rule in rules(options)
    ]


def _monitor(rule: Rule, options: Options) -> Json:
    if rule.group:
        kind, level, parts = "bucket_level_monitor", "bucket_level_trigger", _bucket_level(rule, options)
    else:
        kind, level, parts = "doc_level_monitor", "document_level_trigger", _document_level(rule, options)
    inputs, condition, message, scope = parts
    # kpanic chooses the id, so that a second installation changes nothing.
    trigger = {
        "id": f"kpanic-{rule.id}",
        "name": rule.id,
        "severity": "1",
        "condition": condition,
        "actions": _actions(rule, options.opensearch_channel, message, scope),
    }
    return {
        "type": "monitor",
        "monitor_type": kind,
        "name": f"kpanic-{rule.id}",
        "enabled": True,
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
        "inputs": [inputs],
        "triggers": [{level: trigger}],
    }


def _document_level(rule: Rule, options: Options) -> tuple[Json, Json, str, Json]:
    """Return input, condition, message and scope of the action."""
    listen = {"id": "match", "name": "match", "query": select_lucene(rule), "tags": [], "fields": []}
    search = {"description": rule.meaning, "indices": [INDEX[rule.source]], "queries": [listen]}
    condition = {"script": {"source": "query[name=match]", "lang": "painless"}}
    lines = mustache(rule.source, options.opensearch_dashboards_url, raw=True)
    samples = f"{{{{#sample_documents}}}}{lines}{{{{/sample_documents}}}}"
    message = f"{{{{#ctx.alerts}}}}{samples}{{{{/ctx.alerts}}}}"
    return {"doc_level_input": search}, condition, message, {"per_execution": {}}


def _bucket_level(rule: Rule, options: Options) -> tuple[Json, Json, str, Json]:
    """Return input, condition, message and scope of the action."""
    now = "{{period_end}}"
    composite = {"size": 100, "sources": [{"group": {"terms": {"field": rule.group}}}]}
    search = {
        "size": 0,
        "track_total_hits": True,
        "query": window(rule, now),
        "aggregations": {GROUPS: {"composite": composite, "aggregations": counts(rule, now)}},
    }
    paths, source = {"count": "count"}, f"params.count > {rule.above}"
    if rule.growth:
        paths = {"count": "recent>count", "before": "before>count"}
        source += f" && params.count > {rule.growth} * params.before"
    condition = {
        "parent_bucket_path": GROUPS,
        "buckets_path": paths,
        "script": {"source": source, "lang": "painless"},
    }
    lines = mustache(rule.source, options.opensearch_dashboards_url, raw=True)
    # One crash represents the group. The plugin fetches all fields as long as no tag names one by its path.
    newest = f"{{{{#sample_documents.0}}}}{lines}{{{{/sample_documents.0}}}}"
    message = f"{{{{#ctx.newAlerts}}}}{_about_group(rule)}{newest}{{{{/ctx.newAlerts}}}}"
    inputs = {"search": {"indices": [INDEX[rule.source]], "query": search}}
    return inputs, condition, message, {"per_alert": {"actionable_alerts": ["NEW"]}}


def _about_group(rule: Rule) -> str:
    """Return the lines about a group itself: its key, and the hosts of its sample documents."""
    if not rule.per:
        return ""
    hosts = "{{#sample_documents}}{{#_source}} {{{host.name}}}{{/_source}}{{/sample_documents}}"
    return f"{heading(rule, '{{{bucket_keys}}}')}Hosts, of up to ten documents:{hosts}\n"


def _actions(rule: Rule, channel: str, message: str, scope: Json) -> list[Json]:
    if not channel:
        return []
    return [
        {
            "id": f"kpanic-{rule.id}",
            "name": rule.id,
            "destination_id": channel,
            "throttle_enabled": False,
            "subject_template": {"source": rule.name, "lang": "mustache"},
            "message_template": {"source": opening(rule) + message, "lang": "mustache"},
            "action_execution_policy": {"action_execution_scope": scope},
        }
    ]


def stored(monitor: Json) -> Json:
    """Return a monitor as the plugin gives it back, without the defaults that it adds.

    The plugin stores its own form of a query: a range has bounds with flags, a term an object with the value.
    """
    return {key: _stored(value, key) for key, value in monitor.items()}


def _stored(node: Any, key: str) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(node, list):
        return {"includes": node} if key == "_source" else [_stored(one, key) for one in node]
    if not isinstance(node, dict):
        kept = {("minimum_should_match", 1): "1", ("track_total_hits", True): 2**31 - 1}
        return kept.get((key, node), node)
    if key == "range":
        return {field: _stored_range(bounds) for field, bounds in node.items()}
    if key == "term":
        return {field: {"value": value} for field, value in node.items()}
    return {name: _stored(value, name) for name, value in node.items()}


def _stored_range(bounds: Json) -> Json:
    return {
        "from": bounds["gte"],
        "to": bounds["lt"],
        "include_lower": True,
        "include_upper": False,
        "format": bounds["format"],
    }
