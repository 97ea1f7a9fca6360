"""Monitors for OpenSearch's Alerting plugin: ``POST /_plugins/_alerting/monitors``.

:see: https://docs.opensearch.org/latest/observing-your-data/alerting/api/
"""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products._message import mustache, opening, shown
from kpanic.dashboards.products._request import Request
from kpanic.dashboards.products._rule_search import select_lucene, window
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, Options, Rule, rules

Json = dict[str, Any]


def requests(options: Options = DEFAULTS) -> list[Request]:
    """Return the requests that create the monitors in OpenSearch's Alerting plugin."""
    return [
        Request("POST", "/_plugins/_alerting/monitors", _monitor(rule, options)) for rule in rules(options)
    ]


def _monitor(rule: Rule, options: Options) -> Json:
    monitor: Json = {
        "type": "monitor",
        "name": f"kpanic-{rule.id}",
        "enabled": True,
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
    }
    lines = mustache(rule.source, raw=True)
    samples = f"{{{{#sample_documents}}}}{lines}{{{{/sample_documents}}}}"
    if rule.source == "signatures":  # follows sequence numbers: a late arrival is not missed
        listen = {"id": "match", "name": "match", "query": select_lucene(rule), "tags": [], "fields": []}
        trigger: Json = {"condition": {"script": {"source": "query[name=match]", "lang": "painless"}}}
        inputs: Json = {
            "doc_level_input": {
                "description": rule.meaning,
                "indices": [INDEX[rule.source]],
                "queries": [listen],
            }
        }
        kind, level = "doc_level_monitor", "document_level_trigger"
        message = f"{{{{#ctx.alerts}}}}{samples}{{{{/ctx.alerts}}}}"
        scope: Json = {"per_execution": {}}
    elif rule.per:
        search = _search(rule) | {"aggregations": _composite(rule)}
        condition = {
            "parent_bucket_path": "groups",
            "buckets_path": {"count": "count"},
            "script": {"source": f"params.count > {rule.above}", "lang": "painless"},
        }
        trigger = {"condition": condition}
        inputs = {"search": {"indices": [INDEX[rule.source]], "query": search}}
        kind, level = "bucket_level_monitor", "bucket_level_trigger"
        message = f"{{{{#ctx.newAlerts}}}}Signature: {{{{{{bucket_keys}}}}}}\n{samples}{{{{/ctx.newAlerts}}}}"
        scope = {"per_alert": {"actionable_alerts": ["NEW"]}}
    else:
        script = {"source": "ctx.results[0].hits.total.value > 0", "lang": "painless"}
        trigger = {"condition": {"script": script}}
        inputs = {"search": {"indices": [INDEX[rule.source]], "query": _search(rule)}}
        kind, level = "query_level_monitor", "query_level_trigger"
        message = f"{{{{#ctx.results.0.hits.hits}}}}{lines}{{{{/ctx.results.0.hits.hits}}}}"
        scope = {}
    actions = _actions(rule, options.opensearch_channel, message, scope)
    # Ids of ours, so that doing it again changes nothing.
    named = {"id": f"kpanic-{rule.id}", "name": rule.id, "severity": "1", "actions": actions, **trigger}
    return monitor | {"monitor_type": kind, "inputs": [inputs], "triggers": [{level: named}]}


def _actions(rule: Rule, channel: str, message: str, scope: Json) -> list[Json]:
    if not channel:
        return []
    action: Json = {
        "id": f"kpanic-{rule.id}",
        "name": rule.id,
        "destination_id": channel,
        "throttle_enabled": False,
        "subject_template": {"source": rule.name, "lang": "mustache"},
        "message_template": {"source": opening(rule) + message, "lang": "mustache"},
    }
    if scope:
        action["action_execution_policy"] = {"action_execution_scope": scope}
    return [action]


def _search(rule: Rule) -> Json:
    content: Json = {"query": window(rule, "{{period_end}}"), "track_total_hits": True}
    if rule.per:
        return content | {"size": 0}
    newest = {"size": 10, "sort": [{ARRIVED: "desc"}], "_source": sorted(shown(rule.source).values())}
    # Of one signature one document: a message is for reading.
    return content | newest | ({"collapse": {"field": rule.once}} if rule.once else {})


def _composite(rule: Rule) -> Json:
    source = {"group": {"terms": {"field": rule.per}}}
    hosts = {"cardinality": {"field": rule.count.field}}
    return {"groups": {"composite": {"size": 100, "sources": [source]}, "aggregations": {"count": hosts}}}
