"""Alert messages, rendered by the products' own template engines."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import jinja2
import pytest
import yaml

from kpanic.dashboards.embedded import first, values
from kpanic.dashboards.products import (
    elastalert2,
    grafana_alerting,
    kibana_alerting,
    opensearch_alerting,
    watcher,
)
from kpanic.dashboards.rules import RULES, SIGNATURE_ID, Options, Rule
from tests.engines import parts
from tests.engines.mustache import render

pytestmark = pytest.mark.java  # and Node.js

Json = dict[str, Any]
HOSTILE = 'kernel BUG in <b>f</b> & "g" {{x}}'
SITE = Options(
    opensearch_channel="channel",
    kibana_connector="connector",
    kibana_url="https://kibana/s/ops",
    opensearch_dashboards_url="https://boards",
)
TRACE = [f"f{n}+0x1/0x2" for n in range(20)]
READING = {"summary": "The kernel found a bug.", "why": "The dmesg is enough."}
NEXT = ["crash vmlinux vmcore  # open it", "bt -a"]


def document(source: str, host: str) -> Json:
    """Return the document of a crash, or of its signature."""
    if source == "signatures":
        return {
            "id": "v1-00",
            "title": HOSTILE,
            "cause": "bug",
            "machine": "QEMU Standard PC",
            "host": {"name": host, "os": {"kernel": "6.1.0-56-amd64"}},
            "trace": "\n".join(TRACE[:8]),
            "next": "\n".join(NEXT),
        } | READING
    return {
        "event": {"id": "v1-1"},
        "host": {"name": host, "os": {"kernel": "6.1.0-56-amd64"}},
        "error": {"stack_trace": "\n".join(TRACE)},
        "kernel": {
            "panic": {
                "title": HOSTILE,
                "cause": "bug",
                "call_trace": TRACE,
                "trace_head": "\n".join(TRACE[:8]),
                "hardware": {"product": "QEMU Standard PC"},
                "signature": {"id": "v1-00"},
                "analysis": {
                    "summary": "The kernel found a bug.",
                    "why": "The dmesg is enough.",
                    "next": NEXT,
                },
                "vmcore": {
                    "source": "books.c:52",
                    "pointer": "account->owner",
                    "object": "ledger_account, allocated",
                    "lock": "mutex books.lock",
                    "holder": "clerk (PID 38)",
                },
                "triage": {"ticket": "OPS-1", "owner": "storage", "fixed_in": ["6.1.55", "6.6"]},
            }
        },
    }


def opensearch_message(rule: Rule, crashes: list[Json]) -> tuple[str, Json]:
    """Return a monitor's template, and the context in which the plugin renders it."""
    bodies = {one.body["name"]: one.body for one in opensearch_alerting.requests(SITE)}
    ((level, trigger),) = bodies[f"kpanic-{rule.id}"]["triggers"][0].items()
    (action,) = trigger["actions"]
    assert action["destination_id"] == "channel"
    alerts = [{"bucket_keys": key(rule, one), "sample_documents": [{"_source": one}]} for one in crashes]
    return action["message_template"]["source"], {
        "ctx": {"alerts" if level == "document_level_trigger" else "newAlerts": alerts}
    }


def watcher_message(rule: Rule, crashes: list[Json]) -> tuple[str, Json]:
    bodies = {one.path.rpartition("/")[2]: one.body for one in watcher.requests(SITE)}
    hits = [{"_source": one} for one in crashes]
    buckets = [
        {
            "key": key(rule, hit["_source"]),
            "count": {"value": 3},
            "recent": {"count": {"value": 3}},
            "hosts": {"buckets": [{"key": "node7"}, {"key": "node8"}]},
            "newest": {"hits": {"hits": [hit]}},
        }
        for hit in hits
    ]
    payload = {"hits": {"hits": [] if rule.per else hits}, "aggregations": {"groups": {"buckets": buckets}}}
    text = bodies[f"kpanic-{rule.id}"]["actions"]["log"]["logging"]["text"]
    return text, {"ctx": {"payload": payload}}


