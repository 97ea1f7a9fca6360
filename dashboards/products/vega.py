"""The rate of panics as a Vega chart, which both products draw: no aggregation divides by a number."""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import INDEX, TIME, Panel
from kpanic.dashboards.products._saved_object import envelope, nested
from kpanic.dashboards.query import clause, query

__all__ = ["rate"]

Json = dict[str, Any]


def rate(panel: Panel, fleet: int) -> Json:
    """Return the saved object of the chart."""
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
    state = {"title": panel.title, "type": "vega", "aggs": [], "params": {"spec": nested(spec)}}
    everything = {"query": {"query": "", "language": "kuery"}, "filter": []}
    return envelope(panel, state, {"searchSourceJSON": nested(everything)}, [])
