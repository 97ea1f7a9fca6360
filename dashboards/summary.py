"""Counts of incidents as plain data, for scripts."""

from __future__ import annotations

from collections import Counter
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.embedded import values

if TYPE_CHECKING:
    from kpanic.dashboards.crashes import Crashes

COUNTED = {
    "kernels": "host.os.kernel",
    "rips": "kernel.panic.rip.symbol",
    "causes": "kernel.panic.cause",
    "hosts": "host.name",
    "signatures": "kernel.panic.signature.id",
}
"""Names of the counts, and the field that each groups by."""
NAMES = ("event.id", "kernel.panic.fatal", *COUNTED.values())
"""Fields of a document that :func:`summarise` counts by."""


def summarise(crashes: Crashes) -> dict[str, Any]:
    """Count incidents: distinct ``event.id``, however many transports reported each.

    The numbers are those of a terms aggregation with a cardinality of ``event.id`` below it; a document
    without the field is in no group.

    :returns: ``incidents``; ``panics``, the incidents that killed the kernel; and for each name of
        :data:`COUNTED` a list of ``{"key", "incidents", "panics"}``, the greatest first, then by key.
    """
    fatal = {key for key, fields in crashes.profiles.items() if True in values(fields, "kernel.panic.fatal")}
    whole: Counter[bool] = Counter()
    hosts: Counter[tuple[str, bool]] = Counter()
    alike: Counter[tuple[frozenset[int], bool]] = Counter()
    """Incidents by the profiles of their documents, and whether they killed the kernel."""
    rows = chain.from_iterable(crashes.rows())
    for _, incident in groupby(rows, itemgetter(1)):
        documents = list(incident)
        profiles = frozenset(row[3] for row in documents)
        killed = not fatal.isdisjoint(profiles)
        whole[killed] += 1
        alike[profiles, killed] += 1
        for host in {row[2] for row in documents}:
            hosts[host, killed] += 1
    groups: dict[str, Counter[tuple[str, bool]]] = {name: Counter() for name in COUNTED}
    for (profiles, killed), count in alike.items():
        for name, field in COUNTED.items():
            for value in {
                str(one) for key in profiles for one in values(crashes.profiles.get(key, {}), field)
            }:
                groups[name][value, killed] += count
    groups["hosts"] = Counter({key: count for key, count in hosts.items() if key[0]})
    return {
        "incidents": whole.total(),
        "panics": whole[True],
        **{name: _listed(group) for name, group in groups.items()},
    }


def _listed(group: Counter[tuple[str, bool]]) -> list[dict[str, Any]]:
    rows = [
        {"key": key, "incidents": group[key, True] + group[key, False], "panics": group[key, True]}
        for key in {key for key, _ in group}
    ]
    return sorted(rows, key=lambda row: (-int(row["incidents"]), row["key"]))
