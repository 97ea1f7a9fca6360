"""When to wake somebody, written once, in the words of five products.

A rule is a question asked of the documents that arrived lately. It looks at ``event.ingested``, the time
of arrival: a crash is older than its arrival, by days where a host was down. *New* means that the
signature's document arrived: the engine lets exactly one shipper create it, so no rule has to remember
what it saw (deleting the document means "tell me again").

Kibana: Alerting API, ``.es-query`` (https://www.elastic.co/docs/api/doc/kibana, "Create a rule"). OpenSearch:
Alerting plugin, ``_plugins/_alerting/monitors``. ElastAlert2: its rule files. Grafana: file provisioning of
alert rules. Elasticsearch: ``_watcher/watch``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboards.panels import HOSTS, INCIDENTS, INDEX, Metric, Source, Term
from dashboards.query import clause, lucene

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

ARRIVED = "event.ingested"
FINDING = "kernel.panic.signature.id"


@dataclass(frozen=True, slots=True)
class Rule:
    """Fires for each document that matches, or each group of them whose ``count`` exceeds ``above``."""

    id: str
    name: str
    meaning: str
    source: Source
    where: tuple[tuple[Term, ...], ...]
    """Alternatives, each a conjunction of terms."""
    minutes: int
    """How far back from now a check looks."""
    per: str = ""
    count: Metric = INCIDENTS
    above: int = 0


IGNORED = Term("kernel.panic.triage.status", "ignored", negate=True)
RULES = (
    Rule(
        "new-signature",
        "New kernel-panic signature",
        "A fault that nobody has reported before.",
        "signatures",
        ((Term("seeded", value=False), Term("quality", "weak", negate=True)),),
        minutes=15,
    ),
    Rule(
        "regression",
        "Kernel panic is back after its fix",
        "A fault on a kernel that, by the triage file, has it fixed.",
        "panics",
        ((Term("kernel.panic.triage.status", "regressed"),),),
        minutes=15,
    ),
    Rule(
        "outbreak",
        "One kernel panic on many hosts",
        "The same fault on more than two hosts within an hour.",
        "panics",
        ((Term("kernel.panic.fatal", value=True), IGNORED),),
        minutes=60,
        per=FINDING,
        count=HOSTS,
        above=2,
    ),
    Rule(
        "watched-cause",
        "Kernel panic of a watched cause",
        "Hardware reported a fatal error, or memory ran out.",
        "panics",
        tuple(
            (Term("kernel.panic.cause", cause), Term("kernel.panic.fatal", value=True), IGNORED)
            for cause in ("machine-check", "out-of-memory")
        ),
        minutes=15,
    ),
    Rule(
        "unparsed",
        "Kernel panic not fully understood",
        "A report that no grammar understands in full: kernels changed their words, or the text is damaged.",
        "panics",
        ((Term("kernel.panic.parse.status", "complete", negate=True),),),
        minutes=15,
    ),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a product's HTTP interface."""

    method: str
    path: str
    body: Json


def _where(rule: Rule) -> Json:
    alternatives = [clause(terms) for terms in rule.where]
    if len(alternatives) == 1:
        return alternatives[0]
    return {"bool": {"should": alternatives, "minimum_should_match": 1}}


def _words(rule: Rule) -> str:
    return " OR ".join(f"({lucene(terms)})" for terms in rule.where)


def _recent(rule: Rule, start: str, end: str) -> Json:
    """Return the rule's documents that arrived between two dates, in the product's date words."""
    window = {
        "range": {ARRIVED: {"gte": start, "lte": end, "format": "strict_date_optional_time||epoch_millis"}}
    }
    return {"bool": {"filter": [window, _where(rule)]}}


def _groups(rule: Rule) -> Json:
    hosts = {"cardinality": {"field": rule.count.field}}
    return {"groups": {"terms": {"field": rule.per, "size": 100}, "aggs": {"count": hosts}}}


def _message(rule: Rule, opening: str, closing: str) -> str:
    """Return the message, its values in a product's template marks."""
    if rule.per:
        return f"{rule.name}: {rule.meaning}"
    prefix = "" if rule.source == "signatures" else "kernel.panic."
    shown = {
        "Title": f"{prefix}title",
        "Cause": f"{prefix}cause",
        "Host": "host.name",
        "Kernel": "host.os.kernel",
    }
    if rule.source == "panics":
        shown |= {
            "Trace": "error.stack_trace",
            "Reading": "kernel.panic.analysis.summary",
            "Why": "kernel.panic.analysis.why",
        }
    lines = [f"{label}: {opening}{name}{closing}" for label, name in shown.items()]
    return "\n".join([f"{rule.name}: {rule.meaning}", *lines])


