"""Index templates and retention policies of both engines, as data.

There is a template for the crashes (a data stream) and one for the signatures (a plain index), with field
types that OpenSearch and Elasticsearch both have in their core. The engines differ in two ways:

- Elasticsearch 9 rebuilds ``_source`` of ``logs-*`` streams from the index, which sorts arrays and drops
  repeats; ``synthetic_source_keep`` keeps arrays whose order matters. OpenSearch does not know it.
- Elasticsearch's retention is ILM, which the index settings name; OpenSearch's is ISM, which names its
  indices itself. ILM counts from the rollover, and the ISM policy does the same.
"""

from __future__ import annotations

from typing import Any, Literal

from kpanic.indices import PATTERN, SIGNATURES

__all__ = [
    "BY_SOURCE",
    "DAY_FIELDS",
    "FIELDS",
    "NAME",
    "SIGNATURE_FIELDS",
    "TOTAL_FIELDS",
    "Engine",
    "panics_template",
    "plain_index",
    "policy",
    "policy_path",
    "signatures_template",
]

Engine = Literal["elasticsearch", "opensearch"]
Json = dict[str, Any]

NAME = "kernel-panic"
VERSION = 1
PRIORITY = 250  # Elasticsearch's own logs-*-* is at 100

KEYWORD = {"type": "keyword", "ignore_above": 1024}
TEXT = {"type": "text", "norms": False}
DATE = {"type": "date"}
LONG = {"type": "long"}
DOUBLE = {"type": "double"}
BOOLEAN = {"type": "boolean"}
IP = {"type": "ip"}
KEPT = {"type": "keyword", "index": False, "doc_values": False}
"""Text of any length that is shown but never searched."""
OPAQUE = {"type": "object", "enabled": False}
ORDERED = KEYWORD | {"synthetic_source_keep": "arrays"}
LABELS = {"type": "object", "dynamic": True}

