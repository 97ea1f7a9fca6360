"""Totals of each signature, counted at intervals and kept, so that a list does not count all crashes.

An index has a document for each signature, with the crashes that the engine received up to a time, and one
document with that time. :func:`rows` adds the few crashes that were received later, and so answers as
:func:`kpanic.dashboards.engine.rows` does. A later document may belong to a counted incident, reported by
another transport: its ``event.id`` is looked up.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from kpanic.dashboards import engine
from kpanic.dashboards.embedded import Row, first, nested
from kpanic.dashboards.panels import CAUSE, FAULTS, FIRST, HOSTS, INCIDENTS, LAST, TIME, TITLE, Metric, Panel
from kpanic.dashboards.query import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpanic.dashboards.engine import Ask

__all__ = ["LIST", "RECEIVED", "STATE", "counted_until", "documents", "received", "rows"]

Json = dict[str, Any]

LIST = Panel(
    "list",
    "",
    "",
    "table",
    (
        INCIDENTS,
        HOSTS,
        FIRST,
        LAST,
        TITLE,
        CAUSE,
        Metric("newest", "kernel.panic.signature.quality", "Quality"),
        Metric("newest", "host.os.kernel", "Kernel"),
    ),
    by=FAULTS.field,
    size=10_000,
)
"""The signatures with the most incidents."""
STATE = "state"
"""``_id`` of the document with the moment up to which crashes are counted."""
FRESH = 10_000
"""Maximum crashes since then; an engine returns as many in one answer."""
RECEIVED = "event.ingested"
_NUMBERS = ("incidents", "hosts", "first", TIME)
_WORDS = tuple(words(LIST))
_CLAUSES = 200
"""Signatures whose crashes one search looks up; an engine takes 1,024 clauses, and each signature needs
three.
"""


class _Crash(NamedTuple):
    """A document that the engine received after the totals were counted."""

    incident: str
    host: str
    at: int
    received: int
    words: tuple[str | None, ...]


class _Total(NamedTuple):
    """A signature's document. Times are milliseconds since 1970 UTC."""

    incidents: int
    hosts: int
    first: int
    last: int
    words: tuple[str | None, ...]
    until: int
    """Crashes received later are not counted."""


def received(*, after: int | None = None, until: int | None = None) -> Json:
    """Return a query for documents that an engine received in a time, in milliseconds since 1970 UTC.

    A document without a time of receipt counts as the oldest.
    """
    if after is not None:
        bounds = {"gt": after} | ({} if until is None else {"lte": until})
        return {"range": {RECEIVED: {**bounds, "format": "epoch_millis"}}}
    late = [] if until is None else [received(after=until)]
    return {"bool": {"must_not": late}}


def documents(ask: Ask, since: int | None, until: int) -> Iterator[tuple[str, Json]]:
    """Count the crashes of each signature with crashes that were received in a time.

    :param since: milliseconds since 1970 UTC; None for every signature.
    :param until: milliseconds since 1970 UTC; crashes that were received later are not counted.
    :returns: ``_id`` and document of each signature.
    """
    touched = [
        name
        for name, _ in engine.names_of(
            engine.within(ask, received(after=since, until=until)), FAULTS.field, ()
        )
    ]
    for begin in range(0, len(touched), engine.NAMES):
        some = touched[begin : begin + engine.NAMES]
        counted = engine.within(
            ask, {"bool": {"filter": [{"terms": {FAULTS.field: some}}, received(until=until)]}}
        )
        for row in engine.rows(counted, replace(LIST, size=len(some))):
            numbers = dict(zip(_NUMBERS, row.values, strict=False))
            known = dict(zip(_WORDS, row.values[len(numbers) :], strict=True))
            yield str(row.key), nested({FAULTS.field: row.key, "counted": until} | numbers | known)


def counted_until(ask_totals: Ask) -> int | None:
    """Return the moment up to which crashes are counted, in milliseconds since 1970 UTC; None for never."""
    hits = ask_totals({"size": 1, "query": {"ids": {"values": [STATE]}}})["hits"]["hits"]
    return int(hits[0]["_source"]["counted"]) if hits else None


def rows(ask_totals: Ask, ask: Ask, most: int = LIST.size) -> list[Row] | None:
    """Return the rows of :data:`LIST` from the totals and later crashes.

    :param ask_totals: sends the body of a search in the documents of :func:`documents`.
    :param most: maximum rows, up to 10,000.
    :returns: None if nothing is counted, or more than :data:`FRESH` crashes came since.
    """
    since = counted_until(ask_totals)
    fresh = None if since is None else _fresh(ask, since)
    if since is None or fresh is None:
        return None
    order: list[Json] = [{"incidents": "desc"}, {FAULTS.field: "asc"}]
    found = _totals(ask_totals, {"exists": {"field": FAULTS.field}}, most, order)
    if fresh:
        found |= _totals(ask_totals, {"ids": {"values": sorted(fresh)}}, len(fresh), [])
    # During a count, some totals are newer than the state.
    untils = {name: max(since, found[name].until) if name in found else since for name in fresh}
    for name, crashes in list(fresh.items()):
        fresh[name] = [crash for crash in crashes if crash.received > untils[name]]
        if not fresh[name]:
            del fresh[name]
    incidents = _added(ask, INCIDENTS.field, fresh, "incident", untils)
    hosts = _added(ask, HOSTS.field, fresh, "host", untils)
    for name, crashes in fresh.items():
        found[name] = _sum(found.get(name), incidents[name], hosts[name], crashes)
    chosen = dict(sorted(found.items(), key=lambda item: (-item[1].incidents, item[0]))[:most])
    return [Row(name, "", (*total[:4], *total.words)) for name, total in chosen.items()]


