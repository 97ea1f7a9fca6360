"""Dashboards, templates, policies and alert rules as text, by kind and by product."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from kpanic.dashboards import templates
from kpanic.dashboards.products import (
    elastalert2,
    grafana_alerting,
    kibana_alerting,
    opensearch_alerting,
    saved_objects,
    watcher,
)
from kpanic.dashboards.products.request import ndjson
from kpanic.dashboards.rules import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Callable

    Renderer = Callable[[Options], str]


def _artefact(name: str) -> Renderer:
    return lambda _: (files("kpanic.dashboards") / "artefacts" / name).read_text(encoding="utf-8")


def _grafana(name: str) -> Renderer:
    """Return a renderer that puts the number of hosts into the dashboard's variable."""

    def render(options: Options) -> str:
        text = _artefact(name)(options)
        if not options.fleet:
            return text
        made = json.loads(text)
        for variable in made["templating"]["list"]:
            if variable["name"] == "fleet":
                hosts = {"selected": True, "text": str(options.fleet), "value": str(options.fleet)}
                variable |= {"current": hosts, "options": [hosts], "query": str(options.fleet)}
        return _pretty(made)

    return render


def _pretty(content: object) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


EXPORTS: dict[str, dict[str, Renderer]] = {
    "dashboard": {
        "opensearch-dashboards": lambda options: saved_objects.ndjson(options.fleet),
        "kibana": lambda options: saved_objects.ndjson(options.fleet),
        # Built by Grafana's SDK, which users of these files do not need.
        "grafana": _grafana("grafana-opensearch-panics.json"),
        "grafana-signature": _grafana("grafana-opensearch-signature.json"),
        "grafana-long-term": _grafana("grafana-opensearch-long-term.json"),
        "grafana-elasticsearch": _grafana("grafana-elasticsearch-panics.json"),
        "grafana-elasticsearch-signature": _grafana("grafana-elasticsearch-signature.json"),
        "grafana-elasticsearch-long-term": _grafana("grafana-elasticsearch-long-term.json"),
    },
    "template": {
        "opensearch": lambda _: _pretty(templates.panics_template("opensearch")),
        "elasticsearch": lambda _: _pretty(templates.panics_template("elasticsearch")),
    },
    "policy": {
        "opensearch": lambda _: _pretty(templates.policy("opensearch")),
        "elasticsearch": lambda _: _pretty(templates.policy("elasticsearch")),
    },
    "alert": {
        "kibana": lambda options: ndjson(kibana_alerting.requests(options)),
        "opensearch": lambda options: ndjson(opensearch_alerting.requests(options)),
        "elastalert2": lambda options: elastalert2.stream(elastalert2.files(options)),
        "grafana": grafana_alerting.provisioning,
        "watcher": lambda options: ndjson(watcher.requests(options)),
    },
}
"""Renderers by kind and format."""


def export(kind: str, format: str, options: Options = DEFAULTS) -> str:  # noqa: A002
    """Return a dashboard, template, policy or the alert rules in the format of a product.

    :raises LookupError: the kind or format does not exist; the message names the existing ones.
    """
    if kind not in EXPORTS:
        raise LookupError(f"no kind {kind!r}; there are {', '.join(EXPORTS)}")
    if format not in EXPORTS[kind]:
        raise LookupError(f"no format {format!r} of {kind}; there are {', '.join(EXPORTS[kind])}")
    return EXPORTS[kind][format](options)
