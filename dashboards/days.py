"""Counts of the panics of each day, so that dashboards of years load days instead of crashes.

A day has one document for all its panics, and one for each value of some fields: panics of one cause, of one
kernel. Each document counts a panic once if any of the panic's documents has the value. A panic whose
documents have times on two days is counted on both.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from kpanic.dashboards import engine
from kpanic.dashboards.embedded import nested
from kpanic.dashboards.panels import ALL, FATAL, FAULTS, GROUP, HOSTS, INCIDENTS, LONG_TERM, TIME, TITLE
from kpanic.dashboards.query import EXACT, clause, distinct
from kpanic.dashboards.totals import RECEIVED, received

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kpanic.dashboards.engine import Ask

__all__ = ["FIELDS", "counted", "documents"]

Json = dict[str, Any]

DAY = 86_400_000
"""Milliseconds."""
_HISTOGRAM: Json = {"date_histogram": {"field": TIME, "fixed_interval": f"{DAY}ms", "min_doc_count": 1}}
FIELDS = tuple(sorted({str(term.value) for panel in LONG_TERM.panels for term in panel.where} - {ALL}))
"""Fields by whose values the panics of a day are grouped."""
DAYS = 100
"""Days that one search counts; an engine takes 1,024 clauses."""
VALUES = 3_000
"""Maximum values of a field that are kept for a day, the most frequent ones."""
NEAR = 1_000
"""Panics of a day with the same value up to which a count is exact; this limits an engine's memory."""


def documents(
    ask: Ask, since: int | None, until: int, known: Mapping[int, int]
) -> Iterator[tuple[str, Json]]:
    """Count each day whose panics were received in a time.

    The count of all panics of a day comes after its others, so that who has it has them all.

    :param since: milliseconds since 1970 UTC; None for every day.
    :param until: milliseconds since 1970 UTC; panics that were received later are not counted.
    :param known: days of which nothing was received since they were counted are left out, as by a run that
        was stopped; see :func:`counted`.
    :returns: ``_id`` and document of each count.
    """
    new = engine.within(ask, received(after=since, until=until))
    wanted = {"size": 0, "query": clause(FATAL), "aggs": {"days": _HISTOGRAM}}
    newest = {"newest": {"max": {"field": RECEIVED}}}
    found = new(wanted | {"aggs": {"days": {**_HISTOGRAM, "aggs": newest}}}).get("aggregations")
    touched = {
        bucket["key"]
        for bucket in (found["days"]["buckets"] if found else ())
        if (bucket["newest"]["value"] or 0) > known.get(int(bucket["key"]), -1)
    }
    if not touched:
        return
    between = {"gte": min(touched), "lt": max(touched) + DAY, "format": "epoch_millis"}
    every = engine.within(ask, {"range": {TIME: between}})(wanted)["aggregations"]["days"]["buckets"]
    for days in _batches(bucket for bucket in every if bucket["key"] in touched):
        for day, group, value, counts in _groups(ask, days):
            name = hashlib.sha256(value.encode()).hexdigest()[:32] if value else ""
            values = {group: value} if value else {}
            made = {TIME: day, GROUP: group, "counted": until} | values | counts
            yield f"{day}-{group}-{name}", nested(made)


def counted(ask_days: Ask) -> dict[int, int]:
    """Return for each day up to when its panics are counted. Times are milliseconds since 1970 UTC.

    :param ask_days: sends the body of a search in the documents of :func:`documents`.
    """
    until = {"until": {"max": {"field": "counted"}}}
    aggregations = {"days": {**_HISTOGRAM, "aggs": until}}
    found = ask_days({"size": 0, "query": {"term": {GROUP: ALL}}, "aggs": aggregations}).get("aggregations")
    buckets = found["days"]["buckets"] if found else ()
    return {int(bucket["key"]): int(bucket["until"]["value"]) for bucket in buckets}


def _batches(buckets: Iterable[Json]) -> Iterator[list[int]]:
    """Yield groups of days that one search counts: few enough to limit the number of its panics.

    :param buckets: a day each, with the number of all its panics, not only of new ones.
    """
    batch: list[int] = []
    panics = 0
    for bucket in buckets:
        panics += bucket["doc_count"]
        if batch and (panics > VALUES or len(batch) == DAYS):
            yield batch
            batch, panics = [], bucket["doc_count"]
        batch.append(int(bucket["key"]))
    if batch:
        yield batch


def _groups(ask: Ask, days: list[int]) -> Iterator[tuple[int, str, str, Json]]:
    """Yield the groups of each day's panics: day, field, value and counts."""
    title = {"title": {"terms": {"field": TITLE.field, "size": 1}}}
    incidents = {"incidents": distinct(INCIDENTS.field, NEAR, grouped=True)}
    groups: Json = {
        field: {
            "terms": {"field": field, "size": VALUES},
            "aggs": incidents | (title if field == FAULTS.field else {}),
        }
        for field in FIELDS
    }
    exact = EXACT if len(days) == 1 else VALUES
    whole = {"incidents": distinct(INCIDENTS.field, exact), "hosts": distinct(HOSTS.field, exact)}
    bounds = [{"range": {TIME: {"gte": day, "lt": day + DAY, "format": "epoch_millis"}}} for day in days]
    body = {
        "size": 0,
        "query": {"bool": {"filter": [clause(FATAL), {"bool": {"should": bounds}}]}},
        "aggs": {"days": {**_HISTOGRAM, "aggs": whole | groups}},
    }
    for found in ask(body)["aggregations"]["days"]["buckets"]:
        day = int(found["key"])
        for field in FIELDS:
            for bucket in found[field]["buckets"]:
                titles = [one["key"] for one in bucket.get("title", {}).get("buckets", ())]
                words = {TITLE.field: titles[0]} if titles else {}
                yield day, field, str(bucket["key"]), _counts(bucket) | words
        yield day, ALL, "", _counts(found)


def _counts(found: Json) -> Json:
    return {name: int(found[name]["value"]) for name in ("incidents", "hosts") if name in found}