def kibana_message(rule: Rule, crashes: list[Json]) -> tuple[str, Json]:
    """Return a rule's template, and the context in which Kibana renders it: documents, or rows of ES|QL."""
    bodies = {one.path.rpartition("/")[2]: one.body for one in kibana_alerting.requests(SITE)}
    made = bodies[kibana_alerting.rule_id(rule)]
    hits = [{"_source": one} for one in crashes]
    if rule.per:
        statement = made["params"]["esqlQuery"]["esql"]
        columns = dict(re.findall(r"(\w+) = (?:MAX|VALUES)\(([\w.]+)\)", statement))
        hits = [
            {
                "_source": {
                    name: ("\n" if name == "actions" else ", ").join(map(str, values(one, field)))
                    for name, field in columns.items()
                }
                | {"key": key(rule, one), "count": 3}
                | ({"trace": "\n".join(TRACE[:8])} if "trace" in columns else {})
            }
            for one in crashes
        ]
        if "trace" in columns:
            assert 'MV_SLICE(SPLIT(trace, "\\n"), 0, 7)' in statement
    (action,) = made["actions"]
    return action["params"]["message"], {"context": {"hits": hits}}


def key(rule: Rule, crash: Json) -> str:
    return first(crash, rule.group) if rule.group else ""


MUSTACHE = {"opensearch": opensearch_message, "watcher": watcher_message, "kibana": kibana_message}


def rendered(product: str, rule_crashes: list[tuple[Rule, list[Json]]]) -> dict[str, str]:
    """Return the message of each rule in a product that uses Mustache."""
    message = MUSTACHE[product]
    try:
        texts = render(product, [message(rule, crashes) for rule, crashes in rule_crashes])  # type: ignore[arg-type]
    except (OSError, subprocess.SubprocessError) as error:
        parts.missing(f"{product}'s Mustache", error)
    return {rule.id: text for (rule, _), text in zip(rule_crashes, texts, strict=True)}


def elastalert2_text(rule: Rule, crash: Json) -> str:
    file = yaml.safe_load(elastalert2.files(SITE)[f"kpanic-{rule.id}.yaml"])
    return jinja2.Template(file["alert_text"]).render(crash)


@pytest.fixture(scope="module")
def messages() -> dict[str, dict[str, str]]:
    """The messages of each product for two crashes (ElastAlert2 has a message for each) of one fault."""
    two = [(rule, [document(rule.source, host) for host in ("node7", "node8")]) for rule in RULES]
    texts = {rule.id: elastalert2_text(rule, crashes[0]) for rule, crashes in two}
    return {product: rendered(product, two) for product in MUSTACHE} | {"elastalert2": texts}


WHOLE = [
    f"Title: {HOSTILE}",
    "Cause: bug",
    "Host: node7",
    "Kernel: 6.1.0-56-amd64",
    "Machine: QEMU Standard PC",
    "Signature: v1-00",
    "Summary: The kernel found a bug.",
    "Verdict: The dmesg is enough.",
    "Trace:",
    *TRACE[:8],
    "To silence it, give it status: ignored in the triage file, by signature: v1-00.",
]
"""Lines of a message about documents."""
FOUND = [
    "Source line: books.c:52",
    "Bad pointer: account->owner",
    "Object: ledger_account, allocated",
    "Lock: mutex books.lock",
    "Lock holder: clerk (PID 38)",
]
"""Lines of a message about the document of a dump."""
DONE = {
    "signatures": ["What to do:", *NEXT],
    "panics": [*FOUND, *(f"What to do: {step}" for step in NEXT)],
}
GROUPED = {
    SIGNATURE_ID: [
        "Signature: v1-00",
        f"Title: {HOSTILE}",
        "Cause: bug",
        "Kernel: 6.1.0-56-amd64",
        "Machine: QEMU Standard PC",
        "Hosts: node7",
        "Summary: The kernel found a bug.",
        "Verdict: The dmesg is enough.",
        "Actions:",
        *NEXT,
        "Trace:",
        *TRACE[:8],
        "To silence it, give it status: ignored in the triage file, by signature: v1-00.",
    ],
    "host.name": ["Host: node7", "Kernels: 6.1.0-56-amd64"],
    "host.os.kernel": ["Kernel: 6.1.0-56-amd64", "Hosts: node7"],
}
for of_many in ("host.name", "host.os.kernel"):
    GROUPED[of_many] += [
        "Number of panics: 3",
        f"Titles: {HOSTILE}",
        "Causes: bug",
        "Machines: QEMU Standard PC",
        "Signatures: v1-00",
        "Verdicts:",
        "The dmesg is enough.",
        "Actions:",
        *NEXT,
        "Trace:",
        *TRACE[:8],
    ]
