"""OpenSearch's own readers of monitors and of retention policies, in a Java machine of their own.

The Alerting and Index Management plugins are not published as zips; what reads their documents is:
``Monitor.parse`` of ``org.opensearch:common-utils`` and ``ism.Policy`` of
``org.opensearch.client:opensearch-java``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engines import parts
from tests.engines.search import RELEASES

if TYPE_CHECKING:
    from tests.engines.search import Engine

Json = dict[str, Any]
VERSION = RELEASES["opensearch"][1]
MONITORS = (
    ("org.opensearch", "common-utils", f"{VERSION}.0"),
    ("org.jetbrains.kotlin", "kotlin-stdlib", "2.2.0"),
    ("com.cronutils", "cron-utils", "9.1.7"),
    ("commons-codec", "commons-codec", "1.18.0"),
)
POLICIES = (
    ("org.opensearch.client", "opensearch-java", VERSION),
    ("jakarta.json", "jakarta.json-api", "2.1.3"),
    ("org.eclipse.parsson", "parsson", "1.1.7"),
    ("com.fasterxml.jackson.core", "jackson-databind", "2.18.2"),
    ("com.fasterxml.jackson.core", "jackson-annotations", "2.18.2"),
)
MODEL = "org.opensearch.commons.alerting.model"
TRIGGERS = ("QueryLevelTrigger", "BucketLevelTrigger", "DocumentLevelTrigger")


def read(kind: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return documents (``monitors`` or ``policies``) as the engine writes them after it has read them."""
    jars = [parts.maven(*one) for one in (MONITORS if kind == "monitors" else POLICIES)]
    group, version = RELEASES["opensearch"]
    jars += sorted((parts.distribution(group, "opensearch", version) / "lib").glob("*.jar"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.monitors", kind, str(parts.java()), *map(str, jars)],
        input=json.dumps(documents),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise ValueError(done.stderr[-3000:])
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def bucket_level_alerts(
    engine: Engine, monitor: dict[str, Any], index: str, now: str
) -> list[dict[str, Any]]:
    """Return the new alerts of a bucket-level monitor's first run, by the plugin's own steps.

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
    """Return what a comparison in Painless says of its ``params``; no engine of the tests has Painless."""
    words = script.replace("params.", "").replace("&&", "and")
    return bool(eval(words, {"__builtins__": {}}, dict(numbers)))  # noqa: S307 - a comparison of ours


def _key(bucket: dict[str, Any]) -> str:
    return "#".join(str(value) for value in bucket["key"].values())


def _at(bucket: dict[str, Any], path: str) -> float:
    for part in path.split(">"):
        bucket = bucket[part]
    return float(bucket["value"])


def _monitors(texts: list[str]) -> list[str]:
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
    for text in texts:
        assert json.loads(text)["monitor_type"] in kinds, text
        parser = content.createParser(registry, refuse, text)
        parser.nextToken()
        monitor = of(f"{MODEL}.Monitor").parse(parser)
        told.append(str(monitor.toXContent(factory.jsonBuilder(), nothing).toString()))
    return told


def _policies(texts: list[str]) -> list[str]:
    import jpype  # noqa: PLC0415

    of = jpype.JClass
    mapper = of("org.opensearch.client.json.jackson.JacksonJsonpMapper")()
    told = []
    for text in texts:
        parser = mapper.jsonProvider().createParser(of("java.io.StringReader")(text))
        policy = of("org.opensearch.client.opensearch.ism.Policy")._DESERIALIZER.deserialize(  # noqa: SLF001
            parser, mapper
        )
        told.append(str(policy.toJsonString()))
    return told


def _main(kind: str, home: str, *jars: str) -> None:
    import jpype  # noqa: PLC0415

    jvm = next(Path(home).rglob("libjvm.so"))
    jpype.startJVM(str(jvm), "-Xmx256m", classpath=list(jars), convertStrings=False)
    texts = [json.dumps(one) for one in json.load(sys.stdin)]
    told = (_monitors if kind == "monitors" else _policies)(texts)
    sys.stdout.write(json.dumps([json.loads(text) for text in told]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