def kibana() -> list[Request]:
    """Return the requests that create the rules in Kibana (below ``/s/<space>`` where there is one)."""
    return [Request("POST", f"/api/alerting/rule/kpanic-{rule.id}", _kibana(rule)) for rule in RULES]


def _kibana(rule: Rule) -> Json:
    common: Json = {
        "timeField": ARRIVED,
        "threshold": [0],
        "thresholdComparator": ">",
        "timeWindowSize": rule.minutes,
        "timeWindowUnit": "m",
    }
    if rule.per:  # only ES|QL counts distinct values
        conditions = " OR ".join(_esql(terms) for terms in rule.where)
        statement = (
            f"FROM {INDEX[rule.source]} | WHERE {conditions}"
            f" | STATS count = COUNT_DISTINCT({rule.count.field}) BY {rule.per} | WHERE count > {rule.above}"
        )
        params = {"searchType": "esqlQuery", "esqlQuery": {"esql": statement}, "size": 0}
    else:
        params = {
            "searchType": "esQuery",
            "index": [INDEX[rule.source]],
            "esQuery": json.dumps({"query": _where(rule)}, sort_keys=True),
            "size": 100,
            "excludeHitsFromPreviousRun": True,
        }
    return {
        "name": rule.name,
        "rule_type_id": ".es-query",
        "consumer": "stackAlerts",
        "tags": ["kpanic"],
        "schedule": {"interval": "1m"},
        "params": common | params,
        "actions": [],
    }


def _esql(terms: tuple[Term, ...]) -> str:
    parts = []
    for term in terms:
        value = json.dumps(term.value)
        absent = f" OR {term.field} IS NULL" if term.negate else ""
        parts.append(f"({term.field} {'!=' if term.negate else '=='} {value}{absent})")
    return "(" + " AND ".join(parts) + ")"


def opensearch() -> list[Request]:
    """Return the requests that create the monitors in OpenSearch's Alerting plugin."""
    return [Request("POST", "/_plugins/_alerting/monitors", _monitor(rule)) for rule in RULES]


def _monitor(rule: Rule) -> Json:
    monitor: Json = {
        "type": "monitor",
        "name": f"kpanic-{rule.id}",
        "enabled": True,
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
    }
    if rule.source == "signatures":  # follows sequence numbers: a late arrival is not missed
        listen = {"id": "match", "name": "match", "query": _words(rule), "tags": [], "fields": []}
        trigger: Json = {"condition": {"script": {"source": "query[name=match]", "lang": "painless"}}}
        inputs: Json = {
            "doc_level_input": {
                "description": rule.meaning,
                "indices": [INDEX[rule.source]],
                "queries": [listen],
            }
        }
        kind, level = "doc_level_monitor", "document_level_trigger"
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
    else:
        script = {"source": "ctx.results[0].hits.total.value > 0", "lang": "painless"}
        trigger = {"condition": {"script": script}}
        inputs = {"search": {"indices": [INDEX[rule.source]], "query": _search(rule)}}
        kind, level = "query_level_monitor", "query_level_trigger"
    named = {"name": rule.id, "severity": "1", "actions": [], **trigger}
    return monitor | {"monitor_type": kind, "inputs": [inputs], "triggers": [{level: named}]}


def _search(rule: Rule) -> Json:
    window = _recent(rule, "{{period_end}}||-" + f"{rule.minutes if rule.per else 1}m", "{{period_end}}")
    return {"size": 0, "track_total_hits": True, "query": window}


def _composite(rule: Rule) -> Json:
    source = {"group": {"terms": {"field": rule.per}}}
    hosts = {"cardinality": {"field": rule.count.field}}
    return {"groups": {"composite": {"size": 100, "sources": [source]}, "aggregations": {"count": hosts}}}


def elastalert2() -> dict[str, str]:
    """Return ElastAlert2's rule files, by name; ``alert`` is what a site replaces by its own way out."""
    import yaml  # noqa: PLC0415

    return {
        f"kpanic-{rule.id}.yaml": f"# {rule.meaning}\n"
        + yaml.safe_dump(_elastalert(rule), sort_keys=False, width=110, allow_unicode=True)
        for rule in RULES
    }


def _elastalert(rule: Rule) -> Json:
    made: Json = {
        "name": f"kpanic-{rule.id}",
        "index": INDEX[rule.source],
        "timestamp_field": ARRIVED,
        "use_keyword_postfix": False,
        "filter": [_where(rule)],
        "query_delay": {"seconds": 30},
    }
    if rule.per:
        made |= {
            "type": "cardinality",
            "query_key": rule.per,
            "cardinality_field": rule.count.field,
            "max_cardinality": rule.above,
            "timeframe": {"minutes": rule.minutes},
            "scan_entire_timeframe": True,
            "realert": {"minutes": rule.minutes},
        }
    elif rule.source == "panics":  # once an incident, by whatever number of ways it arrives
        made |= {"type": "any", "query_key": "event.id", "realert": {"days": 1}}
    else:
        made |= {"type": "any", "realert": {"minutes": 0}}
    made |= {
        "alert_subject": rule.name,
        "alert_text_type": "alert_text_jinja",
        "alert_text": _message(rule, "{{ ", " }}"),
        "alert": ["debug"],
    }
    return made


