"""The bundle for OpenSearch Dashboards and Kibana contains only what both importers accept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import vl_convert

from kpanic.dashboards import export, templates
from kpanic.dashboards.embedded import evaluate, first, milliseconds
from kpanic.dashboards.panels import FACETS, INDEX, RATE, TIME, of_stack
from kpanic.dashboards.panels import fields as fields_of_panels
from kpanic.dashboards.products.saved_objects import ndjson

if TYPE_CHECKING:
    from tests.dashboards.conftest import Held, Indexed
    from tests.engines.search import Engine

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
TEXTS = {"visState", "fieldFormatMap", "fields"}
"""Attributes that contain JSON, besides those with JSON in their name."""
PORTABLE = {"metric", "table", "histogram", "horizontal_bar", "pie", "heatmap"}
SCHEMAS = {
    "metric": {"metric"},
    "table": {"metric", "bucket"},
    "histogram": {"metric", "segment", "group"},
    "horizontal_bar": {"metric", "segment", "group"},
    "heatmap": {"metric", "segment", "group"},
}
OBJECTS = [json.loads(line) for line in ndjson(fleet=2_000).splitlines()]
VISUALIZATIONS = [one for one in OBJECTS if one["type"] == "visualization" and one["id"] != "kpanic-rate"]


def nested(node: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Parse every string whose name says that it is JSON, recursively."""
    if isinstance(node, dict):
        return {
            key: nested(
                json.loads(child)
                if key.endswith("JSON") or key in {"visState", "fieldFormatMap", "fields"}
                else child
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
    assert len(panels) == sum(len(dashboard.panels) for dashboard in of_stack(1))


@pytest.mark.parametrize("one", VISUALIZATIONS, ids=lambda one: one["id"])
def test_a_visualization_is_portable_and_asks_for_indexed_fields(one: dict[str, Any]) -> None:
    state = json.loads(one["attributes"]["visState"])
    assert state["type"] in PORTABLE
    indexed = templates.BY_SOURCE[one["references"][0]["id"].removeprefix("kpanic-")]
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


def test_index_patterns_bring_their_fields() -> None:
    """Otherwise every panel of a first visitor requests and saves the pattern, and all but one conflict."""
    patterns = {one["id"]: nested(one["attributes"]) for one in OBJECTS if one["type"] == "index-pattern"}
    for source, mappings in templates.BY_SOURCE.items():
        fields = {field["name"]: field for field in patterns[f"kpanic-{source}"]["fields"]}
        assert fields.keys() >= {name for name, field in mappings.items() if field["type"] != "object"}
        for name in ("_id", "_index", "_source"):
            assert not fields[name]["scripted"]
        assert fields[patterns[f"kpanic-{source}"]["timeFieldName"]]["type"] == "date"
        asked = {field for asked_source, field in fields_of_panels(of_stack(None)) if asked_source == source}
        assert asked
        assert all(fields[name]["aggregatable"] for name in asked)


def test_a_time_is_short_enough_for_a_column() -> None:
    for one in OBJECTS:
        if one["type"] == "index-pattern":
            formats = json.loads(one["attributes"]["fieldFormatMap"])
            assert len(formats[TIME]["params"]["pattern"]) <= 16


WIDTHS = {f"kpanic-{panel.id}": panel.width for dashboard in of_stack(1) for panel in dashboard.panels}


@pytest.mark.parametrize("one", VISUALIZATIONS, ids=lambda one: one["id"])
def test_a_visualization_can_be_read_in_its_width(one: dict[str, Any]) -> None:
    """Columns share a table's width, an axis is as wide as its longest label, most colours start white."""
    state = json.loads(one["attributes"]["visState"])
    if state["type"] == "table":
        assert len(state["aggs"]) * 6 <= WIDTHS[one["id"]]
    for axis in state["params"].get("categoryAxes", ()):
        assert axis["labels"]["truncate"] <= 30
    if state["type"] == "heatmap":
        params = state["params"]
        assert params["colorSchema"] not in {"Blues", "Greens", "Greys", "Reds"}, "these begin with white"
        assert params["setColorRange"]
        ranges = [(one["from"], one["to"]) for one in params["colorsRange"]]
        assert ranges[0][0] == 1
        assert [low for low, _ in ranges[1:]] == [high for _, high in ranges[:-1]]


def test_a_signature_links_to_its_dashboard() -> None:
    for one in OBJECTS:
        if one["type"] == "index-pattern":
            formats = json.loads(one["attributes"]["fieldFormatMap"])
            (link,) = (made for made in formats.values() if made["id"] == "url")
            assert link["params"]["urlTemplate"].startswith("dashboards#/view/kpanic-signature?")


def test_filters_are_there_to_be_edited() -> None:
    dashboards = [one for one in OBJECTS if one["type"] == "dashboard"]
    for one in dashboards:
        filters = nested(one["attributes"])["kibanaSavedObjectMeta"]["searchSourceJSON"]["filter"]
        keys = [made["meta"]["key"] for made in filters]
        assert keys == ([] if one["id"] == "kpanic-long-term" else list(FACETS))
        names = {ref["name"] for ref in one["references"]}
        for made in filters:
            assert made["meta"]["disabled"] is True
            assert made["meta"]["indexRefName"] in names
            assert made["query"] == {"match_phrase": {made["meta"]["key"]: made["meta"]["params"]["query"]}}
    assert len(dashboards) == len(of_stack(1))


def test_without_a_fleet_there_is_no_rate() -> None:
    assert "kpanic-rate" not in ndjson()
    assert "kpanic-rate" in ndjson(fleet=1)


def test_the_rate_is_drawn_from_an_engines_answer(engine: Engine, indexed: Indexed, held: Held) -> None:
    (rate,) = (one for one in OBJECTS if one["id"] == "kpanic-rate")
    spec = json.loads(nested(rate["attributes"])["visState"]["params"]["spec"])
    days = spec["data"][0]
    moments = [milliseconds(first(one, TIME)) for one in held["panics"]]
    # Both products insert the time range of the dashboard.
    body = json.loads(
        json.dumps(days["url"]["body"])
        .replace('{"%timefilter%": "min"}', str(min(moments)))
        .replace('{"%timefilter%": "max"}', str(max(moments)))
    )
    assert "query" not in body, "the dashboard's own goes there"
    answer = engine.ask("POST", f"/{indexed(engine)['panics']}/_search", body)
    assert days["format"]["property"] == "aggregations.chosen.days.buckets"
    buckets = answer["aggregations"]["chosen"]["days"]["buckets"]
    counted = {bucket["key"]: bucket["m0"]["value"] for bucket in buckets if bucket["m0"]["value"]}
    assert counted == {row.key: row.values[0] for row in evaluate(RATE, held["panics"])}
    spec["data"][0] = {"name": "days", "values": buckets, "transform": days["transform"]}
    drawn = vl_convert.vega_to_svg(spec | {"width": 900, "height": 200})
    assert drawn.count('fill="#2f62d9"') == len(buckets) >= len(counted)


def test_both_products_get_the_same() -> None:
    assert export("dashboard", "kibana") == export("dashboard", "opensearch-dashboards") == ndjson()
