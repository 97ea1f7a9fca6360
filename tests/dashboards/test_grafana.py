"""Grafana's dashboards: their shape, and their queries on the real engines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kpanic.dashboards import templates
from kpanic.dashboards.embedded import evaluate
from kpanic.dashboards.panels import DASHBOARDS, SIGNATURE, TIME, Dashboard, Panel, of_fleet, of_stack
from kpanic.dashboards.products.grafana_dashboards import render
from kpanic.dashboards.products.grafana_queries import PLUGINS, target
from tests.dashboards.grafana import Parser, search

if TYPE_CHECKING:
    from kpanic.dashboards.products.grafana_queries import Product
    from tests.dashboards.conftest import Held, Indexed
    from tests.engines.search import Engine

WHOLE = of_fleet(1)
PAIRS = [(panel, dashboard) for dashboard in WHOLE for panel in dashboard.panels]


@pytest.mark.parametrize("product", PLUGINS)
@pytest.mark.parametrize("dashboard", of_stack(1), ids=lambda one: one.id)
def test_a_dashboard_is_whole(dashboard: Dashboard, product: Product) -> None:
    made = json.loads(render(dashboard, product))
    assert made["schemaVersion"] >= 42
    assert made["uid"] == f"kpanic-{dashboard.id}"
    assert [panel["title"] for panel in made["panels"]] == [panel.title for panel in dashboard.panels]
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["targets"][0]["datasource"]["type"] == PLUGINS[product]
    variables = {one["name"]: one for one in made["templating"]["list"]}
    sources = {panel["datasource"]["uid"].strip("${}") for panel in made["panels"]}
    assert sources <= variables.keys()
    assert all(variables[name]["query"] == PLUGINS[product] for name in sources)
    assert ("signature" in variables) is (dashboard is SIGNATURE)


@pytest.mark.parametrize("product", PLUGINS)
def test_filters_new_signatures_and_the_fleet_are_at_the_top(product: Product) -> None:
    panics, signature = (json.loads(render(dashboard, product)) for dashboard in DASHBOARDS)
    for made in (panics, signature):
        (filters,) = (one for one in made["templating"]["list"] if one["type"] == "adhoc")
        assert filters["datasource"] == {"type": PLUGINS[product], "uid": "${panics}"}
    (born,) = panics["annotations"]["list"]
    assert born["datasource"]["uid"] == "${signatures}"
    for place in (born, born["target"]):  # the two plugins read it from different places
        assert {
            place["timeField"],
            place["textField"],
            place["tagsField"],
        } <= templates.SIGNATURE_FIELDS.keys()
        assert place["query"] == "fatal: true"
    (hosts,) = (one for one in panics["templating"]["list"] if one["name"] == "fleet")
    assert (hosts["type"], hosts["query"]) == ("textbox", "1000")
    (rate,) = (panel for panel in panics["panels"] if "per 1,000 hosts" in panel["title"])
    steps = [one["options"] for one in rate["transformations"]]
    assert [step["mode"] for step in steps] == ["reduceRow", "binary", "binary"]
    names = [step["alias"] for step in steps]
    assert [step["binary"]["left"] for step in steps[1:]] == names[:-1]
    assert [step["binary"]["right"] for step in steps[1:]] == ["${fleet}", "1000"]
    assert rate["targets"][0]["bucketAggs"][0]["settings"]["interval"] == "1d"


def test_the_first_dashboard_leads_to_the_second() -> None:
    assert "/d/kpanic-signature?var-signature=${__value.text}" in render(DASHBOARDS[0], "opensearch")


@pytest.mark.parametrize(("panel", "dashboard"), PAIRS, ids=lambda one: one.id)
def test_a_target_shows_the_panels_numbers(
    panel: Panel, dashboard: Dashboard, engine: Engine, indexed: Indexed, held: Held
) -> None:
    query = target(panel, dashboard, engine.product)
    if panel.form == "documents":
        assert query["metrics"][0]["type"] == "raw_data"
        return
    query["query"] = query["query"].replace('"$signature"', "*")
    answer = engine.ask("POST", f"/{indexed(engine)[panel.source]}/_search", search(query))
    assert "aggregations" in answer, answer
    shown = Parser(query, answer["aggregations"])
    expected = evaluate(panel, held[panel.source])
    if panel.by == TIME:
        assert shown.series
        if not panel.split:
            (values,) = shown.series.values()
            assert sum(values) == sum(row.values[0] for row in expected if isinstance(row.values[0], int))
        return
    if not panel.by:
        (row,) = shown.rows
        assert int(row["m0"]) == expected[0].values[0]
    elif panel.split:
        assert {row[panel.by] for row in shown.rows} <= {row.key for row in expected}
        assert shown.rows
    else:
        found = {row[panel.by]: int(row["m0"]) for row in shown.rows if row["m0"]}
        keys = {row.key: row.values[0] for row in expected}
        same = found.keys() & keys.keys()  # engines differ in how they cut ties at the end of a list
        assert {key: found[key] for key in same} == {key: keys[key] for key in same}
        assert sorted(found.values()) == sorted(value for value in keys.values() if isinstance(value, int))


@pytest.mark.parametrize(("panel", "dashboard"), PAIRS, ids=lambda one: one.id)
def test_a_target_keeps_to_what_the_data_source_draws(panel: Panel, dashboard: Dashboard) -> None:
    query = target(panel, dashboard, "opensearch")
    kinds = [bucket["type"] for bucket in query["bucketAggs"]]
    assert kinds or panel.form == "documents"
    assert "filters" not in kinds
    for bucket in query["bucketAggs"][1:]:
        assert bucket["type"] == "date_histogram" or "missing" in bucket["settings"]


def test_targets_ask_for_indexed_fields() -> None:
    indexed = {"panics": templates.FIELDS, "signatures": templates.SIGNATURE_FIELDS}
    for panel, dashboard in PAIRS:
        query = target(panel, dashboard, "opensearch")
        asked = {one["field"] for one in (*query["metrics"], *query["bucketAggs"]) if "field" in one}
        asked -= {"data_stream.dataset"}  # no signature has the field, so its value is missing
        assert asked <= indexed[panel.source].keys(), panel.id
