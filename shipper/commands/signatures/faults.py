"""The faults in the store or in an engine: one row for each signature, or everything about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kpanic.shipper.commands._engine import opened
from kpanic.shipper.commands._store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.dashboards.embedded import Row, Value
    from kpanic.shipper.config import Config
    from kpanic.shipper.store import Store

__all__ = ["details", "named", "rows", "summary"]

MOST = 10_000
"""Maximum signatures of a list, and hosts and kernels of one signature."""
NAMED = 6
"""Maximum signatures that one name may mean."""


def _of_store(store: Store) -> Iterator[Row]:
    from kpanic.dashboards.embedded import Row, first  # noqa: PLC0415
    from kpanic.shipper.store import Selection  # noqa: PLC0415

    names = ("kernel.panic.title", "kernel.panic.cause", "kernel.panic.signature.quality", "host.os.kernel")
    for name, *counts in store.signatures()[:MOST]:
        (crash,) = store.newest_crashes(1, Selection(fields={"kernel.panic.signature.id": name}))
        fields = store.profiles([crash.profile])[crash.profile]
        yield Row(name, "", (*counts, *(first(fields, one) or None for one in names)))


def rows(config: Config, source: str) -> list[Row]:
    """Return a row for each signature, those of most incidents first.

    :param source: ``store``, or the name of an output.
    """
    from kpanic.dashboards import engine, totals  # noqa: PLC0415

    if source == "store":
        with open_store(config, readonly=True) as store:
            return list(_of_store(store))
    with opened(config, source) as crashes:
        counted = totals.rows(crashes.ask_totals, crashes.ask, MOST)
        return engine.rows(crashes.ask, totals.LIST) if counted is None else counted


def named(config: Config, source: str, name: str) -> list[str]:
    """Return the signature of a name, or else the first signatures that begin with it."""
    if source == "store":
        with open_store(config, readonly=True) as store:
            found = sorted(row.id for row in store.signatures() if row.id.startswith(name))[:NAMED]
    else:
        field = "kernel.panic.signature.id"
        groups = {"terms": {"field": field, "size": NAMED, "order": {"_key": "asc"}}}
        body = {"size": 0, "query": {"prefix": {field: {"value": name}}}, "aggs": {"groups": groups}}
        with opened(config, source) as crashes:
            answer = crashes.ask(body).get("aggregations")  # none without an index
        found = [row["key"] for row in answer["groups"]["buckets"]] if answer else []
    return [name] if name in found else found


def summary(config: Config, row: Row) -> dict[str, Any]:
    """Return a row as an object for JSON, with the triage of the fault."""
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    incidents, hosts, first, last, title, cause, quality, kernel = row.values
    triage = Triage(config.entries).known(str(row.key), str(title or ""), str(kernel or ""))
    return {
        "id": row.key,
        "title": title,
        "cause": cause,
        "incidents": incidents,
        "hosts": hosts,
        "first": _day(first),
        "last": _day(last),
        "quality": quality,
        "triage": triage,
    }


def details(config: Config, source: str, signature: str) -> dict[str, Any]:
    """Return everything about one signature as an object for JSON."""
    from kpanic.dashboards.embedded import first, values  # noqa: PLC0415
    from kpanic.shipper.fields import get  # noqa: PLC0415
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    find = _found_in_store if source == "store" else _found_in_engine
    (incidents, hosts, since, until), by_host, by_kernel, document = find(config, source, signature)
    newest = Triage(config.entries).stamp_document(document)
    return {
        "id": signature,
        "title": first(newest, "kernel.panic.title"),
        "cause": first(newest, "kernel.panic.cause"),
        "quality": first(newest, "kernel.panic.signature.quality"),
        "incidents": incidents,
        "hosts": hosts,
        "first": _day(since),
        "last": _day(until),
        "triage": get(newest, "kernel.panic.triage") or {},
        "by_host": by_host,
        "by_kernel": by_kernel,
        "trace": list(values(newest, "kernel.panic.call_trace")),
        "reading": list(values(newest, "kernel.panic.analysis.steps")),
    }


class _Found(NamedTuple):
    """All about one signature."""

    counts: tuple[Value, ...]
    """Incidents, hosts, first and last time."""
    by_host: dict[str, Value]
    by_kernel: dict[str, Value]
    newest: dict[str, Any]
    """The newest document."""


def _found_in_store(config: Config, _source: str, signature: str) -> _Found:
    from kpanic.shipper.store import Selection  # noqa: PLC0415

    with open_store(config, readonly=True) as store:
        ((_, *counts),) = store.signatures(signature)
        (crash,) = store.newest_crashes(1, Selection(fields={"kernel.panic.signature.id": signature}))
        newest = next((document for _, document in store.documents_by_seq([crash.seq])), {})
        return _Found(
            tuple(counts),
            {**store.incidents_by("host", signature)},
            {**store.incidents_by("host.os.kernel", signature)},
            newest,
        )


def _found_in_engine(config: Config, source: str, signature: str) -> _Found:
    from kpanic.dashboards import engine  # noqa: PLC0415
    from kpanic.dashboards.panels import FAULTS, FIRST, HOSTS, INCIDENTS, LAST, Panel, Term  # noqa: PLC0415
    from kpanic.dashboards.query import clause, query, read  # noqa: PLC0415

    where = (Term(FAULTS.field, signature),)
    newest = {
        "size": 1,
        "query": clause(where),
        "sort": [{"@timestamp": "desc"}],
        "_source": {"excludes": ["event.original", "kernel.panic.registers"]},
    }
    whole = Panel("show", "", "", "number", (INCIDENTS, HOSTS, FIRST, LAST))
    with opened(config, source) as crashes:

        def groups(field: str) -> dict[str, Value]:
            panel = Panel("show", "", "", "table", (INCIDENTS,), by=field, size=MOST)
            return {str(row.key): row.values[0] for row in engine.rows(crashes.ask, panel, where)}

        found = [hit["_source"] for hit in crashes.ask(newest)["hits"]["hits"]]
        (counts,) = read(whole, crashes.ask(query(whole, where)))
        return _Found(counts.values, groups("host.name"), groups("host.os.kernel"), found[0] if found else {})


def _day(moment: str | int | None) -> str:
    """Format milliseconds since 1970 UTC as documents do."""
    from datetime import UTC, datetime  # noqa: PLC0415

    if not isinstance(moment, int):
        return ""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
