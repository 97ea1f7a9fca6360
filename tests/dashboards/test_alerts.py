"""Alert rules: each product's words, asked of a real engine, find what the rule means and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dashboards import alerts, templates
from dashboards.alerts import RULES, Rule

if TYPE_CHECKING:
    from tests.engines.search import Engine

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BY_ID = {rule.id: rule for rule in RULES}


def crash(name: str, *, minutes: float = 0.5, host: str = "n1", **panic: Any) -> dict[str, Any]:  # noqa: ANN401
    """A crash of three days ago that arrived some minutes ago."""
    details = {
        "fatal": True,
        "cause": "bug",
        "title": f"kernel BUG in {name}",
        "parse": {"status": "complete"},
    }
    return {
        "@timestamp": (NOW - timedelta(days=3)).isoformat(),
        "event": {"id": name, "ingested": (NOW - timedelta(minutes=minutes)).isoformat()},
        "host": {"name": host},
        "kernel": {"panic": details | {"signature": {"id": f"v1-{name}"}} | panic},
    }


def signature(
    name: str, *, minutes: float = 0.5, seeded: bool = False, quality: str = "strong"
) -> dict[str, Any]:
    return {
        "@timestamp": (NOW - timedelta(days=3)).isoformat(),
        "event": {"id": name, "ingested": (NOW - timedelta(minutes=minutes)).isoformat()},
        "id": name,
        "seeded": seeded,
        "quality": quality,
    }


SPREAD = {"signature": {"id": "v1-spread"}}
CRASHES = [
    crash("plain"),
    crash("regressed", triage={"status": "regressed"}),
    crash("fixed", triage={"status": "fixed"}),
    *[crash(f"spread-{n}", host=f"n{n}", minutes=20 * n, **SPREAD) for n in range(3)],
    *[crash(f"twice-{n}", host=f"n{n}", signature={"id": "v1-twice"}) for n in range(2)],
    *[
        crash(f"known-{n}", host=f"n{n}", signature={"id": "v1-known"}, triage={"status": "ignored"})
        for n in range(4)
    ],
    *[crash(f"slow-{n}", host=f"n{n}", minutes=50 * n + 1, signature={"id": "v1-slow"}) for n in range(3)],
    crash("mce", cause="machine-check"),
    crash("oom", cause="out-of-memory"),
    crash("oom-ignored", cause="out-of-memory", triage={"status": "ignored"}),
    crash("oom-survived", cause="out-of-memory", fatal=False),
    crash("oom-long-ago", cause="out-of-memory", minutes=600),
    crash("partial", parse={"status": "partial"}),
]
FOUND = {
    "new-signature": {"new"},
    "regression": {"regressed"},
    "outbreak": {"v1-spread"},
    "watched-cause": {"mce", "oom"},
    "unparsed": {"partial"},
}
"""What each rule has to find: incidents, of the outbreak the signature."""


def load(engine: Engine) -> dict[str, str]:
    """Index the crashes and signatures of these tests anew; return their indices."""
    names = {"panics": "alerts-panics", "signatures": "alerts-signatures"}
    for source, template, held in (
        ("panics", templates.panics_template(engine.product, lifecycle=False), CRASHES),  # type: ignore[arg-type]
        (
            "signatures",
            templates.signatures_template(engine.product),  # type: ignore[arg-type]
            [
                signature("new"),
                signature("seeded", seeded=True),
                signature("weak", quality="weak"),
                signature("old", minutes=600),
            ],
        ),
    ):
        engine.ask("DELETE", f"/{names[source]}")
        body = {"mappings": template["template"]["mappings"]}
        assert engine.ask("PUT", f"/{names[source]}", body)["acknowledged"]
        lines = [row for one in held for row in ({"index": {"_id": one["event"]["id"]}}, one)]
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        assert engine.ask("POST", f"/{names[source]}/_bulk?refresh=true", text)["errors"] is False
    return names


def search(engine: Engine, rule: Rule, body: dict[str, Any]) -> set[str]:
    """Return the ids that a search finds."""
    answer = engine.ask("POST", f"/{load(engine)[rule.source]}/_search", body | {"size": 100})
    assert "hits" in answer, answer
    return {hit["_id"] for hit in answer["hits"]["hits"]}


def groups(engine: Engine, rule: Rule, body: dict[str, Any], key: str) -> set[str]:
    """Return the groups of an aggregation that exceed the rule's limit."""
    answer = engine.ask("POST", f"/{load(engine)[rule.source]}/_search", body)
    buckets = answer["aggregations"]["groups"]["buckets"]
    found = {
        bucket["key"] if key == "key" else bucket["key"]["group"]: bucket["count"]["value"]
        for bucket in buckets
    }
    return {name for name, hosts in found.items() if hosts > rule.above}


