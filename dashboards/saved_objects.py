"""The dashboards as one NDJSON that OpenSearch Dashboards and Kibana both import.

Saved objects as both read them: aggregation-based visualizations, saved searches, index patterns; only
attributes that are in the mappings of the one (``dynamic: strict``) and the schemas of the other; and no
field that says which version wrote it, so that each runs its own migrations from the oldest on.
"""

from __future__ import annotations

import json
from typing import Any

from kpanic.dashboards.panels import (
    COLUMNS,
    FACETS,
    FAULTS,
    INDEX,
    SIGNATURE,
    TIME,
    Dashboard,
    Metric,
    Panel,
    Source,
    of_fleet,
)
from kpanic.dashboards.query import clause, lucene, query

Json = dict[str, Any]

PATTERNS: dict[Source, str] = {"panics": "kpanic-panics", "signatures": "kpanic-signatures"}
"""Ids of the index patterns (Kibana calls them data views)."""
_SEARCH_SOURCE_INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
_COLUMNS = 48


def ndjson(fleet: int | None = None) -> str:
    """Return the saved objects, one a line: what panels refer to comes before what refers to it.

    ``fleet`` is how many hosts there are in all, for the panel of the rate.
    """
    dashboards = of_fleet(fleet)
    objects = [_pattern(source) for source in PATTERNS]
    for dashboard in dashboards:
        for panel in dashboard.panels:
            if panel.rate and fleet:
                objects.append(_rate(panel, fleet))
            else:
                objects.append(_search(panel) if panel.form == "documents" else _visualization(panel))
    objects += [_dashboard(dashboard) for dashboard in dashboards]
    return "".join(json.dumps(item, ensure_ascii=False, sort_keys=True) + "\n" for item in objects)


def _nested(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _pattern(source: Source) -> Json:
    # A click on a signature opens its dashboard: a relative address is completed with the
    # installation's base path and space, in both products.
    state = f"(query:(language:kuery,query:'{FAULTS.field}:%22{{{{value}}}}%22'))"
    link = {
        "id": "url",
        "params": {
            "urlTemplate": f"dashboards#/view/{_id(SIGNATURE)}?_a={state}",
            "labelTemplate": "{{value}}",
            "openLinkInCurrentTab": True,
        },
    }
    field = FAULTS.field if source == "panics" else "id"
    return {
        "id": PATTERNS[source],
        "type": "index-pattern",
        "attributes": {
            "title": INDEX[source],
            "timeFieldName": TIME if source == "panics" else "event.ingested",
            "fieldFormatMap": _nested({field: link}),
        },
        "references": [],
    }


def _id(thing: Panel | Dashboard) -> str:
    return f"kpanic-{thing.id}"


def _index(source: Source) -> list[Json]:
    return [{"name": _SEARCH_SOURCE_INDEX, "type": "index-pattern", "id": PATTERNS[source]}]


def _meta(panel: Panel) -> Json:
    source = {
        "indexRefName": _SEARCH_SOURCE_INDEX,
        "query": {"query": lucene(panel.where), "language": "kuery"},
        "filter": [],
    }
    return {"searchSourceJSON": _nested(source)}


def _search(panel: Panel) -> Json:
    return {
        "id": _id(panel),
        "type": "search",
        "attributes": {
            "title": f"Kernel panics: {panel.title}",
            "description": panel.question,
            "columns": list(COLUMNS),
            "sort": [[TIME, "desc"]],
            "hits": 0,
            "version": 1,
            "kibanaSavedObjectMeta": _meta(panel),
        },
        "references": _index(panel.source),
    }


def _visualization(panel: Panel) -> Json:
    state = {
        "title": panel.title,
        "type": _TYPES[panel.form],
        "aggs": _aggregations(panel),
        "params": _params(panel),
    }
    return _drawn(panel, state, _meta(panel), _index(panel.source))


def _drawn(panel: Panel, state: Json, meta: Json, references: list[Json]) -> Json:
    """Return the object around what draws a panel."""
    return {
        "id": _id(panel),
        "type": "visualization",
        "attributes": {
            "title": f"Kernel panics: {panel.title}",
            "description": panel.question,
            "visState": _nested(state),
            "uiStateJSON": "{}",
            "version": 1,
            "kibanaSavedObjectMeta": meta,
        },
        "references": references,
    }


def _rate(panel: Panel, fleet: int) -> Json:
    """Return a chart of its own for what no aggregation divides: Vega, which both products draw."""
    (histogram,) = query(panel)["aggs"].values()
    edges = {side: {"%timefilter%": side} for side in ("min", "max")}
    histogram["date_histogram"] |= {"min_doc_count": 0, "extended_bounds": edges}
    # The dashboard's filters are the query, so the panel's own have to be an aggregation.
    chosen = {"filter": clause(panel.where), "aggs": {"days": histogram}}
    days = {
        "name": "days",
        "url": {
            "%context%": True,
            "%timefield%": TIME,
            "index": INDEX[panel.source],
            "body": {"size": 0, "aggs": {"chosen": chosen}},
        },
        "format": {"property": "aggregations.chosen.days.buckets"},
        "transform": [
            {"type": "formula", "as": "rate", "expr": f"1000 * datum.m0.value / {fleet}"},
            {"type": "formula", "as": "end", "expr": "datum.key + 86400000"},
        ],
    }
    times = {"data": "days", "fields": ["key", "end"]}
    tip = "{Day: utcFormat(datum.key, '%Y-%m-%d'), Rate: format(datum.rate, '.3~g'), Panics: datum.m0.value}"
    spec = {
        "$schema": "https://vega.github.io/schema/vega/v5.json",
        "description": f"{panel.title}, of {fleet} hosts",
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 5,
        "data": [days],
        "scales": [
            {"name": "x", "type": "utc", "domain": times, "range": "width"},
            {
                "name": "y",
                "type": "linear",
                "domain": {"data": "days", "field": "rate"},
                "range": "height",
                "nice": True,
                "zero": True,
            },
        ],
        "axes": [
            {"orient": "bottom", "scale": "x"},
            {"orient": "left", "scale": "y", "grid": True, "tickCount": 4},
        ],
        "marks": [
            {
                "type": "rect",
                "from": {"data": "days"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "key"},
                        "x2": {"scale": "x", "field": "end", "offset": -1},
                        "y": {"scale": "y", "field": "rate"},
                        "y2": {"scale": "y", "value": 0},
                        "fill": {"value": "#2f62d9"},
                        "tooltip": {"signal": tip},
                    }
                },
            }
        ],
    }
    state = {"title": panel.title, "type": "vega", "aggs": [], "params": {"spec": _nested(spec)}}
    everything = {"query": {"query": "", "language": "kuery"}, "filter": []}
    return _drawn(panel, state, {"searchSourceJSON": _nested(everything)}, [])


