"""Removes what ``kpanic setup`` made, and nothing else: users' own objects and all documents stay.

Each function yields lines for the operator, and skips what does not exist.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kpanic.dashboards import templates
from kpanic.dashboards.export import export
from kpanic.dashboards.products import kibana_alerting, watcher
from kpanic.dashboards.rules import RULES, Options
from kpanic.indices import DAYS, PATTERN, SIGNATURES, totals_index
from kpanic.shipper.setup import engine_of, words
from kpanic.shipper.setup_stack import frontend_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.frontend import Frontend
    from kpanic.shipper.outputs.bulk import BulkOutput, Reply

__all__ = ["index_management", "kibana_rules", "monitors", "saved_objects", "watches"]

DONE = (200, 204)
NOT_FOUND = 404


def saved_objects(frontend: Frontend) -> Iterator[str]:
    """Remove the dashboards with their panels and index patterns.

    :raises Unavailable: no answer.
    :raises ValueError: the server refuses; its words are in the text.
    """
    form = "kibana" if frontend.name == "kibana" else "opensearch-dashboards"
    objects = [json.loads(line) for line in export("dashboard", form, Options(fleet=1)).splitlines()]
    removed = 0
    for one in reversed(objects):  # objects go before those that they refer to
        reply = frontend.request("DELETE", f"/api/saved_objects/{one['type']}/{one['id']}")
        if reply.status not in {*DONE, NOT_FOUND}:
            raise ValueError(f"{one['type']} {one['id']}: {frontend_words(frontend, reply)}")
        removed += reply.status in DONE
    yield f"dashboards: {removed} objects removed"


def kibana_rules(frontend: Frontend) -> Iterator[str]:
    """Remove the rules from Kibana.

    :raises Unavailable: no answer.
    :raises ValueError: Kibana refuses; its words are in the text.
    """
    for rule in RULES:
        reply = frontend.request("DELETE", f"/api/alerting/rule/{kibana_alerting.rule_id(rule)}")
        if reply.status not in {*DONE, NOT_FOUND}:
            raise ValueError(f"alert {rule.id}: {frontend_words(frontend, reply)}")
        yield f"alert {rule.id}: {_done(reply)}"


def monitors(output: BulkOutput) -> Iterator[str]:
    """Remove the monitors from OpenSearch's Alerting plugin.

    :raises Unavailable: no answer, or the user is not known.
    """
    path = "/_plugins/_alerting/monitors"
    named = {"query": {"match_phrase_prefix": {"monitor.name": "kpanic"}}, "size": 1000}
    reply = output.request("POST", f"{path}/_search", named)
    hits = reply.data["hits"]["hits"] if reply.status in DONE else []
    ids: dict[str, list[str]] = {f"kpanic-{rule.id}": [] for rule in RULES}
    for hit in hits:
        ids.get(hit["_source"].get("monitor", hit["_source"])["name"], []).append(hit["_id"])
    for name, found in ids.items():
        for identity in found:
            wrote = output.request("DELETE", f"{path}/{identity}")
            yield f"monitor {name}: {_done(wrote) or words(output, wrote)}"


def watches(output: BulkOutput) -> Iterator[str]:
    """Remove the watches from Elasticsearch.

    :raises Unavailable: no answer, or the user is not known.
    """
    for one in watcher.requests():
        reply = output.request("DELETE", one.path)
        if "no handler found" in str(reply.data) or reply.status in {400, 405}:
            return
        yield f"watch {one.path.rpartition('/')[2]}: {_done(reply) or words(output, reply)}"


def index_management(output: BulkOutput) -> Iterator[str]:
    """Remove templates and retention policy; an engine keeps those that an index still uses.

    :raises Unavailable: no answer, or the user is not known.
    """
    engine = engine_of(output)
    for kind, name, path in (
        ("index template", templates.NAME, f"/_index_template/{templates.NAME}"),
        ("index template", SIGNATURES, f"/_index_template/{SIGNATURES}"),
        ("retention policy", templates.NAME, templates.policy_path(engine)),
    ):
        reply = output.request("DELETE", path)
        if "no handler found" in str(reply.data) or reply.status == 405:  # noqa: PLR2004 - it has no policies
            continue
        yield f"{kind} {name}: {_done(reply) or f'left alone: {words(output, reply)}'}"
    kept = ", ".join([SIGNATURES, totals_index("*"), DAYS])
    yield f"data streams {PATTERN}, indices {kept}: left alone: they hold documents"


def _done(reply: Reply) -> str:
    """Return what was done, empty if the server refuses."""
    if reply.status in DONE:
        return "removed"
    return "not there" if reply.status == NOT_FOUND else ""
