"""Installs dashboards in Kibana and OpenSearch Dashboards, and alert rules in Kibana and the engines.

Each function yields lines for the operator: what was installed or renewed, is as it should be, or is left out
and why. A second run changes nothing. The operator's changes to a rule stay: added actions, and whether the
rule is on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.export import export
from kpanic.dashboards.products import kibana_alerting, opensearch_alerting, watcher
from kpanic.dashboards.rules import rules
from kpanic.shipper.api import hide_secrets
from kpanic.shipper.setup import same, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.dashboards.rules import Options, Rule
    from kpanic.shipper.frontend import Frontend
    from kpanic.shipper.outputs.bulk import BulkOutput, Reply

__all__ = ["frontend_words", "kibana_rules", "monitors", "saved_objects", "watches"]

Json = dict[str, Any]
OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
MESSAGES = (".server-log", ".slack", ".teams", ".webhook")
"""Types of Kibana's connectors whose only parameter is a text."""


def saved_objects(frontend: Frontend, options: Options) -> Iterator[str]:
    """Import the dashboards, replacing an earlier import.

    :raises Unavailable: the server does not answer.
    :raises ValueError: the server refuses some objects; its reasons are in the text.
    """
    form = "kibana" if frontend.name == "kibana" else "opensearch-dashboards"
    path = "/api/saved_objects/_import?overwrite=true"
    reply = frontend.upload(path, "kernel-panics.ndjson", export("dashboard", form, options))
    if reply.status != OK or not isinstance(reply.data, dict):
        raise ValueError(f"dashboards: {frontend_words(frontend, reply)}")
    # 200 may carry errors.
    faults = [
        f"{one.get('type')} {one.get('id')}: {_error(one.get('error'))}"
        for one in reply.data.get("errors") or ()
    ]
    count = reply.data.get("successCount", 0)
    if faults or not reply.data.get("success"):
        raise ValueError(f"dashboards: {count} objects imported, not all: {'; '.join(faults) or reply.data}")
    yield f"dashboards: {count} objects imported"


