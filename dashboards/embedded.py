"""Answers of panels over documents in memory, without an engine.

Answers have the shape of :func:`kpanic.dashboards.query.read` and the numbers of an engine: a group counts
every document that holds its value, a document without the field is in no group, and an incident is a
distinct ``event.id``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from kpanic.dashboards.panels import ANY, TIME, Metric, Panel, Term

Document = Mapping[str, Any]
Value = str | int | None
"""A number, a word, or a date in milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class Row:
    """One group of a panel, with a value for each metric; ``key`` is empty if the panel has no groups."""

    key: str | int
    split: str
    values: tuple[Value, ...]


def values(document: Document, name: str) -> Sequence[Any]:
    """Return the values that a document holds under a dotted name."""
    found: Any = document
    for part in _parts(name):
        if not isinstance(found, Mapping):
            return ()
        found = found.get(part)
    if found is None:
        return ()
    return found if isinstance(found, list | tuple) else (found,)


@cache
def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def first(document: Document, name: str) -> str:
    """Return the first value under a dotted name as text, or an empty text."""
    found = values(document, name)
    return str(found[0]) if found else ""


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of values by their dotted names."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        *parents, leaf = _parts(name)
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return made


def milliseconds(stamp: object) -> int:
    """Return an ISO 8601 stamp as milliseconds since 1970; without a zone it is UTC, as for engines."""
    moment = datetime.fromisoformat(str(stamp))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def matches(document: Document, where: Iterable[Term]) -> bool:
    """Tell whether a document satisfies every term."""
    return all(_holds(values(document, term.field), term.value) is not term.negate for term in where)


def _holds(found: Sequence[Any], value: str | bool) -> bool:  # noqa: FBT001
    return bool(found) if value == ANY else value in found


def evaluate(
    panel: Panel, documents: Iterable[Document], interval: timedelta = timedelta(days=1)
) -> list[Row]:
    """Return the rows of a panel that groups or counts.

    Groups are ordered and cut as by the terms aggregation of an engine: the greatest first metric first, then
    by key. The parts of a split group have the same order.

    :param documents: documents of the panel's source.
    :param interval: width of a group of a date field.
    """
    whole: dict[str | int, list[Document]] = defaultdict(list)
    parts: dict[str | int, dict[str, list[Document]]] = defaultdict(lambda: defaultdict(list))
    for document in documents:
        if not matches(document, panel.where):
            continue
        for key in _keys(panel, document, interval):
            whole[key].append(document)
            for split in values(document, panel.split) if panel.split else ("",):
                parts[key][str(split)].append(document)
    if panel.by == TIME:
        kept = sorted(whole)
    elif panel.by:
        kept = sorted(whole, key=lambda key: (_rank(panel.metrics[0], whole[key]), key))[: panel.size]
    else:
        kept = list(whole)
    if not kept and not panel.by:  # nothing counts as zero
        return [Row("", "", tuple(measure(metric, ()) for metric in panel.metrics))]
    rows = []
    for key in kept:
        mine = sorted(parts[key].items(), key=lambda item: (_rank(panel.metrics[0], item[1]), item[0]))
        rows += [
            Row(key, split, tuple(measure(metric, found) for metric in panel.metrics))
            for split, found in mine[: panel.size]
        ]
    return rows


def _keys(panel: Panel, document: Document, interval: timedelta) -> Iterator[str | int]:
    if not panel.by:
        yield ""
    elif panel.by == TIME:
        width = interval // timedelta(milliseconds=1)
        for stamp in values(document, TIME):
            yield milliseconds(stamp) // width * width
    else:
        yield from dict.fromkeys(map(str, values(document, panel.by)))


def _rank(metric: Metric, documents: Iterable[Document]) -> int:
    measured = measure(metric, documents)
    return -measured if isinstance(measured, int) else 0


def measure(metric: Metric, documents: Iterable[Document]) -> Value:
    """Return one metric of a group of documents."""
    if metric.kind == "distinct":
        return len({value for document in documents for value in values(document, metric.field)})
    if metric.kind == "newest":
        newest = max(documents, key=age, default={})
        return first(newest, metric.field) or None
    if metric.kind == "sum":
        return sum(int(value) for document in documents for value in values(document, metric.field))
    stamps = [milliseconds(value) for document in documents for value in values(document, metric.field)]
    return (min if metric.kind == "earliest" else max)(stamps, default=None)


def age(document: Document) -> tuple[int, str]:
    """Return a key that orders documents by crash time, then by incident id."""
    return milliseconds(first(document, TIME)), first(document, "event.id")
