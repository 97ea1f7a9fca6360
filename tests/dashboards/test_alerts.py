"""Alert rules: the query of each product finds the intended documents in a real engine, and no others."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kpanic.dashboards import templates
from kpanic.dashboards.embedded import first
from kpanic.dashboards.export import EXPORTS
from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products import (
    elastalert2,
    grafana_alerting,
    kibana_alerting,
    opensearch_alerting,
    watcher,
)
from kpanic.dashboards.rules import RULES, Options, Rule, rules
from tests.dashboards import grafana
from tests.engines.monitors import bucket_level_alerts, compared

if TYPE_CHECKING:
    from tests.engines.search import Engine

NOW = datetime.now(UTC)
BY_ID = {rule.id: rule for rule in RULES}


def crash(
    name: str,
    *,
    minutes: float = 1.5,
    host: str = "",
    kernel: str = "",
    provider: str = "kdump",
    **panic: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """A crash of three days ago that arrived some minutes ago, by default on a new host and kernel."""
    named = panic.get("signature", {"id": f"v1-{name}"})
    details = {
        "fatal": True,
        "cause": "bug",
        "title": f"kernel BUG in {named['id']}",
        "parse": {"status": "complete"},
    }
    return {
        "@timestamp": (NOW - timedelta(days=3)).isoformat(),
        "event": {
            "id": name,
            "ingested": (NOW - timedelta(minutes=minutes)).isoformat(),
            "provider": provider,
        },
        "host": {"name": host or name, "os": {"kernel": kernel or f"6.0-{name}"}},
        "kernel": {"panic": details | {"signature": named} | panic},
    }


def signature(
    name: str,
    *,
    minutes: float = 1.5,
    quality: str = "strong",
    **more: Any,  # noqa: ANN401
) -> dict[str, Any]:
    return {
        "@timestamp": (NOW - timedelta(days=3)).isoformat(),
        "event": {"id": name, "ingested": (NOW - timedelta(minutes=minutes)).isoformat()},
        "id": name,
        "seeded": False,
        "fatal": True,
        "quality": quality,
        **more,
    }


SPREAD = {"signature": {"id": "v1-spread"}}
EVERYTHING = {
    "host": "calm",
    "kernel": "6.1.9",
    "signature": {"id": "v1-twice"},
    "cause": "out-of-memory",
    "parse": {"status": "partial"},
    "triage": {"status": "regressed"},
}
"""Four crashes that make every rule fire."""
EXPLAINED = {"status": "answered", "lock": "mutex books.lock", "holder": "clerk (PID 38)"}
CRASHES = [
    crash("plain"),
    crash("regressed", triage={"status": "regressed"}),
    crash("fixed", triage={"status": "fixed"}),
    *[crash(f"spread-{n}", host=f"n{n}", minutes=19 * n + 1, **SPREAD) for n in range(3)],
    *[crash(f"twice-{n}", host=f"m{n}", signature={"id": "v1-twice"}) for n in range(2)],
    *[
        crash(f"known-{n}", host=f"n{n}", signature={"id": "v1-known"}, triage={"status": "ignored"})
        for n in range(4)
    ],
    *[crash(f"slow-{n}", minutes=50 * n + 1, signature={"id": "v1-slow"}) for n in range(3)],
    crash("mce", cause="machine-check"),
    crash("oom", cause="out-of-memory"),
    crash("oom-missed", cause="out-of-memory", minutes=30),
    crash("oom-history", cause="out-of-memory", backfill=True),
    crash("regressed-history", triage={"status": "regressed"}, backfill=True),
    *[crash(f"old-{n}", host=f"n{n}", signature={"id": "v1-old"}, backfill=True) for n in range(4)],
    crash("oom-ignored", cause="out-of-memory", triage={"status": "ignored"}),
    crash("oom-survived", cause="out-of-memory", fatal=False),
    crash("oom-long-ago", cause="out-of-memory", minutes=600),
    crash("partial", parse={"status": "partial"}),
    *[
        crash(f"dump-{n}", provider="vmcore", vmcore={"status": "opened"}, **EVERYTHING)  # type: ignore[arg-type]
        for n in range(4)
    ],
    crash("dump-explained", provider="vmcore", vmcore=EXPLAINED),
    crash("dump-ignored", provider="vmcore", vmcore=EXPLAINED, triage={"status": "ignored"}),
    *[crash(f"again-{n}", host="loop", minutes=400 * n + 1) for n in range(3)],
    *[crash(f"calm-{n}", host="calm", minutes=800 * n + 1) for n in range(3)],
    *[crash(f"worse-{n}", minutes=300 * n + 1, kernel="6.12.1") for n in range(4)],
    crash("worse-before", minutes=2000, kernel="6.12.1"),
    *[crash(f"steady-{n}", minutes=480 * n + 1, kernel="6.1.9") for n in range(6)],
]
"""Four crashes of kernel 6.12.1 arrived within a day and one the day before; of 6.1.9 three and three."""
FOUND = {
    "new-signature": {"new"},
    "regression": {"v1-regressed"},
    "outbreak": {"v1-spread"},
    "repeating-host": {"loop"},
    "kernel-worse": {"6.12.1"},
    "watched-cause": {"mce", "oom", "oom-missed"},
    "unparsed": {"partial"},
    "explained": {"dump-explained"},
}
"""The expected results of each rule: incidents or groups."""


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
                signature("survived", fatal=False),
                signature("known", triage={"status": "known"}),
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


def groups(engine: Engine, rule: Rule, body: dict[str, Any], script: str) -> set[str]:
    """Return the groups that a bucket selector with this script keeps."""
    answer = engine.ask("POST", f"/{load(engine)[rule.source]}/_search", body)
    found = set()
    for bucket in answer["aggregations"]["groups"]["buckets"]:
        count = bucket["recent"]["count"] if rule.growth else bucket["count"]
        before = bucket["before"]["count"]["value"] if rule.growth else 0
        if compared(script, {"count": count["value"], "before": before}):
            found.add(bucket["key"])
    return found


def at_now(body: Any, mark: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Replace a product's placeholder of the current time by the time of the check."""
    return json.loads(json.dumps(body).replace(mark, NOW.strftime("%Y-%m-%dT%H:%M:%SZ")))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_watch_finds_the_intended_documents(rule: Rule, elasticsearch: Engine) -> None:
    (body,) = [one.body for one in watcher.requests() if one.path.endswith(rule.id)]
    request = body["input"]["search"]["request"]
    asked = at_now(request["body"], "{{ctx.trigger.scheduled_time}}")
    if rule.per:
        selector = asked["aggs"]["groups"]["aggs"].pop("exceeding")["bucket_selector"]
        assert groups(elasticsearch, rule, asked, selector["script"]) == FOUND[rule.id]
        assert body["condition"]["array_compare"]
    else:
        assert search(elasticsearch, rule, asked) == FOUND[rule.id] - {"oom-missed"}  # of one minute each
    assert request["indices"] == [INDEX[rule.source]]


