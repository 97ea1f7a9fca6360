"""Counts of the panics of each day, so that years of them load from days and not from crashes.

A day has one document for all its panics, and one for each value of some fields: panics of one cause, of one
kernel. A panic is counted once in each, whichever of its documents has the value. One whose documents tell
times of two days is counted on both.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from kpanic.dashboards import engine
from kpanic.dashboards.embedded import nested
from kpanic.dashboards.panels import ALL, FATAL, FAULTS, GROUP, HOSTS, INCIDENTS, LONG_TERM, TIME, TITLE
from kpanic.dashboards.query import EXACT, clause, distinct
from kpanic.dashboards.totals import received

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.dashboards.engine import Ask

__all__ = ["FIELDS", "documents"]

Json = dict[str, Any]

DAY = 86_400_000
"""Milliseconds."""
FIELDS = tuple(sorted({str(term.value) for panel in LONG_TERM.panels for term in panel.where} - {ALL}))
"""Fields by whose values the panics of a day are grouped."""
VALUES = 3_000
"""Values of a field that are kept of a day, the most frequent ones."""
NEAR = 1_000
"""Panics of a day with one value up to which a count is exact; it bounds the memory of an engine."""


def documents(ask: Ask, since: int | None, until: int) -> Iterator[tuple[str, Json]]:
    """Count each day of which panics were received in a time.

    :param since: milliseconds since 1970 UTC; None for every day.
    :param until: likewise.
    :returns: ``_id`` and document of each count.
    """
    new = engine.within(ask, received(after=since, until=until))
    histogram = {"date_histogram": {"field": TIME, "fixed_interval": f"{DAY}ms", "min_doc_count": 1}}
    found = new({"size": 0, "query": clause(FATAL), "aggs": {"days": histogram}}).get("aggregations")
    for bucket in found["days"]["buckets"] if found else ():
        day = int(bucket["key"])
        for group, value, counts in _groups(ask, day):
            name = hashlib.sha256(value.encode()).hexdigest()[:32] if value else ""
            values = {group: value} if value else {}
            made = {TIME: day, GROUP: group, "counted": until} | values | counts
            yield f"{day}-{group}-{name}", nested(made)


def _groups(ask: Ask, day: int) -> Iterator[tuple[str, str, Json]]:
    """Yield the groups of a day's panics: field, value and counts."""
    numbers = {"incidents": distinct(INCIDENTS.field, NEAR), "hosts": distinct(HOSTS.field, NEAR)}
    title = {"title": {"terms": {"field": TITLE.field, "size": 1}}}
    groups: Json = {
        field: {
            "terms": {"field": field, "size": VALUES},
            "aggs": numbers | (title if field == FAULTS.field else {}),
        }
        for field in FIELDS
    }
    whole = {name: distinct(one["cardinality"]["field"], EXACT) for name, one in numbers.items()}
    bounds = {"gte": day, "lt": day + DAY, "format": "epoch_millis"}
    where = {"bool": {"filter": [clause(FATAL), {"range": {TIME: bounds}}]}}
    found = ask({"size": 0, "query": where, "aggs": whole | groups})["aggregations"]
    yield ALL, "", _counts(found)
    for field in FIELDS:
        for bucket in found[field]["buckets"]:
            titles = [one["key"] for one in bucket.get("title", {}).get("buckets", ())]
            yield field, str(bucket["key"]), _counts(bucket) | ({TITLE.field: titles[0]} if titles else {})


def _counts(found: Json) -> Json:
    return {name: int(found[name]["value"]) for name in ("incidents", "hosts")}
