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
from typing import Any

from tests.engines import parts
from tests.engines.search import RELEASES

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