_TYPES = {
    "number": "metric",
    "histogram": "histogram",
    "bars": "horizontal_bar",
    "heatmap": "heatmap",
    "table": "table",
}


def _aggregations(panel: Panel) -> list[Json]:
    metrics = [_metric(str(place), metric) for place, metric in enumerate(panel.metrics, 1)]
    if not panel.by:
        return metrics
    here, below = str(len(metrics) + 1), str(len(metrics) + 2)
    group = "bucket" if panel.form == "table" else "segment"
    if panel.by == TIME:
        params: Json = {
            "field": TIME,
            "useNormalizedEsInterval": True,
            "interval": "auto",
            "drop_partials": False,
            "min_doc_count": 1,
            "extended_bounds": {},
        }
        buckets = [_aggregation(here, "date_histogram", group, params)]
    else:
        buckets = [_aggregation(here, "terms", group, _terms(panel, panel.by, panel.label))]
    if panel.split:
        buckets.append(_aggregation(below, "terms", "group", _terms(panel, panel.split, "")))
    return metrics + buckets


def _aggregation(name: str, kind: str, schema: str, params: Json) -> Json:
    return {"id": name, "enabled": True, "type": kind, "schema": schema, "params": params}


def _terms(panel: Panel, field: str, label: str) -> Json:
    params = {
        "field": field,
        "orderBy": "1",
        "order": "desc",
        "size": panel.size,
        "otherBucket": False,
        "missingBucket": False,
    }
    return params | ({"customLabel": label} if label else {})


def _metric(name: str, metric: Metric) -> Json:
    label = {"customLabel": metric.label}
    if metric.kind == "distinct":
        return _aggregation(name, "cardinality", "metric", {"field": metric.field} | label)
    if metric.kind == "newest":
        params = {
            "field": metric.field,
            "aggregate": "concat",
            "size": 1,
            "sortField": TIME,
            "sortOrder": "desc",
        }
        return _aggregation(name, "top_hits", "metric", params | label)
    kind = "min" if metric.kind == "earliest" else "max"
    return _aggregation(name, kind, "metric", {"field": metric.field} | label)


