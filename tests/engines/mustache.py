"""Renders messages with the products' engines: OpenSearch's Mustache, and mustache.js, which Kibana uses.

Watcher has the engine that OpenSearch's was forked from, told that it writes plain text.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Literal

from tests.engines import jvm, parts
from tests.engines.search import RELEASES

if TYPE_CHECKING:
    from tests.engines.jvm import Artifact

Template = tuple[str, dict[str, Any]]
"""A template and its context."""
TYPES = {"opensearch": "application/json", "watcher": "text/plain"}
"""The content type of each product's templates, which decides how ``{{value}}`` is escaped."""
SCRIPT = """
const mustache = require("mustache");
let text = "";
process.stdin.on("data", (part) => (text += part)).on("end", () => {
  const unescaped = { escape: (value) => value };
  const made = JSON.parse(text).map(([template, of]) => mustache.render(template, of, {}, unescaped));
  process.stdout.write(JSON.stringify(made));
});
"""


ENGINE: list[Artifact] = [
    ("org.opensearch.plugin", "lang-mustache-client", RELEASES["opensearch"][1]),
    ("com.github.spullara.mustache.java", "compiler", "0.9.14"),
]


def render(product: Literal["opensearch", "watcher", "kibana"], templates: list[Template]) -> list[str]:
    """Return the rendered templates."""
    made: list[str]
    if product != "kibana":
        made = jvm.call("tests.engines.mustache:opensearch", ENGINE, templates, TYPES[product])
        return made
    done = subprocess.run(
        ["node", "-e", SCRIPT],
        input=json.dumps(templates),
        cwd=parts.node_module("mustache", "4.2.0"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise ValueError(done.stderr[-3000:])
    made = json.loads(done.stdout)
    return made


def opensearch(templates: list[Template], kind: str) -> list[str]:
    """Render templates of a content type with OpenSearch's engine, in the process with the JVM."""
    import jpype  # noqa: PLC0415

    of = jpype.JClass
    engine = of("org.opensearch.script.mustache.MustacheScriptEngine")()
    context = of("org.opensearch.script.TemplateScript").CONTEXT
    options = of("java.util.HashMap")()
    options.put("content_type", kind)
    registry = of("org.opensearch.core.xcontent.NamedXContentRegistry").EMPTY
    refuse = of("org.opensearch.core.xcontent.DeprecationHandler").THROW_UNSUPPORTED_OPERATION
    content = of("org.opensearch.common.xcontent.XContentType").JSON.xContent()
    made = []
    for template, given in templates:
        values = content.createParser(registry, refuse, json.dumps(given)).map()
        made.append(str(engine.compile("message", template, context, options).newInstance(values).execute()))
    return made