MONITORS = {one.body["name"]: one.body for one in opensearch_alerting.requests()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_monitor_finds_the_intended_documents(rule: Rule, opensearch: Engine) -> None:
    body = MONITORS[f"kpanic-{rule.id}"]
    if not rule.group:
        assert body["monitor_type"] == "doc_level_monitor"
        (only,) = body["inputs"]
        (trigger,) = body["triggers"]
        (one,) = only["doc_level_input"]["queries"]
        words = {"query": {"query_string": {"query": one["query"]}}}
        assert search(opensearch, rule, words) == FOUND[rule.id] | {"old"}  # by sequence number, not by time
        assert trigger["document_level_trigger"]["condition"]["script"]["source"] == "query[name=match]"
        return
    assert body["monitor_type"] == "bucket_level_monitor"
    index = load(opensearch)[rule.source]
    fired = bucket_level_alerts(opensearch, body, index, f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
    assert {alert["bucket_keys"] for alert in fired} == FOUND[rule.id]
    for alert in fired:
        assert alert["sample_documents"], "without documents the message is empty"
        assert {first(hit["_source"], rule.group) for hit in alert["sample_documents"]} == {
            alert["bucket_keys"]
        }


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.group], ids=lambda rule: rule.id)
def test_a_run_after_a_pause_of_the_node_finds_what_the_pause_skipped(rule: Rule, opensearch: Engine) -> None:
    """A group that several runs find is one alert, so their windows overlap."""
    later = f"{NOW + timedelta(minutes=15):%Y-%m-%dT%H:%M:%SZ}"
    index = load(opensearch)[rule.source]
    fired = bucket_level_alerts(opensearch, MONITORS[f"kpanic-{rule.id}"], index, later)
    assert {alert["bucket_keys"] for alert in fired} >= FOUND[rule.id]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_filter_of_elastalert_selects_what_the_rule_is_about(rule: Rule, engine: Engine) -> None:
    file = yaml.safe_load(elastalert2.files()[f"kpanic-{rule.id}.yaml"])
    found = search(engine, rule, {"query": {"bool": {"filter": file["filter"]}}})
    if rule.per:
        assert found
    else:
        assert FOUND[rule.id] <= found <= FOUND[rule.id] | {"old", "oom-long-ago"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_grafana_rule_finds_the_intended_documents(rule: Rule, engine: Engine) -> None:
    """The crashes are three days old, and the data source filters by the time of the crash."""
    content = json.loads(grafana_alerting.provisioning())["groups"][0]["rules"]
    (made,) = [one for one in content if one["uid"] == f"kpanic-{rule.id}"]
    index = load(engine)[rule.source]
    now = int(NOW.timestamp() * 1000)
    numbers: dict[str, dict[grafana.Labels, float]] = {}
    for step in made["data"]:
        model = step["model"]
        back = step["relativeTimeRange"]["from"] * 1000
        if step["datasourceUid"] != "__expr__":
            answer = engine.ask("POST", f"/{index}/_search", grafana.search(model, (now - back, now)))
            assert "aggregations" in answer, answer
            for bucket in model["bucketAggs"][1:-1]:
                assert "missing" in bucket["settings"]
            assert model["bucketAggs"][-1]["type"] == "date_histogram"
            numbers[model["refId"]] = grafana.Parser(model, answer["aggregations"]).series
        elif model["type"] == "reduce":
            found = numbers[model["expression"]]
            numbers[model["refId"]] = {labels: sum(values) for labels, values in found.items()}
    fired = {labels for labels, value in numbers["B"].items() if alerting(made, labels, value, numbers)}
    key = rule.per or ("id" if rule.source == "signatures" else "kernel.panic.signature.id")
    shown = {dict(labels)[key] for labels in fired}
    documents = {
        "watched-cause": {"v1-mce", "v1-oom", "v1-oom-missed"},
        "unparsed": {"v1-partial"},
        "explained": {"v1-dump-explained"},
    }
    assert shown == documents.get(rule.id, FOUND[rule.id])


def alerting(made: dict[str, Any], labels: grafana.Labels, value: float, numbers: dict[str, Any]) -> bool:
    """Return the result of the last step, a threshold or a comparison, for one group."""
    model = made["data"][-1]["model"]
    if model["type"] == "threshold":
        return bool(value > model["conditions"][0]["evaluator"]["params"][0])
    return compared(model["expression"].replace("$", "params."), {"B": value, "D": numbers["D"][labels]})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_kibana_rule_finds_the_intended_documents(rule: Rule, elasticsearch: Engine) -> None:
    (made,) = [one for one in kibana_alerting.requests() if one.path.endswith(kibana_alerting.rule_id(rule))]
    assert made.body["rule_type_id"] == ".es-query"
    assert made.body["params"]["timeField"] == "event.ingested"
    if rule.per:
        statement = made.body["params"]["esqlQuery"]["esql"]
        assert statement.startswith("FROM logs-kernel.panic-* | WHERE ")
        assert f"| WHERE count > {rule.above}" in statement
        assert f"AND NOT (countthen > {rule.above}" in statement
        assert statement.count("(") == statement.count(")")
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
    assert {one.path.rpartition("/")[2] for one in kibana_alerting.requests()} == set(
        map(kibana_alerting.rule_id, RULES)
    )
    assert {one.body["name"] for one in kibana_alerting.requests()} == {rule.name for rule in RULES}
    assert {one.path.rpartition("/")[2] for one in watcher.requests()} == names
    assert {one.body["name"] for one in opensearch_alerting.requests()} == names
    assert {name.removesuffix(".yaml") for name in elastalert2.files()} == names
    assert {one["uid"] for one in json.loads(grafana_alerting.provisioning())["groups"][0]["rules"]} == names


def test_rules_look_at_arrival_never_at_the_crash() -> None:
    for text in (render(Options()) for render in EXPORTS["alert"].values()):
        assert "@timestamp" not in text
        assert "event.ingested" in text


def test_kibana_takes_no_id_but_a_uuid() -> None:
    for rule in RULES:
        assert uuid.UUID(kibana_alerting.rule_id(rule)).version == 4
    assert kibana_alerting.rule_id(BY_ID["new-signature"]) == "9853cd90-d374-4255-bc6e-b8a4303a4bb2"


def test_a_site_decides_what_is_watched_and_how_many_are_an_outbreak() -> None:
    made = {rule.id: rule for rule in rules(Options(watched_causes=("hung-task",), outbreak_hosts=10))}
    assert made["outbreak"].above == 9
    assert "on 10 hosts or more" in made["outbreak"].meaning
    assert made["watched-cause"].where[0][0].value == "hung-task"
    assert "watched-cause" not in {rule.id for rule in rules(Options(watched_causes=()))}
