"""A panel as the search of an engine, and the answer of the engine as rows.

Aggregations that OpenSearch and Elasticsearch both have: ``terms``, ``date_histogram``, ``cardinality``,
``min``, ``max``, ``sum``, ``top_hits``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from kpanic.dashboards.embedded import Row, Value, first
from kpanic.dashboards.panels import ANY, COLUMNS, TIME, Metric, Panel, Term

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]

EXACT = 40_000
"""Distinct values up to which a cardinality is exact; the maximum of both engines."""

NEAR = 3_000
"""The same limit for an answer with many groups: each group takes 16 KB of an engine's memory instead of 256
KB.
"""

NEWEST: list[Json] = [{TIME: "desc"}, {"event.id": {"order": "desc", "unmapped_type": "keyword"}}]
"""The order of documents, the newest first."""

__all__ = [
    "AGGREGATIONS",
    "EXACT",
    "NEAR",
    "NEWEST",
    "clause",
    "counts",
    "distinct",
    "lucene",
    "query",
    "read",
    "values",
    "words",
]

AGGREGATIONS: Final = {"earliest": "min", "latest": "max", "sum": "sum"}
"""Aggregations of metrics that are numbers or dates other than counts."""


def clause(where: Iterable[Term]) -> Json:
    """Return terms as a boolean query; without terms it matches everything."""
    terms = tuple(where)
    wanted = [_condition(term) for term in terms if not term.negate]
    unwanted = [_condition(term) for term in terms if term.negate]
    bool_query: Json = {}
    if wanted:
        bool_query["filter"] = wanted
    if unwanted:
        bool_query["must_not"] = unwanted
    return {"bool": bool_query} if bool_query else {"match_all": {}}


def _condition(term: Term) -> Json:
    return {"exists": {"field": term.field}} if term.value == ANY else {"term": {term.field: term.value}}


def lucene(where: Iterable[Term]) -> str:
    """Return terms in Lucene's syntax, which for these terms is also that of Kibana's query language."""
    return " AND ".join(
        f"{'NOT ' if term.negate else ''}{term.field}: {_quoted(term.value)}" for term in where
    )


def _quoted(value: str | bool) -> str:  # noqa: FBT001
    if isinstance(value, bool):
        return str(value).lower()
    if value == ANY:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def query(panel: Panel, where: Iterable[Term] = (), interval: timedelta = timedelta(days=1)) -> Json:
    """Return the body of the search that answers a panel.

    Groups are those of :func:`kpanic.dashboards.embedded.evaluate`.

    :param where: terms beside those of the panel.
    :param interval: width of a histogram's groups, which begin at 1970 UTC.
    """
    body: Json = {"size": 0, "query": clause((*panel.where, *where))}
    asked = counts(panel)
    if wanted := words(panel):
        asked["newest"] = {"top_hits": {"size": 1, "sort": NEWEST, "_source": wanted}}
    if panel.form == "documents":
        body |= {"size": panel.size, "sort": [{TIME: "desc"}], "_source": [TIME, *COLUMNS]}
    if not panel.by:
        return body | {"aggs": asked}
    inner = asked
    if panel.split:
        inner = {"split": {**_terms(panel.split, panel), "aggs": asked}, "m0": asked["m0"]}
    if panel.by == TIME:
        width = f"{interval // timedelta(milliseconds=1)}ms"
        groups: Json = {"date_histogram": {"field": TIME, "fixed_interval": width, "min_doc_count": 1}}
    else:
        groups = _terms(panel.by, panel)
    return body | {"aggs": {"groups": {**groups, "aggs": inner}}}


def _terms(field: str, panel: Panel) -> Json:
    return {"terms": {"field": field, "size": panel.size, "order": [{"m0": "desc"}, {"_key": "asc"}]}}


def counts(panel: Panel, exact: int = EXACT, *, grouped: bool = False) -> Json:
    """Return the aggregations of a panel's numbers and dates.

    :param exact: distinct values up to which a number is exact.
    :param grouped: as of :func:`distinct`.
    """
    return {
        f"m{place}": _metric(metric, exact, grouped=grouped)
        for place, metric in enumerate(panel.metrics)
        if metric.kind != "newest"
    }


def words(panel: Panel) -> list[str]:
    """Return the fields of a panel whose newest value it shows."""
    return [metric.field for metric in panel.metrics if metric.kind == "newest"]


def distinct(field: str, exact: int = EXACT, *, grouped: bool = False) -> Json:
    """Return the aggregation that counts the values of a field.

    :param exact: values up to which the number is exact.
    :param grouped: whether each of many groups has this aggregation. OpenSearch 3.4 would begin each with a
        bit for every value in the index, which takes five times as long as hashing the group's values.
    """
    hint = {"execution_hint": "direct"} if grouped else {}
    return {"cardinality": {"field": field, "precision_threshold": exact, **hint}}


def _metric(metric: Metric, exact: int, *, grouped: bool) -> Json:
    if metric.kind == "distinct":
        return distinct(metric.field, exact, grouped=grouped)
    return {AGGREGATIONS[metric.kind]: {"field": metric.field}}


def read(panel: Panel, response: Mapping[str, Any]) -> list[Row]:
    """Return the answer of an engine to :func:`query` as rows.

    :raises KeyError: the answer is to another query.
    """
    aggregations = response["aggregations"]
    if not panel.by:
        return [Row("", "", values(panel, aggregations))]
    rows = []
    for group in aggregations["groups"]["buckets"]:
        if panel.split:
            rows += [
                Row(group["key"], part["key"], values(panel, part)) for part in group["split"]["buckets"]
            ]
        else:
            rows.append(Row(group["key"], "", values(panel, group)))
    return rows


def values(panel: Panel, found: Mapping[str, Any]) -> tuple[Value, ...]:
    """Return the values of a panel's metrics.

    :param found: the answer to :func:`counts`, and ``newest``, the answer of ``top_hits`` with :func:`words`.
    """
    return tuple(
        _word(metric, found["newest"]) if metric.kind == "newest" else _number(found[f"m{place}"])
        for place, metric in enumerate(panel.metrics)
    )


def _word(metric: Metric, found: Mapping[str, Any]) -> Value:
    hits = found["hits"]["hits"]
    return (first(hits[0]["_source"], metric.field) or None) if hits else None


def _number(found: Mapping[str, Any]) -> Value:
    return None if found["value"] is None else int(found["value"])
