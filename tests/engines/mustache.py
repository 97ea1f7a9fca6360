"""Messages as the products render them: OpenSearch's Mustache engine, and mustache.js, which Kibana uses.

Watcher has the engine that OpenSearch's was forked from, told that it writes plain text.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from tests.engines import parts
from tests.engines.search import RELEASES

ROOT = Path(__file__).parents[2]
Template = tuple[str, dict[str, Any]]
"""A template and what it is rendered of."""
TYPES = {"opensearch": "application/json", "watcher": "text/plain"}
"""What each product's own templates are of, so how ``{{value}}`` is escaped; ``{{{value}}}`` never is."""
SCRIPT = """
const mustache = require("mustache");
let text = "";
process.stdin.on("data", (part) => (text += part)).on("end", () => {
  const unescaped = { escape: (value) => value };
  const made = JSON.parse(text).map(([template, of]) => mustache.render(template, of, {}, unescaped));
  process.stdout.write(JSON.stringify(made));
});
"""


def render(product: Literal["opensearch", "watcher", "kibana"], templates: list[Template]) -> list[str]:
    """Return each template rendered."""
    if product == "kibana":
        command: list[str] = ["node", "-e", SCRIPT]
        folder = parts.node_module("mustache", "4.2.0")
    else:
        group, version = RELEASES["opensearch"]
        jars = [
            parts.maven("org.opensearch.plugin", "lang-mustache-client", version),
            parts.maven("com.github.spullara.mustache.java", "compiler", "0.9.14"),
            *sorted((parts.distribution(group, "opensearch", version) / "lib").glob("*.jar")),
        ]
        command = [sys.executable, "-m", "tests.engines.mustache", TYPES[product], str(parts.java())]
        command += map(str, jars)
        folder = ROOT
    done = subprocess.run(
        command,
        input=json.dumps(templates),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise ValueError(done.stderr[-3000:])
    made: list[str] = json.loads(done.stdout)
    return made


def _main(kind: str, home: str, *jars: str) -> None:
    import jpype  # noqa: PLC0415

    jvm = next(Path(home).rglob("libjvm.so"))
    jpype.startJVM(str(jvm), "-Xmx256m", classpath=list(jars), convertStrings=False)
    of = jpype.JClass
    engine = of("org.opensearch.script.mustache.MustacheScriptEngine")()
    context = of("org.opensearch.script.TemplateScript").CONTEXT
    options = of("java.util.HashMap")()
    options.put("content_type", kind)
    registry = of("org.opensearch.core.xcontent.NamedXContentRegistry").EMPTY
    refuse = of("org.opensearch.core.xcontent.DeprecationHandler").THROW_UNSUPPORTED_OPERATION
    content = of("org.opensearch.common.xcontent.XContentType").JSON.xContent()
    made = []
    for template, given in json.load(sys.stdin):
        values = content.createParser(registry, refuse, json.dumps(given)).map()
        made.append(str(engine.compile("message", template, context, options).newInstance(values).execute()))
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    _main(*sys.argv[1:])
