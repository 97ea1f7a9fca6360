"""When to wake somebody, written once, in the words of five products.

A rule is a question asked of the documents that arrived lately. It looks at ``event.ingested``, the time
of arrival: a crash is older than its arrival, by days where a host was down. *New* means that the
signature's document arrived: the engine lets exactly one shipper create it, so no rule has to remember
what it saw (deleting the document means "tell me again"). What happened before kpanic was there pages nobody,
and no rule but *regression* speaks of what the triage file says is ignored.

Kibana: Alerting API, ``.es-query`` (https://www.elastic.co/docs/api/doc/kibana, "Create a rule"). OpenSearch:
Alerting plugin, ``_plugins/_alerting/monitors``. ElastAlert2: its rule files. Grafana: file provisioning of
alert rules. Elasticsearch: ``_watcher/watch``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.panels import HOSTS, INCIDENTS, INDEX, Metric, Source, Term
from kpanic.dashboards.query import clause, lucene

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = dict[str, Any]

ARRIVED = "event.ingested"
FINDING = "kernel.panic.signature.id"
TRACE_LINES = 8


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
    once: str = ""
    """Field of which one value pages once a day, where the product can remember."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a site decides."""

    watched_causes: tuple[str, ...] = ("machine-check", "out-of-memory")
    """Values of ``kernel.panic.cause`` of which every panic pages."""
    outbreak_hosts: int = 3
    """On how many hosts within an hour one signature is an outbreak."""
    opensearch_channel: str = ""
    """Id of the notification channel that OpenSearch's monitors write to; without one they only show."""
    kibana_connector: str = ""
    """Id of the connector that Kibana's rules write to, likewise."""
    kibana_connector_type: str = ".server-log"
    elastalert2: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keys of ElastAlert2 for every rule: the way out, such as ``alert`` and its settings."""
    fleet: int = 0
    """Hosts there are in all, for the dashboards' panics per 1,000 hosts a day; 0 where nobody says."""


TRIAGE = "kernel.panic.triage.status"
NEWS = (Term("kernel.panic.backfill", value=True, negate=True), Term(TRIAGE, "ignored", negate=True))
DIED = Term("kernel.panic.fatal", value=True)


def rules(options: Options = Options()) -> tuple[Rule, ...]:
    """Return the rules as a site wants them."""
    handled = (
        Term("triage.status", status, negate=True) for status in ("known", "fixed", "ignored", "regressed")
    )
    watched = " or ".join(options.watched_causes)
    made = (
        Rule(
            "new-signature",
            "New kernel-panic signature",
            "A fault that nobody has reported before.",
            "signatures",
            (
                (
                    Term("fatal", value=True),
                    Term("seeded", value=False),
                    Term("quality", "weak", negate=True),
                    *handled,
                ),
            ),
            minutes=15,
        ),
        Rule(
            "regression",
            "Kernel panic is back after its fix",
            "A fault on a kernel that, by the triage file, has it fixed.",
            "panics",
            ((Term(TRIAGE, "regressed"), NEWS[0]),),
            minutes=60,
            per=FINDING,
        ),
        Rule(
            "outbreak",
            "One kernel panic on many hosts",
            f"The same fault on {options.outbreak_hosts} hosts or more within an hour.",
            "panics",
            ((DIED, *NEWS),),
            minutes=60,
            per=FINDING,
            count=HOSTS,
            above=options.outbreak_hosts - 1,
        ),
        Rule(
            "watched-cause",
            "Kernel panic of a watched cause",
            f"A kernel died of {watched}.",
            "panics",
            tuple((Term("kernel.panic.cause", cause), DIED, *NEWS) for cause in options.watched_causes),
            minutes=15,
            once="event.id",
        ),
        Rule(
            "unparsed",
            "Kernel panic not fully understood",
            "A report that no grammar understands in full: new words of a kernel, or damaged text.",
            "panics",
            ((Term("kernel.panic.parse.status", "complete", negate=True), *NEWS),),
            minutes=15,
            once="event.id",
        ),
    )
    return tuple(rule for rule in made if rule.where)


RULES = rules()


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
    """Return the rule's documents that arrived from one date to just before another."""
    window = {"gte": start, "lt": end, "format": "strict_date_optional_time||epoch_millis"}
    return {"bool": {"filter": [{"range": {ARRIVED: window}}, _where(rule)]}}


def _window(rule: Rule, now: str) -> Json:
    """Return the documents of one check, in an engine's date words.

    Checks are a minute apart and each document is to be in one of them: the minute ends a minute ago, when
    what arrived in it can be found. A group's hour is looked at as a whole.
    """
    return _recent(rule, f"{now}||-{rule.minutes if rule.per else 2}m", f"{now}||-{0 if rule.per else 1}m")


# --- the message ------------------------------------------------------------------------------------