FIELDS: dict[str, Json] = {
    "@timestamp": DATE,
    "agent.ephemeral_id": KEYWORD,
    "agent.id": KEYWORD,
    "agent.name": KEYWORD,
    "agent.type": KEYWORD,
    "agent.version": KEYWORD,
    "data_stream.dataset": KEYWORD,
    "data_stream.namespace": KEYWORD,
    "data_stream.type": KEYWORD,
    "ecs.version": KEYWORD,
    "error.code": KEYWORD,
    "error.id": KEYWORD,
    "error.message": TEXT,
    "error.stack_trace": TEXT,
    "error.type": KEYWORD,
    "event.action": KEYWORD,
    "event.category": KEYWORD,
    "event.code": KEYWORD,
    "event.created": DATE,
    "event.dataset": KEYWORD,
    "event.hash": KEYWORD,
    "event.id": KEYWORD,
    "event.ingested": DATE,
    "event.kind": KEYWORD,
    "event.module": KEYWORD,
    "event.original": KEPT,
    "event.outcome": KEYWORD,
    "event.provider": KEYWORD,
    "event.reason": KEYWORD,
    "event.severity": LONG,
    "event.type": KEYWORD,
    "host.architecture": KEYWORD,
    "host.boot.id": KEYWORD,
    "host.hostname": KEYWORD,
    "host.id": KEYWORD,
    "host.ip": IP,
    "host.name": KEYWORD,
    "host.os.family": KEYWORD,
    "host.os.kernel": KEYWORD,
    "host.os.name": KEYWORD,
    "host.os.platform": KEYWORD,
    "host.os.type": KEYWORD,
    "host.os.version": KEYWORD,
    "host.uptime": LONG,
    "kernel.panic.analysis.confidence": KEYWORD,
    "kernel.panic.analysis.next": ORDERED,
    "kernel.panic.analysis.steps": ORDERED,
    "kernel.panic.analysis.summary": TEXT,
    "kernel.panic.analysis.vmcore_needed": BOOLEAN,
    "kernel.panic.analysis.why": TEXT,
    "kernel.panic.backfill": BOOLEAN,
    "kernel.panic.boot_image": KEYWORD,
    "kernel.panic.build": KEYWORD,
    "kernel.panic.call_trace": ORDERED,
    "kernel.panic.cause": KEYWORD,
    "kernel.panic.cause_detail": KEYWORD,
    "kernel.panic.code": KEPT,
    "kernel.panic.command_line": KEYWORD,
    "kernel.panic.consequences": ORDERED,
    "kernel.panic.cpu": LONG,
    "kernel.panic.fatal": BOOLEAN,
    "kernel.panic.fault_address": KEYWORD,
    "kernel.panic.function": KEYWORD,
    "kernel.panic.hardware.bios_date": KEYWORD,
    "kernel.panic.hardware.bios_version": KEYWORD,
    "kernel.panic.hardware.name": KEYWORD,
    "kernel.panic.hardware.product": KEYWORD,
    "kernel.panic.hardware.vendor": KEYWORD,
    "kernel.panic.hardware_errors": ORDERED,
    "kernel.panic.kind": KEYWORD,
    "kernel.panic.lost": LONG,
    "kernel.panic.modules": KEPT,
    "kernel.panic.oops.error": KEYWORD,
    "kernel.panic.oops.error_code": KEYWORD,
    "kernel.panic.oops.flags": KEYWORD,
    "kernel.panic.oops.number": LONG,
    "kernel.panic.parse.grammar_version": KEYWORD,
    "kernel.panic.parse.status": KEYWORD,
    "kernel.panic.parse.truncated": BOOLEAN,
    "kernel.panic.parse.repaired": BOOLEAN,
    "kernel.panic.preceded_by": ORDERED,
    "kernel.panic.registers": OPAQUE,
    "kernel.panic.rip.address": KEYWORD,
    "kernel.panic.rip.module": KEYWORD,
    "kernel.panic.rip.offset": LONG,
    "kernel.panic.rip.raw": KEYWORD,
    "kernel.panic.rip.signature": KEYWORD,
    "kernel.panic.rip.size": LONG,
    "kernel.panic.rip.symbol": KEYWORD,
    "kernel.panic.signature.id": KEYWORD,
    "kernel.panic.signature.quality": KEYWORD,
    "kernel.panic.signature.version": LONG,
    "kernel.panic.taint.flags": KEYWORD,
    "kernel.panic.taint.raw": KEYWORD,
    "kernel.panic.timestamp_source": KEYWORD,
    "kernel.panic.title": KEYWORD,
    "kernel.panic.trace_head": KEPT,
    "kernel.panic.triage.fixed_in": KEYWORD,
    "kernel.panic.triage.note": TEXT,
    "kernel.panic.triage.owner": KEYWORD,
    "kernel.panic.triage.status": KEYWORD,
    "kernel.panic.triage.ticket": KEYWORD,
    "kernel.panic.uptime": DOUBLE,
    "kernel.panic.vmcore.holder": KEYWORD,
    "kernel.panic.vmcore.lock": KEYWORD,
    "kernel.panic.vmcore.object": KEYWORD,
    "kernel.panic.vmcore.pointer": KEYWORD,
    "kernel.panic.vmcore.skipped": ORDERED,
    "kernel.panic.vmcore.source": KEYWORD,
    "kernel.panic.vmcore.status": KEYWORD,
    "labels": LABELS,
    "log.file.path": KEYWORD,
    "log.syslog.appname": KEYWORD,
    "log.syslog.facility.code": LONG,
    "log.syslog.facility.name": KEYWORD,
    "log.syslog.hostname": KEYWORD,
    "log.syslog.priority": LONG,
    "log.syslog.severity.code": LONG,
    "log.syslog.severity.name": KEYWORD,
    "message": TEXT,
    "observer.hostname": KEYWORD,
    "process.name": KEYWORD,
    "process.pid": LONG,
    "process.thread.id": LONG,
    "related.hash": KEYWORD,
    "related.hosts": KEYWORD,
    "tags": KEYWORD,
}
"""Indexed fields of a document; it keeps the others in its source."""

SIGNATURE_FIELDS: dict[str, Json] = {
    "@timestamp": DATE,
    "event.ingested": DATE,
    "id": KEYWORD,
    "version": LONG,
    "quality": KEYWORD,
    "summary": KEYWORD,
    "why": KEYWORD,
    "next": KEYWORD,
    "machine": KEYWORD,
    "trace": KEYWORD,
    "triage.owner": KEYWORD,
    "triage.status": KEYWORD,
    "triage.ticket": KEYWORD,
    "seeded": BOOLEAN,
    "title": KEYWORD,
    "kind": KEYWORD,
    "cause": KEYWORD,
    "function": KEYWORD,
    "fatal": BOOLEAN,
    "host.name": KEYWORD,
    "host.os.kernel": KEYWORD,
}
"""Fields of a signature's document, which its first crash creates; ``seeded`` ones do not alert.

Texts of a message are keywords: Grafana shows only the fields that a document is grouped by.
"""

TOTAL_FIELDS: dict[str, Json] = {
    "@timestamp": DATE,
    "counted": DATE,
    "first": DATE,
    "host.os.kernel": KEYWORD,
    "hosts": LONG,
    "incidents": LONG,
    "kernel.panic.cause": KEYWORD,
    "kernel.panic.signature.id": KEYWORD,
    "kernel.panic.signature.quality": KEYWORD,
    "kernel.panic.title": KEYWORD,
}
"""Fields of the totals of a signature: crashes received until ``counted``, the last one at ``@timestamp``."""

