"""Translates a query as Grafana's data sources for OpenSearch and Elasticsearch do in their back ends.

Both share one parser (``pkg/opensearch/lucene_handler.go`` and ``response_parser.go`` of
grafana/opensearch-datasource; ``pkg/tsdb/elasticsearch`` of Grafana). Documents are filtered by the data
source's own time field, whatever the query names. Without a date histogram, only buckets in a list make
rows, and ``filters`` has none. A group without buckets inside another takes all rows before it away.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
Labels = tuple[tuple[str, str], ...]

TIME = "@timestamp"
"""The time field of a data source."""


def search(model: Json, span: tuple[int, int] | None = None) -> Json:
    """Return the search of a query; ``span`` is the time range, in milliseconds since 1970."""
    metrics = {}
    for metric in model["metrics"]:
        if metric["type"] == "count":
            continue
        body = {"field": metric["field"]}
        if "precision_threshold" in metric.get("settings", {}):
            body["precision_threshold"] = int(metric["settings"]["precision_threshold"])
        metrics[metric["id"]] = {metric["type"]: body}
    inner = metrics
    for bucket in reversed(model["bucketAggs"]):
        order = bucket["settings"].get("orderBy")
        ordering = {order: metrics[order]} if order in metrics else {}
        inner = {bucket["id"]: {bucket["type"]: _bucket(bucket, model), "aggs": inner | ordering}}
    filters: list[Json] = [{"query_string": {"query": model["query"], "analyze_wildcard": True}}]
    if span:
        filters.append({"range": {TIME: {"gte": span[0], "lte": span[1], "format": "epoch_millis"}}})
    return {"size": 0, "query": {"bool": {"filter": filters}}, "aggs": inner}


def _bucket(bucket: Json, model: Json) -> Json:
    settings = bucket["settings"]
    if bucket["type"] == "filters":
        named = {one["label"]: {"query_string": {"query": one["query"]}} for one in settings["filters"]}
        return {"filters": named}
    if bucket["type"] == "terms":
        order = settings["orderBy"].replace("_term", "_key")
        if order == "1" and model["metrics"][0]["type"] == "count":
            order = "_count"
        body = {"field": bucket["field"], "size": int(settings["size"]), "order": {order: settings["order"]}}
        return body | ({"missing": settings["missing"]} if "missing" in settings else {})
    interval = settings["interval"].replace("auto", "1h")
    # The empty hours of five years are too many buckets for a small engine.
    return {"field": bucket["field"], "fixed_interval": interval, "min_doc_count": 1}


class Parser:
    """Reads an engine's answer: ``rows`` of a table, or ``series`` of values by their labels."""

    def __init__(self, model: Json, aggregations: Json) -> None:
        self.model = model
        self.rows: list[Json] = []
        self.series: dict[Labels, list[float]] = {}
        self._read(aggregations, {}, 0)

    def _read(self, aggregations: Json, labels: dict[str, str], depth: int) -> None:
        bucket = self.model["bucketAggs"][depth]
        buckets = aggregations[bucket["id"]]["buckets"]
        if depth < len(self.model["bucketAggs"]) - 1:
            for one in buckets if isinstance(buckets, list) else ():
                key = str(one.get("key_as_string", one["key"]))
                self._read(one, labels | {bucket["field"]: key}, depth + 1)
            for name, one in buckets.items() if isinstance(buckets, dict) else ():
                self._read(one, labels | {"filter": name}, depth + 1)
        elif bucket["type"] == "date_histogram":
            for one in buckets:
                self.series.setdefault(tuple(sorted(labels.items())), []).append(self._values(one)[0])
        elif not buckets or isinstance(buckets, dict):
            self.rows.clear()
        else:
            for one in buckets:
                values = {f"m{place}": value for place, value in enumerate(self._values(one))}
                self.rows.append(labels | {bucket["field"]: one["key"]} | values)

    def _values(self, bucket: Json) -> list[float]:
        return [
            bucket["doc_count"] if metric["type"] == "count" else bucket[metric["id"]]["value"]
            for metric in self.model["metrics"]
        ]