def _shown(source: Source) -> dict[str, str]:
    """Return what a message says of a document, label to field; a trace has a line of its own a frame."""
    if source == "signatures":
        names = {"Title": "title", "Cause": "cause", "Host": "host.name", "Kernel": "host.os.kernel"}
        return names | {"Signature": "id", "Reading": "summary", "Verdict": "why", "Trace": "trace"}
    return {
        "Title": "kernel.panic.title",
        "Cause": "kernel.panic.cause",
        "Host": "host.name",
        "Kernel": "host.os.kernel",
        "Signature": FINDING,
        "Ticket": "kernel.panic.triage.ticket",
        "Owner": "kernel.panic.triage.owner",
        "Fixed in": "kernel.panic.triage.fixed_in",
        "Reading": "kernel.panic.analysis.summary",
        "Verdict": "kernel.panic.analysis.why",
        "Trace": "error.stack_trace",
    }


def _mustache(source: Source, *, prefix: str = "_source.", raw: bool = False) -> str:
    """Return a document's lines for Mustache; a line is there where its field is."""
    value = "{{{.}}}" if raw else "{{.}}"
    lines = []
    for label, field in _shown(source).items():
        gap = "\n" if label == "Trace" else " "
        lines.append(f"{{{{#{prefix}{field}}}}}{label}:{gap}{value}\n{{{{/{prefix}{field}}}}}")
    return "".join(lines) + "\n"


def _jinja(source: Source) -> str:
    """Return a document's lines for Jinja; a line is there where its field is."""
    lines = []
    for label, field in _shown(source).items():
        first, *rest = field.split(".")
        found = first
        for part in rest:
            found = f"({found} or {{}}).{part}"
        shown = found
        if label == "Trace":
            shown = f"'\\n' ~ '\\n'.join({found}.splitlines()[:{TRACE_LINES}])"
        elif label == "Fixed in":
            shown = f"{found} | join(', ')"
        lines.append(f"{{% if {found} %}}{label}: {{{{ {shown} }}}}\n{{% endif %}}")
    return "".join(lines)


def _opening(rule: Rule) -> str:
    return f"{rule.name}: {rule.meaning}\n\n"


# --- Kibana -----------------------------------------------------------------------------------------


def kibana(options: Options = Options()) -> list[Request]:
    """Return the requests that create the rules in Kibana (below ``/s/<space>`` where there is one).

    Kibana takes no name for the id of what it encrypts, only a UUID.
    """
    return [
        Request("POST", f"/api/alerting/rule/{kibana_id(rule)}", _kibana(rule, options))
        for rule in rules(options)
    ]