def grafana() -> str:
    """Return a provisioning file for Grafana: data sources ``kpanic-panics`` and ``kpanic-signatures``."""
    group = {
        "orgId": 1,
        "name": "kpanic",
        "folder": "Kernel panics",
        "interval": "1m",
        "rules": [_grafana(rule) for rule in RULES],
    }
    return json.dumps({"apiVersion": 1, "groups": [group]}, indent=2, sort_keys=True) + "\n"


def _grafana(rule: Rule) -> Json:
    metric = {"id": "1", "type": "count"}
    # Alerting needs a number: of a time series without gaps, the sum; of a group, the greatest.
    buckets: list[Json] = [
        {
            "id": "11",
            "type": "date_histogram",
            "field": ARRIVED,
            "settings": {"interval": f"{rule.minutes}m", "min_doc_count": "0"},
        }
    ]
    if rule.per:
        metric = {"id": "1", "type": "cardinality", "field": rule.count.field}
        settings = {"size": "100", "order": "desc", "orderBy": "1", "min_doc_count": "1"}
        buckets.insert(0, {"id": "10", "type": "terms", "field": rule.per, "settings": settings})
    query = {
        "refId": "A",
        "queryType": "lucene",
        "luceneQueryType": "Metric",
        "query": _words(rule),
        "timeField": ARRIVED,
        "metrics": [metric],
        "bucketAggs": buckets,
    }
    reduced = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "max" if rule.per else "sum"}
    evaluator = {"type": "gt", "params": [rule.above]}
    threshold = {
        "refId": "C",
        "type": "threshold",
        "expression": "B",
        "conditions": [{"evaluator": evaluator}],
    }
    back = {"relativeTimeRange": {"from": rule.minutes * 60, "to": 0}}
    return {
        "uid": f"kpanic-{rule.id}",
        "title": rule.name,
        "condition": "C",
        "data": [
            {"refId": "A", "datasourceUid": f"kpanic-{rule.source}", "model": query, **back},
            {"refId": "B", "datasourceUid": "__expr__", "model": reduced, **back},
            {"refId": "C", "datasourceUid": "__expr__", "model": threshold, **back},
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": "0s",
        "annotations": {"summary": rule.meaning},
        "labels": {"kpanic": rule.id},
    }


def watcher() -> list[Request]:
    """Return the requests that create the watches in Elasticsearch."""
    return [Request("PUT", f"/_watcher/watch/kpanic-{rule.id}", _watch(rule)) for rule in RULES]


def _watch(rule: Rule) -> Json:
    back = f"{{{{ctx.trigger.scheduled_time}}}}||-{rule.minutes if rule.per else 1}m"
    body: Json = {
        "size": 0 if rule.per else 10,
        "query": _recent(rule, back, "{{ctx.trigger.scheduled_time}}"),
    }
    condition: Json = {"compare": {"ctx.payload.hits.total": {"gt": 0}}}
    if rule.per:
        body["aggs"] = _groups(rule)
        greater = {"path": "count.value", "gt": {"value": rule.above}}
        condition = {"array_compare": {"ctx.payload.aggregations.groups.buckets": greater}}
    text = (
        _message(rule, "{{", "}}")
        if rule.per
        else (
            "{{#ctx.payload.hits.hits}}" + _message(rule, "{{_source.", "}}") + "\n{{/ctx.payload.hits.hits}}"
        )
    )
    request = {
        "indices": [INDEX[rule.source]],
        "rest_total_hits_as_int": True,
        "body": body,
    }
    return {
        "metadata": {"name": rule.name, "description": rule.meaning},
        "trigger": {"schedule": {"interval": "1m"}},
        "input": {"search": {"request": request}},
        "condition": condition,
        "actions": {"log": {"logging": {"text": text}}},
    }


def _requests(requests: list[Request]) -> str:
    rows = ({"method": one.method, "path": one.path, "body": one.body} for one in requests)
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)


RENDERERS: dict[str, Callable[[], str]] = {
    "kibana": lambda: _requests(kibana()),
    "opensearch": lambda: _requests(opensearch()),
    "elastalert2": lambda: "---\n".join(f"# file: {name}\n{text}" for name, text in elastalert2().items()),
    "grafana": grafana,
    "watcher": lambda: _requests(watcher()),
}
"""A product's name and its rules as text: requests one a line, files one a YAML document."""
