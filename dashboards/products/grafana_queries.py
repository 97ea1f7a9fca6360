"""A panel as a query of Grafana's data sources for OpenSearch and Elasticsearch, which share one format."""

from __future__ import annotations

from typing import Any, Literal

from kpanic.dashboards.panels import TIME, Dashboard, Metric, Panel
from kpanic.dashboards.query import AGGREGATIONS, EXACT, lucene

__all__ = ["MISSING", "PLUGINS", "Product", "target"]

Json = dict[str, Any]
Product = Literal["opensearch", "elasticsearch"]

PLUGINS: dict[Product, str] = {
    "opensearch": "grafana-opensearch-datasource",
    "elasticsearch": "elasticsearch",
}
"""Ids of the data source plugins."""


MISSING = "-"
"""Group of the documents without a field: without it, an empty inner group removes the whole table."""
_ALL = "data_stream.dataset"
"""Field with one value in every crash and none in a signature: the plugins draw no metric without ``terms``.
"""


def target(panel: Panel, of: Dashboard, product: Product) -> Json:
    """Return the query of a panel: Lucene for the documents, the plugins' own shape for the groups."""
    words = lucene(panel.where)
    if of.about:
        words = " AND ".join(filter(None, (words, f'{of.about}: "$signature"')))
    query: Json = {
        "refId": "A",
        "query": words or "*",
        "timeField": TIME,
        "datasource": {"type": PLUGINS[product], "uid": "${" + panel.source + "}"},
    }
    if product == "opensearch":
        query |= {"queryType": "lucene", "luceneQueryType": "Metric", "format": "table"}
    if panel.form == "documents":
        if product == "opensearch":
            query["luceneQueryType"] = "RawData"
        kind = {"id": "1", "type": "raw_data", "settings": {"size": str(panel.size)}}
        return query | {"metrics": [kind], "bucketAggs": []}
    metrics = [
        _metric(str(place), metric)
        for place, metric in enumerate(panel.metrics, 1)
        if metric.kind != "newest"
    ]
    return query | {"metrics": metrics, "bucketAggs": _buckets(panel)}


def _buckets(panel: Panel) -> list[Json]:
    if not panel.by:
        return [_terms("10", _ALL, 1, missing=True)]
    if panel.by == TIME:
        settings = {"interval": "1d" if panel.rate else "auto", "min_doc_count": "0"}
        time = {"id": "11", "type": "date_histogram", "field": TIME, "settings": settings}
        return [*([_terms("10", panel.split, panel.size)] if panel.split else []), time]
    groups = [_terms("10", panel.by, panel.size)]
    if panel.split:
        groups.append(_terms("11", panel.split, panel.size, missing=True))
    words = [metric.field for metric in panel.metrics if metric.kind == "newest"]
    return groups + [_terms(str(20 + place), field, 1, missing=True) for place, field in enumerate(words)]


def _terms(name: str, field: str, size: int, *, missing: bool = False) -> Json:
    settings = {"order": "desc", "orderBy": "1", "size": str(size), "min_doc_count": "1"}
    settings |= {"missing": MISSING} if missing else {}
    return {"id": name, "type": "terms", "field": field, "settings": settings}


def _metric(name: str, metric: Metric) -> Json:
    if metric.kind == "distinct":
        settings = {"precision_threshold": str(EXACT)}
        return {"id": name, "type": "cardinality", "field": metric.field, "settings": settings}
    return {"id": name, "type": AGGREGATIONS[metric.kind], "field": metric.field}