DAY_FIELDS: dict[str, Json] = {
    "@timestamp": DATE,
    "counted": DATE,
    "group": KEYWORD,
    "host.os.kernel": KEYWORD,
    "hosts": LONG,
    "incidents": LONG,
    "kernel.panic.cause": KEYWORD,
    "kernel.panic.hardware.product": KEYWORD,
    "kernel.panic.rip.module": KEYWORD,
    "kernel.panic.rip.symbol": KEYWORD,
    "kernel.panic.signature.id": KEYWORD,
    "kernel.panic.taint.flags": KEYWORD,
    "kernel.panic.title": KEYWORD,
}
"""Fields of the count of a day's panics that share a value of the field ``group``, or of all panics of the
day.
"""

BY_SOURCE: dict[str, dict[str, Json]] = {"panics": FIELDS, "signatures": SIGNATURE_FIELDS, "days": DAY_FIELDS}
"""Fields of the documents of each source of panels."""

_META = {"managed_by": "kpanic", "description": "Kernel panics, one document each"}


def panics_template(engine: Engine, *, lifecycle: bool = True) -> Json:
    """Return the body of ``PUT _index_template/kernel-panic``.

    :param lifecycle: whether the settings name the policy, for an Elasticsearch with ILM.
    """
    settings: Json = {
        "index.number_of_shards": 1,
        "index.auto_expand_replicas": "0-1",  # green on a single node, too
        "index.codec": "best_compression",
    }
    if engine == "elasticsearch" and lifecycle:
        settings["index.lifecycle.name"] = NAME
    return {
        "index_patterns": [PATTERN],
        "data_stream": {},
        "priority": PRIORITY,
        "version": VERSION,
        "_meta": _META,
        "template": {"settings": settings, "mappings": _mappings(FIELDS, engine)},
    }


def signatures_template(engine: Engine) -> Json:
    """Return the body of ``PUT _index_template/kernel-panic-signatures``."""
    return {
        "index_patterns": [SIGNATURES],
        "priority": PRIORITY,
        "version": VERSION,
        "_meta": _META | {"description": "The first crash of each signature; deleting one re-arms its alert"},
        "template": {
            "settings": {"index.number_of_shards": 1, "index.auto_expand_replicas": "0-1"},
            "mappings": _mappings(SIGNATURE_FIELDS, engine),
        },
    }


def plain_index(fields: dict[str, Json], engine: Engine) -> Json:
    """Return the body of ``PUT`` of an index with these fields."""
    return {
        "settings": {"index.number_of_shards": 1, "index.auto_expand_replicas": "0-1"},
        "mappings": _mappings(fields, engine),
    }


def policy_path(engine: Engine) -> str:
    """Return the path of the retention policy."""
    return f"/_ilm/policy/{NAME}" if engine == "elasticsearch" else f"/_plugins/_ism/policies/{NAME}"


def policy(engine: Engine) -> Json:
    """Return the retention policy: a new index each year or at 50 GB, deleted two years later."""
    if engine == "elasticsearch":
        rollover = {"max_primary_shard_size": "50gb", "max_age": "365d"}
        return {
            "policy": {
                "_meta": _META,
                "phases": {
                    "hot": {"actions": {"rollover": rollover}},
                    "delete": {"min_age": "730d", "actions": {"delete": {}}},
                },
            }
        }
    return {
        "policy": {
            "description": "Kernel panics: a new index each year or at 50 GB, deleted two years later",
            "default_state": "hot",
            "states": [
                {
                    "name": "hot",
                    "actions": [{"rollover": {"min_index_age": "365d", "min_primary_shard_size": "50gb"}}],
                    "transitions": [{"state_name": "delete", "conditions": {"min_rollover_age": "730d"}}],
                },
                {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
            ],
            "ism_template": [{"index_patterns": [PATTERN], "priority": 100}],
        }
    }


def _mappings(fields: dict[str, Json], engine: Engine) -> Json:
    """Nest dotted names. Other fields are not indexed, so that no text can flood the mapping."""
    properties: Json = {}
    for name, kind in fields.items():
        *parents, leaf = name.split(".")
        place = properties
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        place[leaf] = {
            key: value
            for key, value in kind.items()
            if engine == "elasticsearch" or key != "synthetic_source_keep"
        }
    return {
        "dynamic": False,
        "_meta": {"ecs": "9.4.0"},
        "dynamic_templates": [{"labels": {"path_match": "labels.*", "mapping": KEYWORD}}],
        "properties": properties,
    }