def kibana_id(rule: Rule) -> str:
    """Return a rule's id: a UUID that looks random and is always the same."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"kpanic-{rule.id}".encode()).digest()[:16], version=4))


def _kibana(rule: Rule, options: Options) -> Json:
    common: Json = {
        "timeField": ARRIVED,
        "threshold": [0],
        "thresholdComparator": ">",
        "timeWindowSize": rule.minutes,
        "timeWindowUnit": "m",
    }
    if rule.per:  # only ES|QL counts distinct values
        params = {"searchType": "esqlQuery", "esqlQuery": {"esql": _esql(rule)}, "size": 0}
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
        "actions": _kibana_actions(rule, options),
    }


def _kibana_actions(rule: Rule, options: Options) -> list[Json]:
    if not options.kibana_connector:
        return []
    shown = "".join(f"{name.title()}: {{{{_source.{name}}}}}\n" for name in GROUP)
    shown = shown.replace("Count: ", f"{rule.count.label}: ")
    lines = f"{shown}\n" if rule.per else _mustache(rule.source)
    message = f"{_opening(rule)}{{{{#context.hits}}}}{lines}{{{{/context.hits}}}}"
    params: Json = {"message": message}
    if options.kibana_connector_type == ".webhook":
        params = {"body": json.dumps({"text": message})}
    elif options.kibana_connector_type == ".server-log":
        params["level"] = "warn"
    # A run reports what the one before did not; each is news.
    frequency = {"summary": False, "notify_when": "onActiveAlert", "throttle": None}
    return [
        {
            "group": "query matched",
            "id": options.kibana_connector,
            "params": params,
            "frequency": frequency,
        }
    ]


GROUP = {
    "signature": "",
    "count": "",
    "title": "kernel.panic.title",
    "cause": "kernel.panic.cause",
    "host": "host.name",
    "kernel": "host.os.kernel",
    "reading": "kernel.panic.analysis.summary",
    "verdict": "kernel.panic.analysis.why",
    "trace": "error.stack_trace",
}
"""Columns of a group in ES|QL, and of which field they are one value."""


def _esql(rule: Rule) -> str:
    """Return the groups that came to exceed the limit within the last two minutes.

    Those that exceeded it before were told of; two minutes rather than one, as runs are not on the second.
    """
    conditions = " OR ".join(_esql_terms(terms) for terms in rule.where)
    values = ", ".join(f"{name} = MAX({field})" for name, field in GROUP.items() if field)
    return (
        f"FROM {INDEX[rule.source]} | WHERE {conditions}"
        f" | EVAL earlier = CASE({ARRIVED} < NOW() - 2 minutes, {rule.count.field}, NULL)"
        f" | STATS count = COUNT_DISTINCT({rule.count.field}), before = COUNT_DISTINCT(earlier), {values}"
        f" BY signature = {rule.per} | WHERE count > {rule.above} AND before <= {rule.above}"
    )


def _esql_terms(terms: tuple[Term, ...]) -> str:
    parts = []
    for term in terms:
        value = json.dumps(term.value)
        absent = f" OR {term.field} IS NULL" if term.negate else ""
        parts.append(f"({term.field} {'!=' if term.negate else '=='} {value}{absent})")
    return "(" + " AND ".join(parts) + ")"


# --- OpenSearch -------------------------------------------------------------------------------------


def opensearch(options: Options = Options()) -> list[Request]:
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
    lines = _mustache(rule.source, raw=True)
    samples = f"{{{{#sample_documents}}}}{lines}{{{{/sample_documents}}}}"
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
    actions = _monitor_actions(rule, options.opensearch_channel, message, scope)
    # Ids of ours, so that doing it again changes nothing.
    named = {"id": f"kpanic-{rule.id}", "name": rule.id, "severity": "1", "actions": actions, **trigger}
    return monitor | {"monitor_type": kind, "inputs": [inputs], "triggers": [{level: named}]}


def _monitor_actions(rule: Rule, channel: str, message: str, scope: Json) -> list[Json]:
    if not channel:
        return []
    action: Json = {
        "id": f"kpanic-{rule.id}",
        "name": rule.id,
        "destination_id": channel,
        "throttle_enabled": False,
        "subject_template": {"source": rule.name, "lang": "mustache"},
        "message_template": {"source": _opening(rule) + message, "lang": "mustache"},
    }
    if scope:
        action["action_execution_policy"] = {"action_execution_scope": scope}
    return [action]


def _search(rule: Rule) -> Json:
    content: Json = {"query": _window(rule, "{{period_end}}"), "track_total_hits": True}
    if rule.per:
        return content | {"size": 0}
    newest = {"size": 10, "sort": [{ARRIVED: "desc"}], "_source": sorted(_shown(rule.source).values())}
    # Of one signature one document: a message is for reading.
    return content | newest | ({"collapse": {"field": rule.once}} if rule.once else {})


def _composite(rule: Rule) -> Json:
    source = {"group": {"terms": {"field": rule.per}}}
    hosts = {"cardinality": {"field": rule.count.field}}
    return {"groups": {"composite": {"size": 100, "sources": [source]}, "aggregations": {"count": hosts}}}


# --- ElastAlert2 ------------------------------------------------------------------------------------


def elastalert2(options: Options = Options()) -> dict[str, str]:
    """Return ElastAlert2's rule files, by name."""
    import yaml  # noqa: PLC0415

    return {
        f"kpanic-{rule.id}.yaml": f"# {rule.meaning}\n"
        + yaml.safe_dump(
            _elastalert(rule) | dict(options.elastalert2), sort_keys=False, width=110, allow_unicode=True
        )
        for rule in rules(options)
    }


def _counted(rule: Rule) -> set[str]:
    """Return the fields that the rule itself looks at."""
    return {rule.per, rule.count.field} if rule.per else {rule.once} - {""}


