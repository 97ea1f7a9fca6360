"""The data of a report: one row for each document of a crash, and the fields that many documents share."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpanic.dashboards.embedded import first, milliseconds
from kpanic.dashboards.panels import TIME

__all__ = ["Crashes", "Document", "Row", "gather"]

Document = Mapping[str, Any]
Row = tuple[int, int, str, int, int]
"""Time (milliseconds since 1970 UTC), incident, host (empty if unknown), profile, document.

Incidents, profiles and documents have numbers of their source.
"""
ROWS = 10_000
"""Rows in one batch."""


@dataclass(frozen=True)
class Crashes:
    """Documents as rows."""

    rows: Callable[[], Iterable[Sequence[Row]]]
    """Yields all rows in batches: those of an incident together, the oldest incident first."""
    profiles: Mapping[int, Document]
    """Each profile as a part of a document: all fields of panels but time, incident and host."""
    incident_ids: Callable[[Sequence[int]], Sequence[str]]
    """Returns the ``event.id`` of incidents."""
    whole: Callable[[Sequence[int]], Iterable[tuple[int, Document]]]
    """Yields documents in full, each with its key; one that cannot be read is left out."""


def gather(
    documents: Iterable[Document],
    names: Iterable[str],
    whole: Callable[[Sequence[str]], Iterable[Document]] | None = None,
) -> Crashes:
    """Return documents in memory as rows.

    :param documents: nested ECS documents in any order.
    :param names: dotted names of the fields to keep of each.
    :param whole: returns documents in full by their ``_id``; without it, ``documents`` are whole.
    """
    plan = [name.split(".") for name in names if name not in {TIME, "event.id", "host.name"}]
    at, incident, host, profile = array("q"), array("I"), array("I"), array("I")
    incidents: dict[str, int] = {}
    hosts: dict[str, int] = {}
    profiles: dict[tuple[object, ...], int] = {}
    kept: list[Any] = []
    for document in documents:
        at.append(milliseconds(first(document, TIME)))
        incident.append(incidents.setdefault(first(document, "event.id"), len(incidents)))
        host.append(hosts.setdefault(first(document, "host.name"), len(hosts)))
        profile.append(profiles.setdefault(_values(document, plan), len(profiles)))
        kept.append(first(document, "_id") if whole else document)
    last = array("q", [min(at, default=0)]) * len(incidents)
    for one, moment in zip(incident, at, strict=True):
        last[one] = max(last[one], moment)
    order = sorted(range(len(at)), key=lambda row: (last[incident[row]], incident[row], at[row]))
    host_names, incident_names = list(hosts), list(incidents)

    def rows() -> Iterable[Sequence[Row]]:
        for start in range(0, len(order), ROWS):
            yield [
                (at[row], incident[row], host_names[host[row]], profile[row], row)
                for row in order[start : start + ROWS]
            ]

    def documents_of(keys: Sequence[int]) -> Iterable[tuple[int, Document]]:
        if whole is None:
            return ((key, kept[key]) for key in keys)
        by_id: dict[str, int] = {kept[key]: key for key in keys}
        return ((by_id[first(document, "_id")], document) for document in whole(list(by_id)))

    return Crashes(
        rows,
        {number: _nested(plan, values) for values, number in profiles.items()},
        lambda keys: [incident_names[key] for key in keys],
        documents_of,
    )


def _values(document: Document, plan: Sequence[Sequence[str]]) -> tuple[object, ...]:
    found = []
    for path in plan:
        node: Any = document
        for part in path:
            node = node.get(part) if isinstance(node, Mapping) else None
        found.append(tuple(node) if isinstance(node, list) else node)
    return tuple(found)


def _nested(plan: Sequence[Sequence[str]], values: Sequence[object]) -> Document:
    document: dict[str, Any] = {}
    for (*path, leaf), value in zip(plan, values, strict=True):
        if value is None:
            continue
        node = document
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return document