def _error(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    references = [f"{one.get('type')} {one.get('id')}" for one in error.get("references") or ()]
    said = [str(error[key]) for key in ("type", "message", "reason") if error.get(key)]
    return ": ".join([*said, *([", ".join(references)] if references else [])])


def kibana_rules(frontend: Frontend, options: Options) -> Iterator[str]:
    """Install the rules in Kibana.

    :raises Unavailable: Kibana does not answer.
    :raises ValueError: Kibana refuses a rule; its reason is in the text.
    """
    if options.kibana_connector:
        path = f"/api/actions/connector/{options.kibana_connector}"
        reply = frontend.request("GET", path)
        if reply.status != OK:
            raise ValueError(f"setup.alerts.kibana_connector: {frontend_words(frontend, reply)}")
        kind = reply.data["connector_type_id"]
        if kind in MESSAGES:
            options = replace(options, kibana_connector_type=kind)
        else:
            options = replace(options, kibana_connector="")
            yield f"alerts: a connector of type {kind} needs more than a text; add it to the rules in Kibana"
    for rule, wanted in zip(rules(options), kibana_alerting.requests(options), strict=True):
        found = frontend.request("GET", wanted.path)
        if found.status == NOT_FOUND:
            reply, done = frontend.request("POST", wanted.path, wanted.body), "installed"
        elif found.status != OK:
            raise ValueError(f"alert {rule.id}: {frontend_words(frontend, found)}")
        else:
            fixed = ("rule_type_id", "consumer")
            body = {key: value for key, value in wanted.body.items() if key not in fixed}
            body["actions"] = body["actions"] + [
                {key: value for key, value in action.items() if key != "connector_type_id"}
                for action in found.data.get("actions", ())
                if not _ours(action, rule, options)
            ]
            if same(body, found.data):
                yield f"alert {rule.id}: as it should be"
                continue
            reply, done = frontend.request("PUT", wanted.path, body), "renewed"
        if reply.status != OK:
            raise ValueError(f"alert {rule.id}: {frontend_words(frontend, reply)}")
        yield f"alert {rule.id}: {done}{_silent(reply.data.get('actions'), 'kibana_connector')}"


def _ours(action: Json, rule: Rule, options: Options) -> bool:
    """Tell whether kpanic gave a rule this action; Kibana chooses the ids of actions."""
    params = action.get("params", {})
    text = str(params.get("message") or params.get("body") or "")
    return bool(action.get("id") == options.kibana_connector and f"{rule.name}: " in text)


def monitors(output: BulkOutput, options: Options) -> Iterator[str]:
    """Install the monitors in OpenSearch's Alerting plugin, which chooses their ids.

    :raises Unavailable: the engine does not answer, or does not know the user.
    :raises ValueError: the engine refuses; its reason is in the text.
    """
    path = "/_plugins/_alerting/monitors"
    named = {"query": {"match_phrase_prefix": {"monitor.name": "kpanic"}}, "size": 1000}
    reply = output.request("POST", f"{path}/_search", named)
    if "no handler found" in str(reply.data) or reply.status in {400, 405}:
        yield "alerts: not installed: this engine has no alerting plugin; see 'kpanic export alert'"
        return
    if reply.status not in {OK, NOT_FOUND}:  # 404: there is no monitor yet
        raise ValueError(f"alerts: {words(output, reply)}")
    hits = reply.data["hits"]["hits"] if reply.status == OK else []
    there: dict[str, Json] = {}
    for hit in hits:
        there.setdefault(hit["_source"].get("monitor", hit["_source"])["name"], hit)
    for wanted in opensearch_alerting.requests(options):
        name = wanted.body["name"]
        hit = there.get(name)
        if hit is None:
            wrote, done = output.request("POST", path, wanted.body), "installed"
        else:
            source = hit["_source"].get("monitor", hit["_source"])
            body = wanted.body | {"enabled": source.get("enabled", True)}
            _keep_actions(body, source)
            if same(opensearch_alerting.stored(body), source):
                yield f"monitor {name}: as it should be"
                continue
            version = f"if_seq_no={hit['_seq_no']}&if_primary_term={hit['_primary_term']}"
            wrote, done = output.request("PUT", f"{path}/{hit['_id']}?{version}", body), "renewed"
            wanted = replace(wanted, body=body)  # noqa: PLW2901
        if wrote.status not in {OK, 201}:
            raise ValueError(f"monitor {name}: {words(output, wrote)}")
        actions = [action for trigger in _triggers(wanted.body) for action in trigger["actions"]]
        yield f"monitor {name}: {done}{_silent(actions, 'opensearch_channel')}"


def _triggers(monitor: Json) -> list[Json]:
    return [next(iter(trigger.values())) for trigger in monitor["triggers"]]


def _keep_actions(wanted: Json, found: Json) -> None:
    """Add the operator's actions of a trigger to kpanic's: those whose ids are not kpanic's."""
    actions = {trigger.get("name"): trigger.get("actions", []) for trigger in _triggers(found)}
    for trigger in _triggers(wanted):
        theirs = actions.get(trigger["name"], [])
        trigger["actions"] += [action for action in theirs if action.get("id") != trigger["id"]]


def watches(output: BulkOutput, options: Options) -> Iterator[str]:
    """Install the watches in Elasticsearch.

    :raises Unavailable: the engine does not answer, or does not know the user.
    :raises ValueError: the engine refuses; its reason is in the text.
    """
    for wanted in watcher.requests(options):
        name = wanted.path.rpartition("/")[2]
        found = output.request("GET", wanted.path)
        if "no handler found" in str(found.data) or found.status in {400, 405}:
            yield "alerts: not installed: this engine has no Watcher; Kibana's rules: set setup.kibana.host"
            return
        body = wanted.body
        if found.status == OK and isinstance(watch := found.data.get("watch"), dict):
            body = body | {"actions": watch.get("actions", {}) | body["actions"]}
            if same(body, watch):
                yield f"watch {name}: as it should be"
                continue
        elif found.status not in {OK, NOT_FOUND}:
            raise ValueError(f"watch {name}: {words(output, found)}")
        wrote = output.request(wanted.method, wanted.path, body)
        if wrote.status not in {OK, 201}:
            raise ValueError(f"watch {name}: {words(output, wrote)}")
        yield f"watch {name}: {'renewed' if found.status == OK else 'installed'}"


def _silent(actions: object, key: str) -> str:
    return "" if actions else f"; it has no action: set setup.alerts.{key}, or add one"


def frontend_words(frontend: Frontend, reply: Reply) -> str:
    """Return what the server said, with a hint where an address may be wrong."""
    data = reply.data
    said = data.get("message") or data.get("error") or data if isinstance(data, dict) else data
    text = hide_secrets(f"{reply.status}: {said or 'not found'}")
    if reply.status == NOT_FOUND:
        text += f"; is this {frontend.product}, and does the space exist?"
    return text
