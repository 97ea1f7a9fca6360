"""Answers of an engine about all its documents, of which a report holds only the newest."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from operator import itemgetter
from typing import Any

from kpanic.dashboards.embedded import Row, Value, first
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
from kpanic.dashboards.query import EXACT, NEAR, NEWEST, clause, counts, distinct, query, read, values, words
from kpanic.dashboards.summary import COUNTED

__all__ = ["NAMES", "Ask", "answers", "figures", "names_of", "rows", "within"]

Json = dict[str, Any]
Ask = Callable[[Json], Json]
"""Sends the body of a search in the documents of crashes, and returns the answer."""
DAY = timedelta(days=1)
"""Width of a histogram's groups; the page joins them where its bars are wider."""
DISTINCT = 3_000_000
"""Maximum distinct values in all groups of one search; an engine takes 5 bytes for each."""
DOCUMENTS = 1_000_000
"""Documents that one search counts, unless a single group has more: an engine takes 10 processor seconds."""
ALIKE = 16
"""Maximum ratio of the documents of two groups that one search counts."""
NAMES = 10_000
"""Names of groups in one answer; an engine returns 65,535 at most."""
WORDS = 5_000
"""Groups whose newest or oldest documents come in one answer; an engine returns 10,000 at most."""
ENDS = 100
"""Ranges of time in one search for them; an engine takes 1,024 clauses."""
OLDEST: list[Json] = [{TIME: "asc"}, {"event.id": "asc"}]
"""The order of documents, the oldest first."""
PARTS = 200
"""Parts of a day; the page joins parts without a colour of their own."""
_ALL = Panel("all", "", "", "number", (INCIDENTS, HOSTS, FIRST, LAST))


