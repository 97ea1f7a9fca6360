"""Counts of incidents as plain data, for scripts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.embedded import first, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COUNTED = {
    "kernels": "host.os.kernel",
    "rips": "kernel.panic.rip.symbol",
    "causes": "kernel.panic.cause",
    "hosts": "host.name",
    "signatures": "kernel.panic.signature.id",
}
"""Names of the counts, and the field that each groups by."""
NAMES = ("event.id", "kernel.panic.fatal", *COUNTED.values())
"""Fields of a document that :func:`summarise` reads."""


def summarise(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Count incidents: distinct ``event.id``, however many transports reported each.

    The numbers are those of a terms aggregation with a cardinality of ``event.id`` below it; a document
    without the field is in no group.

    :returns: ``incidents``; ``panics``, the incidents that killed the kernel; and for each name of
        :data:`COUNTED` a list of ``{"key", "incidents", "panics"}``, the greatest first, then by key.
    """
    incidents: set[str] = set()
    panics: set[str] = set()
    groups: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in COUNTED}
    for document in documents:
        incident = first(document, "event.id")
        incidents.add(incident)
        if True in values(document, "kernel.panic.fatal"):
            panics.add(incident)
        for name, field in COUNTED.items():
            for value in values(document, field):
                groups[name][str(value)].add(incident)
    return {
        "incidents": len(incidents),
        "panics": len(panics),
        **{
            name: [
                {"key": key, "incidents": len(ids), "panics": len(ids & panics)}
                for key, ids in sorted(group.items(), key=lambda item: (-len(item[1]), item[0]))
            ]
            for name, group in groups.items()
        },
    }
