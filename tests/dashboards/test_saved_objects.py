"""The bundle for OpenSearch Dashboards and Kibana keeps to what both importers take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dashboards import export, templates
from dashboards.panels import DASHBOARDS, INDEX, TIME
from dashboards.saved_objects import ndjson

ALLOWED = {
    "dashboard": {
        "title", "description", "hits", "version", "panelsJSON", "optionsJSON", "timeRestore", "timeFrom",
        "timeTo", "refreshInterval", "kibanaSavedObjectMeta",
    },
    "visualization": {
        "title", "description", "visState", "uiStateJSON", "version", "savedSearchRefName",
        "kibanaSavedObjectMeta",
    },
    "search": {"title", "description", "columns", "sort", "hits", "version", "kibanaSavedObjectMeta"},
    "index-pattern": {"title", "timeFieldName", "fields", "fieldFormatMap"},
}  # fmt: skip
"""Attributes in the mappings of OpenSearch Dashboards and in the schemas of Kibana."""
PORTABLE = {"metric", "table", "histogram", "horizontal_bar", "pie", "heatmap"}
SCHEMAS = {
    "metric": {"metric"},
    "table": {"metric", "bucket"},
    "histogram": {"metric", "segment", "group"},
    "horizontal_bar": {"metric", "segment", "group"},
    "heatmap": {"metric", "segment", "group"},
}
OBJECTS = [json.loads(line) for line in ndjson().splitlines()]
VISUALIZATIONS = [one for one in OBJECTS if one["type"] == "visualization"]


def nested(node: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Parse every string that is JSON by its name, all the way down."""
    if isinstance(node, dict):
        return {
            key: nested(
                json.loads(child) if key.endswith("JSON") or key in {"visState", "fieldFormatMap"} else child
            )
            for key, child in node.items()
        }
    return [nested(child) for child in node] if isinstance(node, list) else node


@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: one["id"])
def test_an_object_has_what_both_products_know_and_no_version(one: dict[str, Any]) -> None:
    assert set(one) == {"id", "type", "attributes", "references"}
    assert one["attributes"].keys() <= ALLOWED[one["type"]]
    assert nested(one["attributes"])


def test_every_reference_is_in_the_bundle_and_every_name_is_referred_to() -> None:
    there = {(one["type"], one["id"]) for one in OBJECTS}
    assert len(there) == len(OBJECTS)
    for one in OBJECTS:
        assert {(ref["type"], ref["id"]) for ref in one["references"]} <= there
        text = json.dumps(nested(one["attributes"]))
        for ref in one["references"]:
            assert f'"{ref["name"]}"' in text, ref
    panels = [
        panel["panelRefName"]
        for one in OBJECTS
        if one["type"] == "dashboard"
        for panel in nested(one["attributes"])["panelsJSON"]
    ]
    assert len(panels) == sum(len(dashboard.panels) for dashboard in DASHBOARDS)


@pytest.mark.parametrize("one", VISUALIZATIONS, ids=lambda one: one["id"])
def test_a_visualization_is_portable_and_asks_for_indexed_fields(one: dict[str, Any]) -> None:
    state = json.loads(one["attributes"]["visState"])
    assert state["type"] in PORTABLE
    source = "panics" if one["references"][0]["id"] == "kpanic-panics" else "signatures"
    indexed = {"panics": templates.FIELDS, "signatures": templates.SIGNATURE_FIELDS}[source]
    names = [agg["id"] for agg in state["aggs"]]
    assert len(set(names)) == len(names)
    assert all(name.isdigit() for name in names)
    for agg in state["aggs"]:
        assert agg["params"]["field"] in indexed
        assert agg["schema"] in SCHEMAS[state["type"]]
        if agg["type"] == "terms":
            assert agg["params"]["orderBy"] in names
    assert state["aggs"][0]["type"] != "count", "documents are never counted"


def test_panels_do_not_overlap() -> None:
    for one in OBJECTS:
        if one["type"] != "dashboard":
            continue
        taken: set[tuple[int, int]] = set()
        for panel in nested(one["attributes"])["panelsJSON"]:
            grid = panel["gridData"]
            assert grid["x"] + grid["w"] <= 48
            cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
            assert not cells & taken, panel["panelIndex"]
            taken |= cells


def test_index_patterns_name_the_indices_and_their_time() -> None:
    patterns = {one["id"]: one["attributes"] for one in OBJECTS if one["type"] == "index-pattern"}
    assert {one["title"] for one in patterns.values()} == set(INDEX.values())
    assert patterns["kpanic-panics"]["timeFieldName"] == TIME in templates.FIELDS
    assert patterns["kpanic-signatures"]["timeFieldName"] in templates.SIGNATURE_FIELDS


def test_a_signature_links_to_its_dashboard() -> None:
    for one in OBJECTS:
        if one["type"] == "index-pattern":
            (link,) = json.loads(one["attributes"]["fieldFormatMap"]).values()
            assert link["params"]["urlTemplate"].startswith("dashboards#/view/kpanic-signature?")


def test_both_products_get_the_same() -> None:
    assert export("dashboard", "kibana") == export("dashboard", "opensearch-dashboards") == ndjson()
