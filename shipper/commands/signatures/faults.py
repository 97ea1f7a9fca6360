"""The faults in the store or in an engine: one row for each signature, or all about one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpanic.shipper.commands._store import open_store
from kpanic.shipper.commands.signatures.engines import search

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.dashboards.embedded import Row
    from kpanic.dashboards.panels import Metric, Panel
    from kpanic.shipper.config import Config

__all__ = ["details", "rows", "summary"]

MOST = 10_000
"""Signatures of a list, documents of one signature: what engines return at once (max_result_window)."""


def _panel() -> Panel:
    from kpanic.dashboards import panels  # noqa: PLC0415

    return panels.Panel(
        "list",
        "",
        "",
        "table",
        (
            panels.INCIDENTS,
            panels.HOSTS,
            panels.FIRST,
            panels.LAST,
            panels.TITLE,
            panels.CAUSE,
            panels.Metric("newest", "kernel.panic.signature.quality", "Quality"),
            panels.Metric("newest", "host.os.kernel", "Kernel"),
        ),
        by=panels.FAULTS.field,
        size=MOST,
    )


def _documents(config: Config, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the store's documents with only the fields ``names``."""
    with open_store(config, readonly=True) as store:
        yield from store.documents(only=names)


def rows(config: Config, source: str) -> list[Row]:
    """Return a row for each signature, those of most incidents first.

    :param source: ``store``, or the name of an output.
    """
    from kpanic.dashboards.embedded import evaluate  # noqa: PLC0415
    from kpanic.dashboards.query import query, read  # noqa: PLC0415

    panel = _panel()
    if source == "store":
        return evaluate(panel, _documents(config, {panel.by, "event.id", *_fields(panel.metrics)}))
    return read(panel, search(config, source, query(panel)))


def _fields(metrics: Iterable[Metric]) -> Iterator[str]:
    return (metric.field for metric in metrics)


def summary(config: Config, row: Row) -> dict[str, Any]:
    """Return a row as an object for JSON, with what is known of the fault."""
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
    from kpanic.dashboards.embedded import age, evaluate, first, values  # noqa: PLC0415
    from kpanic.dashboards.panels import FAULTS, FIRST, HOSTS, INCIDENTS, LAST, Panel  # noqa: PLC0415
    from kpanic.shipper.fields import get  # noqa: PLC0415
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    found: list[dict[str, Any]]
    if source == "store":
        with open_store(config, readonly=True) as store:
            found = [one for one in store.documents() if signature in values(one, FAULTS.field)]
    else:
        body = {"size": MOST, "query": {"term": {FAULTS.field: signature}}, "sort": [{"@timestamp": "desc"}]}
        body["_source"] = {"excludes": ["event.original", "kernel.panic.registers"]}
        found = [hit["_source"] for hit in search(config, source, body)["hits"]["hits"]]
    newest = Triage(config.entries).stamp_document(max(found, key=age))

    def groups(field: str) -> dict[str, Any]:
        panel = Panel("show", "", "", "table", (INCIDENTS,), by=field, size=MOST)
        return {str(row.key): row.values[0] for row in evaluate(panel, found)}

    whole = Panel("show", "", "", "number", (INCIDENTS, HOSTS, FIRST, LAST))
    incidents, hosts, since, until = evaluate(whole, found)[0].values
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
        "by_host": groups("host.name"),
        "by_kernel": groups("host.os.kernel"),
        "trace": list(values(newest, "kernel.panic.call_trace")),
        "reading": list(values(newest, "kernel.panic.analysis.steps")),
    }


def _day(moment: str | int | None) -> str:
    """Format milliseconds since 1970 UTC as documents do."""
    from datetime import UTC, datetime  # noqa: PLC0415

    if not isinstance(moment, int):
        return ""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
