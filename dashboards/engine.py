"""Answers of an engine about all its documents, however many; a report holds only the newest of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kpanic.dashboards.embedded import Row, Value, first, milliseconds
from kpanic.dashboards.panels import (
    CAUSE,
    FATAL,
    FAULTS,
    FIRST,
    HOSTS,
    INCIDENTS,
    LAST,
    TIME,
    TITLE,
    Dashboard,
    Panel,
    Term,
    of_fleet,
)
from kpanic.dashboards.query import EXACT, NEAR, clause, metrics, query, read, values
from kpanic.dashboards.summary import COUNTED

__all__ = ["Ask", "answers", "figures", "rows"]

Json = dict[str, Any]
Ask = Callable[[Json], Json]
"""Sends the body of a search in the documents of crashes, and returns the answer."""
DAY = timedelta(days=1)
"""Width of a histogram's groups; the page joins them where its bars are wider."""
PAGE = 1_000
"""Groups of one answer, which bounds what an engine holds in memory for it."""
PARTS = 200
"""Parts of a day; the page joins those that have no colour of their own."""
_ALL = Panel("all", "", "", "number", (INCIDENTS, HOSTS, FIRST, LAST))


def answers(ask: Ask, dashboard: Dashboard = of_fleet(1)[0]) -> Json:  # noqa: B008 - a constant
    """Return what the page shows of all documents as long as nothing is filtered.

    The lines of a heat map, which are the most frequent parts of its groups, have rows of their own.

    :returns: ``panels``, for each panel its rows: key, part of a split group, and the metrics' values;
        ``all``, the number of incidents and hosts, and the first and last time; ``firsts``, for each
        signature the time of its first crash, whether it was fatal, its title and its cause.
    :raises KeyError: the engine answered something else.
    """
    firsts = _firsts(ask)
    born = [(name, found) for name, found in firsts.items() if found["fatal"]]
    born.sort(key=lambda item: (-item[1]["at"], item[0]))
    made: dict[str, list[list[Value]]] = {}
    for panel in dashboard.panels:
        if panel.form == "documents":
            continue
        if panel.source == "panics":
            asked = replace(panel, size=PARTS) if panel.form == "histogram" else panel
            rows = read(panel, ask(query(asked, interval=DAY)))
            made[panel.id] = [[row.key, row.split, *row.values] for row in rows]
            if panel.form == "heatmap":
                lines = replace(panel, id=f"{panel.id}-lines", by=panel.split, split="")
                made[lines.id] = [[row.key, "", *row.values] for row in read(lines, ask(query(lines)))]
        elif panel.by:
            made[panel.id] = [[name, "", one["at"], one["title"], one["cause"]] for name, one in born][
                : panel.size
            ]
        else:
            made[panel.id] = [["", "", len(born)]]
    (whole,) = read(_ALL, ask(query(_ALL)))
    return {"panels": made, "all": whole.values, "firsts": firsts}


def _firsts(ask: Ask) -> dict[str, Json]:
    """Return the first crash of each signature."""
    fields = ["kernel.panic.fatal", TITLE.field, CAUSE.field]
    oldest = {"size": 1, "sort": [{TIME: "asc"}, {"event.id": "asc"}], "_source": [TIME, *fields]}
    found = {}
    for bucket in _buckets(ask, FAULTS.field, {"oldest": {"top_hits": oldest}}):
        crash = bucket["oldest"]["hits"]["hits"][0]["_source"]
        found[bucket["key"]["group"]] = {
            "at": milliseconds(first(crash, TIME)),
            "fatal": crash["kernel"]["panic"].get("fatal") is True,
            "title": first(crash, TITLE.field),
            "cause": first(crash, CAUSE.field),
        }
    return found


def rows(ask: Ask, panel: Panel, where: Iterable[Term] = ()) -> list[Row]:
    """Return the groups of a table, as :func:`kpanic.dashboards.query.read` does.

    However many groups there are, the memory of the engine and that of this process are bounded. A group's
    distinct values are exact up to :data:`~kpanic.dashboards.query.NEAR`, and near above it.

    :param where: terms beside those of the panel.
    """
    found = (
        Row(bucket["key"]["group"], "", values(panel, bucket))
        for bucket in _buckets(ask, panel.by, metrics(panel, NEAR), (*panel.where, *where))
    )
    return heapq.nsmallest(panel.size, found, key=lambda row: (-int(row.values[0] or 0), row.key))


def _buckets(ask: Ask, field: str, inner: Json, where: Iterable[Term] = ()) -> Iterator[Json]:
    """Yield a bucket for each value of a field."""
    composite: Json = {"size": PAGE, "sources": [{"group": {"terms": {"field": field}}}]}
    body = {"size": 0, "query": clause(where), "aggs": {"groups": {"composite": composite, "aggs": inner}}}
    while True:
        found = ask(body)
        if "aggregations" not in found:  # no index holds a document yet
            return
        answer = found["aggregations"]["groups"]
        yield from answer["buckets"]
        if "after_key" not in answer:
            return
        composite["after"] = answer["after_key"]


def figures(ask: Ask) -> Json:
    """Return what :func:`kpanic.dashboards.summarise` counts, of all documents of an engine.

    Above some thousand incidents of a group, and some ten thousand in all, counts are approximate.
    """

    def counts(exact: int) -> Json:
        cardinality = {"field": INCIDENTS.field, "precision_threshold": exact}
        incidents = {"incidents": {"cardinality": cardinality}}
        return incidents | {"panics": {"filter": clause(FATAL), "aggs": incidents}}

    whole = ask({"size": 0, "aggs": counts(EXACT)}).get("aggregations")
    if whole is None:  # no index holds a document yet
        return {"incidents": 0, "panics": 0, **{name: [] for name in COUNTED}}
    made: Json = {
        "incidents": whole["incidents"]["value"],
        "panics": whole["panics"]["incidents"]["value"],
    }
    for name, field in COUNTED.items():
        rows = [
            {
                "key": str(bucket["key"]["group"]),
                "incidents": bucket["incidents"]["value"],
                "panics": bucket["panics"]["incidents"]["value"],
            }
            for bucket in _buckets(ask, field, counts(NEAR))
        ]
        made[name] = sorted(rows, key=lambda row: (-row["incidents"], row["key"]))
    return made