def _sum(old: _Total | None, incidents: int, hosts: int, crashes: list[_Crash]) -> _Total:
    """Return a total with later crashes added."""
    newest = max(crashes, key=attrgetter("at", "incident"))
    oldest = min(crash.at for crash in crashes)
    if old is None:
        return _Total(incidents, hosts, oldest, newest.at, newest.words, 0)
    return old._replace(
        incidents=old.incidents + incidents,
        hosts=old.hosts + hosts,
        first=min(old.first, oldest),
        last=max(old.last, newest.at),
        words=newest.words if newest.at > old.last else old.words,
    )


def _totals(ask_totals: Ask, where: Json, most: int, order: list[Json]) -> dict[str, _Total]:
    body: Json = {"size": most, "track_total_hits": False, "query": where}
    if order:
        body["sort"] = order
    found = {}
    for hit in ask_totals(body)["hits"]["hits"]:
        total = hit["_source"]
        incidents, hosts, begin, last = (int(total[name]) for name in _NUMBERS)
        known = tuple(first(total, name) or None for name in _WORDS)
        found[hit["_id"]] = _Total(incidents, hosts, begin, last, known, int(total["counted"]))
    return found


def _fresh(ask: Ask, since: int) -> dict[str, list[_Crash]] | None:
    """Return the crashes of each signature that were received since then; None if there are too many."""
    times = [{"field": name, "format": "epoch_millis"} for name in (TIME, RECEIVED)]
    body = {
        "size": FRESH,
        "track_total_hits": False,
        "query": {"bool": {"filter": [{"exists": {"field": FAULTS.field}}, received(after=since)]}},
        "_source": False,
        "docvalue_fields": [FAULTS.field, INCIDENTS.field, HOSTS.field, *_WORDS, *times],
    }
    hits = ask(body)["hits"]["hits"]
    if len(hits) == FRESH:
        return None
    found: defaultdict[str, list[_Crash]] = defaultdict(list)
    for hit in hits:
        fields = hit["fields"]
        incident, host = (fields.get(name, [""])[0] for name in (INCIDENTS.field, HOSTS.field))
        at, moment = (int(fields[name][0]) for name in (TIME, RECEIVED))
        known = tuple(fields.get(name, [None])[0] for name in _WORDS)
        found[fields[FAULTS.field][0]].append(_Crash(incident, host, at, moment, known))
    return dict(found)


def _added(
    ask: Ask, field: str, fresh: Mapping[str, list[_Crash]], attribute: str, untils: Mapping[str, int]
) -> dict[str, int]:
    """Return for each signature the number of values of a field that only its fresh crashes have."""
    get = attrgetter(attribute)
    new = {name: {get(crash) for crash in crashes} - {""} for name, crashes in fresh.items()}
    asked = [(name, sorted(values)) for name, values in new.items() if values]
    for begin in range(0, len(asked), _CLAUSES):
        known = [
            {
                "bool": {
                    "filter": [
                        {"term": {FAULTS.field: name}},
                        {"terms": {field: values}},
                        received(until=untils[name]),
                    ]
                }
            }
            for name, values in asked[begin : begin + _CLAUSES]
        ]
        for name, value in _pairs(ask, {"bool": {"should": known}}, field):
            new[name].discard(value)
    return {name: len(values) for name, values in new.items()}


def _pairs(ask: Ask, where: Json, field: str) -> Iterator[tuple[str, str]]:
    """Yield the signatures of documents with each value of a field.

    The values are distinguished by hashes: with ordinals, an engine would first merge those of the whole
    index, and repeat that after each new document.

    :param where: query for at most :data:`_CLAUSES` signatures, with at most :data:`FRESH` values of each.
    """

    def groups(name: str, size: int) -> Json:
        return {"terms": {"field": name, "size": size, "execution_hint": "map"}}

    faults = {**groups(FAULTS.field, _CLAUSES), "aggs": {"values": groups(field, FRESH)}}
    body = {"size": 0, "query": where, "aggs": {"faults": faults}}
    for fault in ask(body)["aggregations"]["faults"]["buckets"]:
        yield from ((fault["key"], one["key"]) for one in fault["values"]["buckets"])
