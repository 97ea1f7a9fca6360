"""The dashboards as one NDJSON that OpenSearch Dashboards and Kibana both import.

The objects use only what both products read: aggregation-based visualizations, saved searches, index
patterns, and attributes that are in the mappings of OpenSearch Dashboards (``dynamic: strict``) and in the
schemas of Kibana. No field names the version that wrote them, so each product runs all its migrations.
"""

from __future__ import annotations

import json
from typing import Any

from kpanic.dashboards import templates
from kpanic.dashboards.panels import (
    COLUMNS,
    FACETS,
    FAULTS,
    INDEX,
    SIGNATURE,
    TIME,
    Dashboard,
    Panel,
    Source,
    flow,
    of_stack,
)
from kpanic.dashboards.products import vega
from kpanic.dashboards.products._saved_object import PATTERNS, nested, object_id, references, search_source
from kpanic.dashboards.products.visualizations import visualization

__all__ = ["ndjson"]

Json = dict[str, Any]

TYPES = {
    "boolean": "boolean",
    "date": "date",
    "double": "number",
    "ip": "ip",
    "keyword": "string",
    "long": "number",
    "text": "string",
}
"""Types of the engines' fields, by their names in the index patterns of both products."""
MINUTE = {"id": "date", "params": {"pattern": "YYYY-MM-DD HH:mm"}}
"""Format of a time that a narrow column shows whole."""


def ndjson(fleet: int | None = None) -> str:
    """Return the saved objects, one a line, each after those that it refers to.

    ``fleet`` is the number of all hosts, for the panel of the rate.
    """
    dashboards = of_stack(fleet)
    objects = [_pattern(source) for source in PATTERNS]
    for dashboard in dashboards:
        for panel in dashboard.panels:
            if panel.rate and fleet:
                objects.append(vega.rate(panel, fleet))
            elif panel.form == "documents":
                objects.append(_search(panel))
            else:
                objects.append(visualization(panel))
    objects += [_dashboard(dashboard) for dashboard in dashboards]
    return "".join(json.dumps(item, ensure_ascii=False, sort_keys=True) + "\n" for item in objects)


def _pattern(source: Source) -> Json:
    # A click on a signature opens its dashboard: both products complete a relative address with the
    # installation's base path and space.
    state = f"(query:(language:kuery,query:'{FAULTS.field}:%22{{{{value}}}}%22'))"
    link = {
        "id": "url",
        "params": {
            "urlTemplate": f"dashboards#/view/{object_id(SIGNATURE)}?_a={state}",
            "labelTemplate": "{{value}}",
            "openLinkInCurrentTab": True,
        },
    }
    field = "id" if source == "signatures" else FAULTS.field
    return {
        "id": PATTERNS[source],
        "type": "index-pattern",
        "attributes": {
            "title": INDEX[source],
            "timeFieldName": "event.ingested" if source == "signatures" else TIME,
            "fieldFormatMap": nested({field: link, TIME: MINUTE}),
            "fields": nested(_fields(source)),
        },
        "references": [],
    }


def _fields(source: Source) -> list[Json]:
    """Return an index pattern's fields; without them, each panel of a first visitor saves the pattern."""
    mappings = templates.BY_SOURCE[source]
    fields = [
        {
            "name": name,
            "type": TYPES[mapping["type"]],
            "esTypes": [mapping["type"]],
            "count": 0,
            "scripted": False,
            "searchable": mapping.get("index", True),
            "aggregatable": mapping["type"] != "text" and mapping.get("doc_values", True),
            "readFromDocValues": mapping["type"] != "text" and mapping.get("doc_values", True),
        }
        for name, mapping in mappings.items()
        if mapping["type"] in TYPES
    ]
    own = {"count": 0, "scripted": False, "readFromDocValues": False}
    fields += [
        own | {"name": name, "type": kind, "esTypes": [name], "searchable": shown, "aggregatable": shown}
        for name, kind, shown in (
            ("_id", "string", True),
            ("_index", "string", True),
            ("_source", "_source", False),
        )
    ]
    return sorted(fields, key=lambda field: str(field["name"]))


def _search(panel: Panel) -> Json:
    return {
        "id": object_id(panel),
        "type": "search",
        "attributes": {
            "title": f"Kernel panics: {panel.title}",
            "description": panel.question,
            "columns": list(COLUMNS),
            "sort": [[TIME, "desc"]],
            "hits": 0,
            "version": 1,
            "kibanaSavedObjectMeta": search_source(panel),
        },
        "references": references(panel.source),
    }


def _dashboard(dashboard: Dashboard) -> Json:
    panels, references = [], []
    for place, (panel, x, y) in enumerate(flow(dashboard)):
        name = f"panel_{place}"
        panels.append(
            {
                "version": "7.9.3",
                "panelIndex": panel.id,
                "gridData": {"x": x, "y": y, "w": panel.width, "h": panel.height, "i": panel.id},
                "embeddableConfig": {},
                "title": panel.title,
                "panelRefName": name,
            }
        )
        kind = "search" if panel.form == "documents" else "visualization"
        references.append({"name": name, "type": kind, "id": object_id(panel)})
    filters = []
    of_crashes = any(panel.source == "panics" for panel in dashboard.panels)
    for place, field in enumerate(FACETS if of_crashes else ()):
        name = f"kibanaSavedObjectMeta.searchSourceJSON.filter[{place}].meta.index"
        filters.append(_filter(field, name))
        references.append({"name": name, "type": "index-pattern", "id": PATTERNS["panics"]})
    everything = {"query": {"query": "", "language": "kuery"}, "filter": filters}
    return {
        "id": object_id(dashboard),
        "type": "dashboard",
        "attributes": {
            "title": dashboard.title,
            "description": dashboard.description,
            "hits": 0,
            "version": 1,
            "timeRestore": True,
            "timeFrom": f"now-{dashboard.days}d",
            "timeTo": "now",
            "refreshInterval": {"pause": True, "value": 0},
            "optionsJSON": nested({"hidePanelTitles": False, "useMargins": True}),
            "panelsJSON": nested(panels),
            "kibanaSavedObjectMeta": {"searchSourceJSON": nested(everything)},
        },
        "references": references,
    }


def _filter(field: str, index: str) -> Json:
    """Return a disabled filter for readers to edit: the products share no controls.

    A click on the filter offers the field's values, and the choice to exclude one.
    """
    meta = {
        "alias": None,
        "disabled": True,
        "negate": False,
        "type": "phrase",
        "key": field,
        "params": {"query": "*"},
        "indexRefName": index,
    }
    return {"$state": {"store": "appState"}, "meta": meta, "query": {"match_phrase": {field: "*"}}}