"""Lines of a Kibana message about a group, by the field that forms the groups."""
BOARD = (
    "/app/dashboards#/view/kpanic-signature"
    "?_a=(query:(language:kuery,query:'kernel.panic.signature.id:%22v1-00%22'))"
)
OVERVIEW = {
    field: f"/app/dashboards#/view/kpanic-panics?_a=(query:(language:kuery,query:'{field}:%22{value}%22'))"
    for field, value in {"host.name": "node7", "host.os.kernel": "6.1.0-56-amd64"}.items()
}
BASES = {
    "opensearch": "https://boards",
    "elastalert2": "https://boards",
    "watcher": "https://kibana/s/ops",
    "kibana": "https://kibana/s/ops",
}


@pytest.mark.parametrize("product", BASES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_message_says_what_died_where_what_it_means_and_what_to_do(
    rule: Rule, product: str, messages: dict[str, dict[str, str]]
) -> None:
    text = messages[product][rule.id]
    lines = text.splitlines()
    assert lines[0] == f"{rule.name}: {rule.meaning}"
    wanted = GROUPED[rule.per] if product == "kibana" and rule.per else WHOLE + DONE[rule.source]
    assert [line for line in wanted if line not in lines] == []
    assert sum(line.startswith("f") for line in lines) <= 16, "the first frames of each, not all"
    board = BOARD
    if product == "kibana" and rule.per in OVERVIEW:
        board = OVERVIEW[rule.per]
    assert f"Dashboard: {BASES[product]}{board}" in lines
    assert "{" not in text.replace(HOSTILE, "")


@pytest.mark.parametrize("product", MUSTACHE)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_an_empty_line_stands_between_two_crashes(
    rule: Rule, product: str, messages: dict[str, dict[str, str]]
) -> None:
    _, *blocks = messages[product][rule.id].rstrip("\n").split("\n\n")
    assert len(blocks) == 2
    assert all(block.splitlines()[-1].startswith("To silence it") for block in blocks)


@pytest.mark.parametrize("product", ["opensearch", "watcher", "kibana", "elastalert2"])
def test_a_message_leaves_out_what_a_document_lacks(product: str) -> None:
    bare = {"event": {"id": "v1-1"}, "host": {"name": "node7"}, "kernel": {"panic": {"title": "x"}}}
    (rule,) = [rule for rule in RULES if rule.id == "unparsed"]
    if product == "elastalert2":
        text = elastalert2_text(rule, bare)
    else:
        text = rendered(product, [(rule, [bare])])[rule.id]
    assert [line for line in text.splitlines() if line][1:] == [
        "Title: x",
        "Host: node7",
        "To silence it, give it status: ignored in the triage file.",
    ]


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
    for label in ("Title", "Cause", "Host", "Kernel", "Machine", "Summary", "Verdict", "What to do", "Trace"):
        assert f"{label}: {{{{ index $labels " in description
    explained = made["kpanic-explained"]["annotations"]["description"]
    for field in ("source", "pointer", "object", "lock", "holder"):
        assert f'{{{{ index $labels "kernel.panic.vmcore.{field}" }}}}' in explained
    for rule in made.values():
        fields = [bucket["field"] for bucket in rule["data"][0]["model"]["bucketAggs"]]
        shown = re.findall(r'\$labels "([^"]+)"', rule["annotations"]["description"])
        assert fields == [*dict.fromkeys(shown), "event.ingested"]
        link = "kpanic-signature?var-signature={{ index $labels "
        if not {"id", SIGNATURE_ID} & set(shown):
            link = f'kpanic-panics?var-filters={fields[0]}|=|{{{{ index $labels "{fields[0]}" }}}}'
        assert f"{{{{ externalURL }}}}d/{link}" in rule["annotations"]["description"]
