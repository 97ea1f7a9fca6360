"""Alert rules: each product's words, asked of a real engine, find what the rule means and nothing else."""

from __future__ import annotations

import html
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import chevron
import jinja2
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

if TYPE_CHECKING:
    from tests.engines.search import Engine

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BY_ID = {rule.id: rule for rule in RULES}


def crash(name: str, *, minutes: float = 1.5, host: str = "n1", **panic: Any) -> dict[str, Any]:  # noqa: ANN401
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
CRASHES = [
    crash("plain"),
    crash("regressed", triage={"status": "regressed"}),
    crash("fixed", triage={"status": "fixed"}),
    *[crash(f"spread-{n}", host=f"n{n}", minutes=20 * n + 1, **SPREAD) for n in range(3)],
    *[crash(f"twice-{n}", host=f"n{n}", signature={"id": "v1-twice"}) for n in range(2)],
    *[
        crash(f"known-{n}", host=f"n{n}", signature={"id": "v1-known"}, triage={"status": "ignored"})
        for n in range(4)
    ],
    *[crash(f"slow-{n}", host=f"n{n}", minutes=50 * n + 1, signature={"id": "v1-slow"}) for n in range(3)],
    crash("mce", cause="machine-check"),
    crash("oom", cause="out-of-memory"),
    crash("oom-history", cause="out-of-memory", backfill=True),
    crash("regressed-history", triage={"status": "regressed"}, backfill=True),
    *[crash(f"old-{n}", host=f"n{n}", signature={"id": "v1-old"}, backfill=True) for n in range(4)],
    crash("oom-ignored", cause="out-of-memory", triage={"status": "ignored"}),
    crash("oom-survived", cause="out-of-memory", fatal=False),
    crash("oom-long-ago", cause="out-of-memory", minutes=600),
    crash("partial", parse={"status": "partial"}),
]
FOUND = {
    "new-signature": {"new"},
    "regression": {"v1-regressed"},
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
    (body,) = [one.body for one in watcher.requests() if one.path.endswith(rule.id)]
    request = body["input"]["search"]["request"]
    asked = at_now(request["body"], "{{ctx.trigger.scheduled_time}}")
    if rule.per:
        assert groups(elasticsearch, rule, asked, "key") == FOUND[rule.id]
        assert body["condition"]["array_compare"]
    else:
        assert search(elasticsearch, rule, asked) == FOUND[rule.id]
    assert request["indices"] == [INDEX[rule.source]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_monitor_finds_what_the_rule_means(rule: Rule, opensearch: Engine) -> None:
    (body,) = [one.body for one in opensearch_alerting.requests() if one.body["name"] == f"kpanic-{rule.id}"]
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
    content = json.loads(grafana_alerting.provisioning())["groups"][0]["rules"]
    (made,) = [one for one in content if one["uid"] == f"kpanic-{rule.id}"]
    words = {"query": {"query_string": {"query": made["data"][0]["model"]["query"]}}}
    file = yaml.safe_load(elastalert2.files()[f"kpanic-{rule.id}.yaml"])
    found = search(engine, rule, {"query": {"bool": {"filter": file["filter"]}}})
    assert search(engine, rule, words) == found
    if not rule.per:
        assert FOUND[rule.id] <= found <= FOUND[rule.id] | {"old", "oom-long-ago"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_kibana_rule_finds_what_the_rule_means(rule: Rule, elasticsearch: Engine) -> None:
    (made,) = [one for one in kibana_alerting.requests() if one.path.endswith(kibana_alerting.rule_id(rule))]
    assert made.body["rule_type_id"] == ".es-query"
    assert made.body["params"]["timeField"] == "event.ingested"
    if rule.per:
        statement = made.body["params"]["esqlQuery"]["esql"]
        assert statement.startswith("FROM logs-kernel.panic-* | WHERE ")
        assert statement.endswith(f"| WHERE count > {rule.above} AND before <= {rule.above}")
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


HOSTILE = 'kernel BUG in <b>f</b> & "g" {{x}}'
DOCUMENTS = {
    "panics": {
        "host": {"name": "node7", "os": {"kernel": "6.1.0-56-amd64"}},
        "error": {"stack_trace": "".join(f"f{n}+0x1/0x2\n" for n in range(20))},
        "kernel": {
            "panic": {
                "title": HOSTILE,
                "cause": "bug",
                "signature": {"id": "v1-00"},
                "analysis": {"summary": "The kernel found a bug.", "why": "The dmesg is enough."},
                "triage": {"ticket": "OPS-1", "owner": "storage", "fixed_in": ["6.1.55", "6.6"]},
            }
        },
    },
    "signatures": {
        "id": "v1-00",
        "title": HOSTILE,
        "cause": "bug",
        "host": {"name": "node7", "os": {"kernel": "6.1.0-56-amd64"}},
        "trace": "f0+0x1/0x2\nf1+0x1/0x2",
        "summary": "The kernel found a bug.",
        "why": "The dmesg is enough.",
    },
}
SAID = [
    f"Title: {HOSTILE}",
    "Cause: bug",
    "Host: node7",
    "Kernel: 6.1.0-56-amd64",
    "Signature: v1-00",
    "Reading: The kernel found a bug.",
    "Verdict: The dmesg is enough.",
    "Trace:",
    "f0+0x1/0x2",
    "f1+0x1/0x2",
]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def mustache(template: str, *, of: dict[str, Any]) -> list[str]:
    """Fill a template as all but Kibana do, which escapes as the connector wants it."""
    return lines(html.unescape(chevron.render(template, of)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_products_message_says_what_died_where_and_what_it_means(rule: Rule) -> None:
    document = DOCUMENTS[rule.source]
    opening = f"{rule.name}: {rule.meaning}"
    hit = {"_source": document}
    options = Options(opensearch_channel="channel", kibana_connector="connector")
    told: dict[str, list[str]] = {}

    file = yaml.safe_load(elastalert2.files()[f"kpanic-{rule.id}.yaml"])
    told["elastalert2"] = lines(jinja2.Template(file["alert_text"]).render(document))
    assert sum(line.startswith("f") for line in told["elastalert2"]) <= 8

    (monitor,) = [
        one.body for one in opensearch_alerting.requests(options) if one.body["name"] == f"kpanic-{rule.id}"
    ]
    ((level, trigger),) = monitor["triggers"][0].items()
    (action,) = trigger["actions"]
    sample = [{"bucket_keys": "v1-00", "sample_documents": [hit]}]
    context = {
        "document_level_trigger": {"alerts": sample},
        "bucket_level_trigger": {"newAlerts": sample},
        "query_level_trigger": {"results": [{"hits": {"hits": [hit]}}]},
    }
    told["opensearch"] = lines(chevron.render(action["message_template"]["source"], {"ctx": context[level]}))
    assert action["destination_id"] == "channel"

    (watch,) = [one.body for one in watcher.requests() if one.path.endswith(rule.id)]
    groups = {"groups": {"buckets": [{"count": {"value": 3}, "newest": {"hits": {"hits": [hit]}}}]}}
    payload = {"hits": {"hits": [] if rule.per else [hit]}, "aggregations": groups}
    template = watch["actions"]["log"]["logging"]["text"]
    told["watcher"] = mustache(template, of={"ctx": {"payload": payload}})

    (made,) = [
        one.body
        for one in kibana_alerting.requests(options)
        if one.path.endswith(kibana_alerting.rule_id(rule))
    ]
    (action,) = made["actions"]
    if rule.per:
        asked = {name: field for name, field in kibana_alerting.GROUP.items() if field}
        statement = made["params"]["esqlQuery"]["esql"]
        assert all(f"{name} = MAX({field})" in statement for name, field in asked.items())
        row = {name: first(document, field) for name, field in asked.items()}
        hit = {"_source": row | {"signature": "v1-00", "count": 3}}
    told["kibana"] = mustache(action["params"]["message"], of={"context": {"hits": [hit]}})

    for product, text in told.items():
        assert opening in text, product
        missing = [line for line in SAID if line not in text and line != "Trace:"]
        if product == "kibana" and rule.per:
            missing = [line for line in missing if line != "f0+0x1/0x2"]  # it stands beside the label
        assert missing == [], product


@pytest.mark.parametrize("product", ["elastalert2", "opensearch"])
def test_a_message_leaves_out_what_a_document_lacks(product: str) -> None:
    bare = {"host": {"name": "node7"}, "kernel": {"panic": {"title": "x", "fatal": True}}}
    if product == "elastalert2":
        file = yaml.safe_load(elastalert2.files()["kpanic-unparsed.yaml"])
        text = jinja2.Template(file["alert_text"]).render(bare)
    else:
        options = Options(opensearch_channel="channel")
        (monitor,) = [
            one for one in opensearch_alerting.requests(options) if one.body["name"] == "kpanic-unparsed"
        ]
        action = monitor.body["triggers"][0]["query_level_trigger"]["actions"][0]
        results = {"results": [{"hits": {"hits": [{"_source": bare}]}}]}
        text = chevron.render(action["message_template"]["source"], {"ctx": results})
    assert [line for line in lines(text) if line][1:] == ["Title: x", "Host: node7"]


def test_a_kibana_connector_gets_the_message_in_its_own_key() -> None:
    for kind, key in ((".slack", "message"), (".server-log", "message"), (".webhook", "body")):
        made = kibana_alerting.requests(Options(kibana_connector="id", kibana_connector_type=kind))[0]
        (action,) = made.body["actions"]
        assert key in action["params"]
        assert action["group"] == "query matched"
    assert json.loads(action["params"]["body"])["text"].startswith("New kernel-panic signature: ")


def test_grafana_shows_what_groups_are_made_of() -> None:
    made = {one["uid"]: one for one in json.loads(grafana_alerting.provisioning())["groups"][0]["rules"]}
    description = made["kpanic-new-signature"]["annotations"]["description"]
    for label in ("Title", "Cause", "Host", "Kernel", "Reading", "Verdict", "Trace"):
        assert f"{label}: {{{{ index $labels " in description
    for rule in made.values():
        fields = [bucket["field"] for bucket in rule["data"][0]["model"]["bucketAggs"]]
        shown = re.findall(r'\$labels "([^"]+)"', rule["annotations"]["description"])
        assert fields == [*shown, "event.ingested"]