def _elastalert(rule: Rule) -> Json:
    made: Json = {
        "name": f"kpanic-{rule.id}",
        "index": INDEX[rule.source],
        "timestamp_field": ARRIVED,
        "use_keyword_postfix": False,
        "filter": [_where(rule)],
        "include": sorted({ARRIVED, *_shown(rule.source).values(), *_counted(rule)}),
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
    elif rule.once:
        made |= {"type": "any", "query_key": rule.once, "realert": {"days": 1}}
    else:
        made |= {"type": "any", "realert": {"minutes": 0}}
    made |= {
        "alert_subject": rule.name,
        "alert_text_type": "alert_text_jinja",
        "alert_text": _opening(rule) + _jinja(rule.source),
        "alert": ["debug"],
    }
    return made


# --- Grafana ----------------------------------------------------------------------------------------


def grafana(options: Options = Options()) -> str:
    """Return a provisioning file for Grafana: data sources ``kpanic-panics`` and ``kpanic-signatures``."""
    group = {
        "orgId": 1,
        "name": "kpanic",
        "folder": "Kernel panics",
        "interval": "1m",
        "rules": [_grafana(rule) for rule in rules(options)],
    }
    return json.dumps({"apiVersion": 1, "groups": [group]}, indent=2, sort_keys=True) + "\n"


def _labels(rule: Rule) -> dict[str, str]:
    """Return the fields to group by, which are labels then: of a document Grafana shows nothing else."""
    if rule.per:
        return {"Signature": rule.per, "Title": "kernel.panic.title", "Cause": "kernel.panic.cause"}
    if rule.source == "signatures":
        return _shown(rule.source)
    shown = _shown(rule.source)
    return {label: shown[label] for label in ("Signature", "Title", "Cause", "Host", "Kernel")}


def _grafana(rule: Rule) -> Json:
    metric = {"id": "1", "type": "count"}
    if rule.per:
        metric = {"id": "1", "type": "cardinality", "field": rule.count.field}
    shown = _labels(rule)
    # A document without a field is in no group of it: what may lack is grouped as empty.
    settings = {"size": "100", "order": "desc", "orderBy": "_term", "min_doc_count": "1", "missing": "-"}
    buckets: list[Json] = [
        {"id": str(10 + place), "type": "terms", "field": field, "settings": settings}
        for place, field in enumerate(shown.values())
    ]
    # Alerting needs a number: of a time series without gaps, the sum; of a group, the greatest.
    buckets.append(
        {
            "id": "30",
            "type": "date_histogram",
            "field": ARRIVED,
            "settings": {"interval": f"{rule.minutes}m", "min_doc_count": "0"},
        }
    )
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
    lines = "".join(f'{label}: {{{{ index $labels "{field}" }}}}\n' for label, field in shown.items())
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
        "annotations": {"summary": rule.meaning, "description": lines},
        "labels": {"kpanic": rule.id},
    }


# --- Watcher ----------------------------------------------------------------------------------------


def watcher(options: Options = Options()) -> list[Request]:
    """Return the requests that create the watches in Elasticsearch."""
    return [Request("PUT", f"/_watcher/watch/kpanic-{rule.id}", _watch(rule)) for rule in rules(options)]


def _watch(rule: Rule) -> Json:
    body: Json = {
        "size": 0 if rule.per else 10,
        "_source": sorted(_shown(rule.source).values()),
        "query": _window(rule, "{{ctx.trigger.scheduled_time}}"),
    }
    condition: Json = {"compare": {"ctx.payload.hits.total": {"gt": 0}}}
    lines = _mustache(rule.source)
    text = f"{{{{#ctx.payload.hits.hits}}}}{lines}{{{{/ctx.payload.hits.hits}}}}"
    if rule.per:
        newest = {"size": 1, "sort": [{ARRIVED: "desc"}], "_source": sorted(_shown(rule.source).values())}
        inner = {
            "count": {"cardinality": {"field": rule.count.field}},
            "newest": {"top_hits": newest},
        }
        # Whom the limit exceeds has as many documents at least.
        groups = {"field": rule.per, "size": 100, "min_doc_count": rule.above + 1}
        body["aggs"] = {"groups": {"terms": groups, "aggs": inner}}
        greater = {"path": "count.value", "gt": {"value": rule.above}}
        condition = {"array_compare": {"ctx.payload.aggregations.groups.buckets": greater}}
        text = (
            f"{{{{#ctx.payload.aggregations.groups.buckets}}}}{rule.count.label}: {{{{count.value}}}}\n"
            f"{{{{#newest.hits.hits}}}}{lines}{{{{/newest.hits.hits}}}}"
            "{{/ctx.payload.aggregations.groups.buckets}}"
        )
    elif rule.once:  # of one signature one document: a message is for reading
        body["collapse"] = {"field": rule.once}
    request = {
        "indices": [INDEX[rule.source]],
        "rest_total_hits_as_int": True,
        "body": body,
    }
    action: Json = {"logging": {"text": _opening(rule) + text}}
    if rule.per:  # the group is above the limit at each check of the hour
        action["throttle_period_in_millis"] = 900_000
    return {
        "metadata": {"name": rule.name, "description": rule.meaning},
        "trigger": {"schedule": {"interval": "1m"}},
        "input": {"search": {"request": request}},
        "condition": condition,
        "actions": {"log": action},
    }


def _requests(requests: list[Request]) -> str:
    rows = ({"method": one.method, "path": one.path, "body": one.body} for one in requests)
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)


def _files(files: dict[str, str]) -> str:
    """Return several YAML files as one stream."""
    return "---\n".join(f"# file: {name}\n{text}" for name, text in files.items())


RENDERERS: dict[str, Callable[[Options], str]] = {
    "kibana": lambda options: _requests(kibana(options)),
    "opensearch": lambda options: _requests(opensearch(options)),
    "elastalert2": lambda options: _files(elastalert2(options)),
    "grafana": grafana,
    "watcher": lambda options: _requests(watcher(options)),
}
"""The rules as a site wants them, in the words of a product."""