def at_now(body: Any, mark: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Put the moment of the check where a product's own mark stands."""
    return json.loads(json.dumps(body).replace(mark, NOW.strftime("%Y-%m-%dT%H:%M:%SZ")))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_watch_finds_what_the_rule_means(rule: Rule, elasticsearch: Engine) -> None:
    (body,) = [one.body for one in alerts.watcher() if one.path.endswith(rule.id)]
    request = body["input"]["search"]["request"]
    asked = at_now(request["body"], "{{ctx.trigger.scheduled_time}}")
    if rule.per:
        assert groups(elasticsearch, rule, asked, "key") == FOUND[rule.id]
        assert body["condition"]["array_compare"]
    else:
        assert search(elasticsearch, rule, asked) == FOUND[rule.id]
    assert request["indices"] == [alerts.INDEX[rule.source]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_monitor_finds_what_the_rule_means(rule: Rule, opensearch: Engine) -> None:
    (body,) = [one.body for one in alerts.opensearch() if one.body["name"] == f"kpanic-{rule.id}"]
    (only,) = body["inputs"]
    (trigger,) = body["triggers"]
    if rule.source == "signatures":
        assert body["monitor_type"] == "doc_level_monitor"
        (one,) = only["doc_level_input"]["queries"]
        words = {"query": {"query_string": {"query": one["query"]}}}
        assert search(opensearch, rule, words) == FOUND[rule.id] | {"old"}  # by sequence number, not by time
        assert trigger["document_level_trigger"]["condition"]["script"]["source"] == "query[name=match]"
        return
    asked = at_now(only["search"]["query"], "{{period_end}}")
    if rule.per:
        assert body["monitor_type"] == "bucket_level_monitor"
        assert groups(opensearch, rule, asked, "group") == FOUND[rule.id]
    else:
        assert search(opensearch, rule, asked) == FOUND[rule.id]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_words_of_grafana_and_elastalert_select_the_same(rule: Rule, engine: Engine) -> None:
    content = json.loads(alerts.grafana())["groups"][0]["rules"]
    (made,) = [one for one in content if one["uid"] == f"kpanic-{rule.id}"]
    words = {"query": {"query_string": {"query": made["data"][0]["model"]["query"]}}}
    file = yaml.safe_load(alerts.elastalert2()[f"kpanic-{rule.id}.yaml"])
    found = search(engine, rule, {"query": {"bool": {"filter": file["filter"]}}})
    assert search(engine, rule, words) == found
    if not rule.per:
        assert FOUND[rule.id] <= found <= FOUND[rule.id] | {"old", "oom-long-ago"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_kibana_rule_finds_what_the_rule_means(rule: Rule, elasticsearch: Engine) -> None:
    (made,) = [one for one in alerts.kibana() if one.path == f"/api/alerting/rule/kpanic-{rule.id}"]
    assert made.body["rule_type_id"] == ".es-query"
    assert made.body["params"]["timeField"] == "event.ingested"
    if rule.per:
        statement = made.body["params"]["esqlQuery"]["esql"]
        assert statement.startswith("FROM logs-kernel.panic-* | WHERE ")
        assert statement.endswith("| WHERE count > 2")
        return
    window = {
        "range": {
            "event.ingested": {
                "gte": (NOW - timedelta(minutes=rule.minutes)).isoformat(),
                "lte": NOW.isoformat(),
            }
        }
    }
    query = json.loads(made.body["params"]["esQuery"])["query"]
    assert search(elasticsearch, rule, {"query": {"bool": {"filter": [window, query]}}}) == FOUND[rule.id]


def test_every_product_has_every_rule_under_one_name() -> None:
    names = {f"kpanic-{rule.id}" for rule in RULES}
    assert {one.path.rpartition("/")[2] for one in alerts.kibana()} == names
    assert {one.path.rpartition("/")[2] for one in alerts.watcher()} == names
    assert {one.body["name"] for one in alerts.opensearch()} == names
    assert {name.removesuffix(".yaml") for name in alerts.elastalert2()} == names
    assert {one["uid"] for one in json.loads(alerts.grafana())["groups"][0]["rules"]} == names


def test_rules_look_at_arrival_never_at_the_crash() -> None:
    for text in (render() for render in alerts.RENDERERS.values()):
        assert "@timestamp" not in text
        assert "event.ingested" in text


def test_a_message_says_what_died_where_and_what_it_means() -> None:
    text = alerts.elastalert2()["kpanic-watched-cause.yaml"]
    for name in ("title", "cause", "host.name", "host.os.kernel", "stack_trace", "analysis.summary"):
        assert name in text
