"""OpenSearch's own code that reads monitors and retention policies, in a separate JVM.

The Alerting and Index Management plugins are not published as zips; what reads their documents is:
``Monitor.parse`` of ``org.opensearch:common-utils`` and ``ism.Policy`` of
``org.opensearch.client:opensearch-java``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.engines import jvm
from tests.engines.search import RELEASES

if TYPE_CHECKING:
    from tests.engines.jvm import Artifact
    from tests.engines.search import Engine

Json = dict[str, Any]
VERSION = RELEASES["opensearch"][1]
MONITORS: list[Artifact] = [
    ("org.opensearch", "common-utils", f"{VERSION}.0"),
    ("org.jetbrains.kotlin", "kotlin-stdlib", "2.2.0"),
    ("com.cronutils", "cron-utils", "9.1.7"),
    ("commons-codec", "commons-codec", "1.18.0"),
]
POLICIES: list[Artifact] = [
    ("org.opensearch.client", "opensearch-java", VERSION),
    ("jakarta.json", "jakarta.json-api", "2.1.3"),
    ("org.eclipse.parsson", "parsson", "1.1.7"),
    ("com.fasterxml.jackson.core", "jackson-databind", "2.18.2"),
    ("com.fasterxml.jackson.core", "jackson-annotations", "2.18.2"),
]
MODEL = "org.opensearch.commons.alerting.model"
TRIGGERS = ("QueryLevelTrigger", "BucketLevelTrigger", "DocumentLevelTrigger")


def read(kind: str, documents: list[Json]) -> list[Json]:
    """Return documents (``monitors`` or ``policies``), read and written by the engine's code."""
    artifacts = MONITORS if kind == "monitors" else POLICIES
    found: list[Json] = jvm.call(f"tests.engines.monitors:{kind}", artifacts, documents)
    return found


def bucket_level_alerts(
    engine: Engine, monitor: dict[str, Any], index: str, now: str
) -> list[dict[str, Any]]:
    """Return the new alerts of a bucket-level monitor's first run, computed by the plugin's code.

    The search runs as it stands; ``parent_bucket_path`` and ``buckets_path`` give the script its numbers. The
    sample documents of an alert come from a second search, with the five newest and the five oldest documents
    of each bucket, and are looked for in an aggregation named ``composite_agg`` and in no other
    (``BucketLevelMonitorRunner.kt``, Alerting 3.4).
    """
    (only,) = monitor["inputs"]
    (trigger,) = (one["bucket_level_trigger"] for one in monitor["triggers"])
    search = json.loads(json.dumps(only["search"]["query"]).replace("{{period_end}}", now))
    condition = trigger["condition"]
    answer = engine.ask("POST", f"/{index}/_search", search)
    assert "aggregations" in answer, answer
    firing = []
    for bucket in answer["aggregations"][condition["parent_bucket_path"]]["buckets"]:
        numbers = {name: _at(bucket, path) for name, path in condition["buckets_path"].items()}
        if compared(condition["script"]["source"], numbers):
            firing.append(_key(bucket))
    for groups in search["aggregations"].values():
        for name, order in (("top_hits", "desc"), ("low_hits", "asc")):
            newest = {"size": 5, "sort": [{"event.ingested": order}]}
            groups["aggregations"] |= {name: {"top_hits": newest}}
    answer = engine.ask("POST", f"/{index}/_search", search)
    samples = {}
    for bucket in answer["aggregations"].get("composite_agg", {}).get("buckets", ()):
        newest, oldest = (bucket[name]["hits"]["hits"] for name in ("top_hits", "low_hits"))
        samples[_key(bucket)] = [*newest, *reversed(oldest)]
    return [{"bucket_keys": key, "sample_documents": samples.get(key, [])} for key in firing]


def compared(script: str, numbers: dict[str, float]) -> bool:
    """Evaluate a comparison in Painless with ``params``; no engine of the tests has Painless."""
    words = script.replace("params.", "").replace("&&", "and")
    return bool(eval(words, {"__builtins__": {}}, dict(numbers)))  # noqa: S307 - a trusted comparison


def _key(bucket: dict[str, Any]) -> str:
    return "#".join(str(value) for value in bucket["key"].values())


def _at(bucket: dict[str, Any], path: str) -> float:
    for part in path.split(">"):
        bucket = bucket[part]
    return float(bucket["value"])


def monitors(documents: list[Json]) -> list[Json]:
    """Read and write monitors, in the process with the JVM."""
    import jpype  # noqa: PLC0415

    of = jpype.JClass
    entries = of("org.opensearch.search.SearchModule")(
        of("org.opensearch.common.settings.Settings").EMPTY, of("java.util.ArrayList")()
    ).getNamedXContents()
    for name in ("Monitor", "SearchInput", "DocLevelMonitorInput", *TRIGGERS):
        companion = of(f"{MODEL}.{name}").class_.getField("Companion").get(None)
        entries.add(companion.getXCONTENT_REGISTRY())
    registry = of("org.opensearch.core.xcontent.NamedXContentRegistry")(entries)
    refuse = of("org.opensearch.core.xcontent.DeprecationHandler").THROW_UNSUPPORTED_OPERATION
    content = of("org.opensearch.common.xcontent.XContentType").JSON.xContent()
    factory = of("org.opensearch.common.xcontent.XContentFactory")
    nothing = of("org.opensearch.core.xcontent.ToXContent").EMPTY_PARAMS
    kinds = {str(kind.getValue()) for kind in of(f"{MODEL}.Monitor$MonitorType").values()}
    told = []
    for document in documents:
        assert document["monitor_type"] in kinds, document
        text = json.dumps(document)
        parser = content.createParser(registry, refuse, text)
        parser.nextToken()
        monitor = of(f"{MODEL}.Monitor").parse(parser)
        told.append(json.loads(str(monitor.toXContent(factory.jsonBuilder(), nothing).toString())))
    return told


def policies(documents: list[Json]) -> list[Json]:
    """Read and write retention policies, in the process with the JVM."""
    import jpype  # noqa: PLC0415

    of = jpype.JClass
    mapper = of("org.opensearch.client.json.jackson.JacksonJsonpMapper")()
    told = []
    for document in documents:
        reader = of("java.io.StringReader")(json.dumps(document))
        parser = mapper.jsonProvider().createParser(reader)
        policy = of("org.opensearch.client.opensearch.ism.Policy")._DESERIALIZER.deserialize(  # noqa: SLF001
            parser, mapper
        )
        told.append(json.loads(str(policy.toJsonString())))
    return told
