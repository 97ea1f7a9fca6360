"""A panel as an aggregation-based visualization (``visState``) of OpenSearch Dashboards and Kibana."""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import TIME, Metric, Panel
from kpanic.dashboards.products._saved_object import envelope, references, search_source
from kpanic.dashboards.query import AGGREGATIONS

__all__ = ["visualization"]

Json = dict[str, Any]


def visualization(panel: Panel) -> Json:
    """Return the saved object that draws a panel."""
    state = {
        "title": panel.title,
        "type": _TYPES[panel.form],
        "aggs": _aggregations(panel),
        "params": _params(panel),
    }
    return envelope(panel, state, search_source(panel), references(panel.source))


TRUNCATE = 30
"""Maximum characters of a label: the axis is as wide as the longest label, and the bars get the rest."""
HEAT = ((1, 2), (2, 5), (5, 20), (20, 100), (100, 1_000_000))
"""Ranges of a heat map's colours, so that one panic differs from none; the colours begin with yellow."""
_TYPES = {
    "number": "metric",
    "histogram": "histogram",
    "bars": "horizontal_bar",
    "heatmap": "heatmap",
    "table": "table",
}


def _aggregations(panel: Panel) -> list[Json]:
    metrics = [_metric(str(place), metric) for place, metric in enumerate(panel.narrow or panel.metrics, 1)]
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
    return _aggregation(name, AGGREGATIONS[metric.kind], "metric", {"field": metric.field} | label)


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
                    "fontSize": 18 if panel.metrics[0].field == TIME else 32,
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
            "colorsNumber": len(HEAT),
            "colorSchema": "Yellow to Red",
            "setColorRange": True,
            "colorsRange": [{"from": low, "to": high} for low, high in HEAT],
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
    """Return the parameters of a bar chart; ``lying`` bars are horizontal."""
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
                "labels": {"show": True, "filter": not lying, "truncate": TRUNCATE, "rotate": 0},
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
