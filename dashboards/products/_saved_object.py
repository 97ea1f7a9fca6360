"""Common parts of saved objects: ids, references, and the envelope of a visualization."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.query import lucene

if TYPE_CHECKING:
    from kpanic.dashboards.panels import Dashboard, Panel, Source

__all__ = ["PATTERNS", "envelope", "nested", "object_id", "references", "search_source"]

Json = dict[str, Any]

PATTERNS: dict[Source, str] = {
    "panics": "kpanic-panics",
    "signatures": "kpanic-signatures",
    "days": "kpanic-days",
}
"""Ids of the index patterns (Kibana calls them data views)."""
_SEARCH_SOURCE_INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"


def nested(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def object_id(thing: Panel | Dashboard) -> str:
    return f"kpanic-{thing.id}"


def references(source: Source) -> list[Json]:
    return [{"name": _SEARCH_SOURCE_INDEX, "type": "index-pattern", "id": PATTERNS[source]}]


def search_source(panel: Panel) -> Json:
    source = {
        "indexRefName": _SEARCH_SOURCE_INDEX,
        "query": {"query": lucene(panel.where), "language": "kuery"},
        "filter": [],
    }
    return {"searchSourceJSON": nested(source)}


def envelope(panel: Panel, state: Json, meta: Json, references: list[Json]) -> Json:
    """Return the saved object around a visualization's state."""
    return {
        "id": object_id(panel),
        "type": "visualization",
        "attributes": {
            "title": f"Kernel panics: {panel.title}",
            "description": panel.question,
            "visState": nested(state),
            "uiStateJSON": "{}",
            "version": 1,
            "kibanaSavedObjectMeta": meta,
        },
        "references": references,
    }