def _params(panel: Panel) -> Json:
    if panel.form == "number":
        return {
            "addTooltip": True,
            "addLegend": False,
            "type": "metric",
            "metric": {
                "percentageMode": False,
                "useRanges": False,
                "colorSchema": "Green to Red",
                "metricColorMode": "None",
                "colorsRange": [{"from": 0, "to": 10000}],
                "labels": {"show": True},
                "invertColors": False,
                "style": {
                    "bgFill": "#000",
                    "bgColor": False,
                    "labelColor": False,
                    "subText": "",
                    "fontSize": 32 if panel.metrics[0].kind == "distinct" else 18,
                },
            },
        }
    if panel.form == "table":
        return {
            "perPage": 10,
            "showPartialRows": False,
            "showMetricsAtAllLevels": False,
            "showTotal": False,
            "totalFunc": "sum",
            "percentageCol": "",
        }
    if panel.form == "heatmap":
        return {
            "type": "heatmap",
            "addTooltip": True,
            "addLegend": True,
            "enableHover": False,
            "legendPosition": "right",
            "times": [],
            "colorsNumber": 5,
            "colorSchema": "Reds",
            "setColorRange": False,
            "colorsRange": [],
            "invertColors": False,
            "percentageMode": False,
            "valueAxes": [
                {
                    "show": False,
                    "id": "ValueAxis-1",
                    "type": "value",
                    "scale": {"type": "linear", "defaultYExtents": False},
                    "labels": {
                        "show": True,
                        "rotate": 0,
                        "overwriteColor": False,
                        "color": "black",
                    },
                }
            ],
        }
    return _bars(panel, lying=panel.form == "bars")


def _bars(panel: Panel, *, lying: bool) -> Json:
    """Return what the bar charts of both products need; ``lying`` bars grow to the right."""
    return {
        "type": "histogram",
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "left" if lying else "bottom",
                "show": True,
                "style": {},
                "scale": {"type": "linear"},
                "labels": {"show": True, "filter": not lying, "truncate": 200, "rotate": 0},
                "title": {},
            }
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": "BottomAxis-1" if lying else "LeftAxis-1",
                "type": "value",
                "position": "bottom" if lying else "left",
                "show": True,
                "style": {},
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {"show": True, "rotate": 0, "filter": True, "truncate": 100},
                "title": {"text": panel.metrics[0].label},
            }
        ],
        "seriesParams": [
            {
                "show": True,
                "type": "histogram",
                "mode": "stacked",
                "data": {"label": panel.metrics[0].label, "id": "1"},
                "valueAxis": "ValueAxis-1",
                "drawLinesBetweenPoints": True,
                "lineWidth": 2,
                "showCircles": True,
            }
        ],
        "addTooltip": True,
        "addLegend": bool(panel.split),
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": lying},
        "thresholdLine": {
            "show": False,
            "value": 10,
            "width": 1,
            "style": "full",
            "color": "#E7664C",
        },
    }


def _dashboard(dashboard: Dashboard) -> Json:
    panels, references = [], []
    for place, (panel, x, y) in enumerate(flow(dashboard, _COLUMNS)):
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
        references.append({"name": name, "type": kind, "id": _id(panel)})
    filters = []
    for place, field in enumerate(FACETS):
        name = f"kibanaSavedObjectMeta.searchSourceJSON.filter[{place}].meta.index"
        filters.append(_filter(field, name))
        references.append({"name": name, "type": "index-pattern", "id": PATTERNS["panics"]})
    everything = {"query": {"query": "", "language": "kuery"}, "filter": filters}
    return {
        "id": _id(dashboard),
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
            "optionsJSON": _nested({"hidePanelTitles": False, "useMargins": True}),
            "panelsJSON": _nested(panels),
            "kibanaSavedObjectMeta": {"searchSourceJSON": _nested(everything)},
        },
        "references": references,
    }


def _filter(field: str, index: str) -> Json:
    """Return a filter that is switched off, to be edited: neither product's controls are the other's.

    A click on it offers the field's values, and to leave one out.
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


def flow(dashboard: Dashboard, columns: int) -> list[tuple[Panel, int, int]]:
    """Return each panel with its column and row: from the left, a new row where one no longer fits."""
    places = []
    x = y = tallest = 0
    for panel in dashboard.panels:
        if x + panel.width > columns:
            x, y, tallest = 0, y + tallest, 0
        places.append((panel, x, y))
        x += panel.width
        tallest = max(tallest, panel.height)
    return places