def answers(ask: Ask, dashboard: Dashboard = of_fleet(1)[0]) -> Json:  # noqa: B008 - a constant
    """Return the figures of all documents that the page shows while nothing is filtered.

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
    buckets = _buckets(ask, FAULTS.field, lambda _: {"at": {"min": {"field": TIME}}})
    times = {bucket["key"]: int(bucket["at"]["value"]) for bucket in buckets}
    found = {}
    for name, hit in _ends(
        ask, FAULTS.field, times, ["kernel.panic.fatal", TITLE.field, CAUSE.field], OLDEST
    ):
        crash = hit["_source"]
        found[name] = {
            "at": times[name],
            "fatal": crash["kernel"]["panic"].get("fatal") is True,
            "title": first(crash, TITLE.field),
            "cause": first(crash, CAUSE.field),
        }
    return found


def within(ask: Ask, condition: Json) -> Ask:
    """Return ``ask`` restricted to the documents that match a query."""

    def asked(body: Json) -> Json:
        wanted = [condition, *filter(None, [body.get("query")])]
        return ask(body | {"query": {"bool": {"filter": wanted}}})

    return asked


def rows(ask: Ask, panel: Panel, where: Iterable[Term] = ()) -> list[Row]:
    """Return the groups of a table, as :func:`kpanic.dashboards.query.read` does.

    The memory of the engine and of this process is limited, however many groups there are. A group's distinct
    values are exact up to :data:`~kpanic.dashboards.query.NEAR`, and approximate above it.

    :param where: terms beside those of the panel.
    """
    where = (*panel.where, *where)
    wanted = words(panel)
    last = {"last": {"max": {"field": TIME}}} if wanted else {}
    found = {
        bucket["key"]: bucket
        for bucket in heapq.nsmallest(
            panel.size,
            _buckets(ask, panel.by, lambda exact: counts(panel, exact, grouped=True) | last, where),
            key=lambda bucket: (-int(bucket["m0"]["value"] or 0), bucket["key"]),
        )
    }
    if wanted:
        times = {name: int(bucket["last"]["value"]) for name, bucket in found.items()}
        newest = dict(_ends(ask, panel.by, times, wanted, NEWEST, where))
        for name, bucket in found.items():  # a document may be deleted meanwhile
            bucket["newest"] = {"hits": {"hits": [newest[name]] if name in newest else []}}
    return [Row(name, "", values(panel, bucket)) for name, bucket in found.items()]


def _ends(  # noqa: PLR0913, PLR0917 - each has its meaning
    ask: Ask,
    field: str,
    times: Mapping[str, int],
    wanted: Sequence[str],
    order: Sequence[Json],
    where: Iterable[Term] = (),
) -> Iterator[tuple[str, Json]]:
    """Yield the name of each group and its first document in an order, as a hit.

    A search covers groups whose documents have about the same time, and begins at that time: it matches few
    documents of each group, however many a group has.

    :param field: field of the groups, of which a document has one value.
    :param times: for each group the time of the document, in milliseconds since 1970 UTC.
    :param wanted: fields of the documents.
    :param order: :data:`~kpanic.dashboards.query.NEWEST` or :data:`OLDEST`.
    """
    names = sorted(times, key=times.__getitem__, reverse=order is NEWEST)
    bound = "gte" if order is NEWEST else "lte"
    for begin in range(0, len(names), WORDS):
        some = names[begin : begin + WORDS]
        step = -(-len(some) // ENDS)
        alike = [some[place : place + step] for place in range(0, len(some), step)]
        ends = [
            {"bool": {"filter": [{"terms": {field: group}}, _range({bound: times[group[-1]]})]}}
            for group in alike
        ]
        answer = ask(
            {
                "size": len(some),
                "track_total_hits": False,
                "query": {"bool": {"filter": [clause(where), {"bool": {"should": ends}}]}},
                "sort": order,
                "collapse": {"field": field},
                "_source": wanted,
            }
        )
        for hit in answer["hits"]["hits"]:
            yield hit["fields"][field][0], hit


def _range(bounds: Mapping[str, int]) -> Json:
    return {"range": {TIME: {**bounds, "format": "epoch_millis"}}}


def _buckets(
    ask: Ask, field: str, inner: Callable[[int], Json], where: Iterable[Term] = ()
) -> Iterator[Json]:
    """Yield a bucket for each value of a field.

    :param inner: returns the aggregations of a bucket for the distinct values up to which they are exact.
    """
    for part in _parts(names_of(ask, field, where)):
        names = [*part]
        # A group has at most as many distinct values as documents, and fewer take less time and memory.
        inside = inner(min(NEAR, part[names[0]]))
        terms = {"field": field, "size": len(names), "include": names}
        wanted = {"bool": {"filter": [clause(where), {"terms": {field: names}}]}}
        body = {"size": 0, "query": wanted, "aggs": {"groups": {"terms": terms, "aggs": inside}}}
        yield from ask(body)["aggregations"]["groups"]["buckets"]


def _parts(names: Iterable[tuple[str, int]]) -> Iterator[dict[str, int]]:
    """Yield names and the number of documents of each, in parts that one search counts.

    The first name of a part has the most documents.
    """
    part: dict[str, int] = {}
    whole = 0
    for name, documents in names:
        whole += documents
        most = next(iter(part.values()), documents)
        exact = min(NEAR, most)
        if part and (
            len(part) == NAMES
            or (len(part) + 1) * exact > DISTINCT
            or documents * ALIKE < exact
            or documents > most
            or whole > DOCUMENTS
        ):
            yield part
            part, whole = {}, documents
        part[name] = documents
    if part:
        yield part


def names_of(ask: Ask, field: str, where: Iterable[Term]) -> Iterator[tuple[str, int]]:
    """Yield the values of a field and the number of documents of each, the largest of a page first."""
    groups: Json = {"terms": {"field": field, "size": NAMES}}
    body = {"size": 0, "query": clause(where), "aggs": {"groups": groups}}
    found = ask(body).get("aggregations")
    if found is None:  # no index holds a document yet
        return
    if not found["groups"]["sum_other_doc_count"]:
        yield from ((bucket["key"], bucket["doc_count"]) for bucket in found["groups"]["buckets"])
        return
    composite: Json = {"size": NAMES, "sources": [{"name": {"terms": {"field": field}}}]}
    body["aggs"] = {"groups": {"composite": composite}}
    while True:
        page = ask(body)["aggregations"]["groups"]
        counted = [(bucket["key"]["name"], bucket["doc_count"]) for bucket in page["buckets"]]
        yield from sorted(counted, key=itemgetter(1), reverse=True)
        if len(page["buckets"]) < NAMES:
            return
        composite["after"] = page["after_key"]


def figures(ask: Ask) -> Json:
    """Return what :func:`kpanic.dashboards.summarise` counts, of all documents of an engine.

    Above some thousand incidents of a group, and some ten thousand in all, counts are approximate.
    """

    def numbers(exact: int, *, grouped: bool = True) -> Json:
        incidents = {"incidents": distinct(INCIDENTS.field, exact, grouped=grouped)}
        return incidents | {"panics": {"filter": clause(FATAL), "aggs": incidents}}

    whole = ask({"size": 0, "aggs": numbers(EXACT, grouped=False)}).get("aggregations")
    if whole is None:  # no index holds a document yet
        return {"incidents": 0, "panics": 0, **{name: [] for name in COUNTED}}
    made: Json = {
        "incidents": whole["incidents"]["value"],
        "panics": whole["panics"]["incidents"]["value"],
    }
    for name, field in COUNTED.items():
        rows = [
            {
                "key": str(bucket["key"]),
                "incidents": bucket["incidents"]["value"],
                "panics": bucket["panics"]["incidents"]["value"],
            }
            for bucket in _buckets(ask, field, numbers)
        ]
        made[name] = sorted(rows, key=lambda row: (-row["incidents"], row["key"]))
    return made
