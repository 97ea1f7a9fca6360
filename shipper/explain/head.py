"""The first lines of a reading: the verdict, the crash's host, time and kernel, and its signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from kpanic.shipper.columns import stamp
from kpanic.shipper.document import build

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = ["Head", "Seen", "head"]

SOURCES = {
    "clock": ", by a clock whose zone the text does not say",
    "mtime": ", when its file was written",
    "folder": ", by the name of its folder",
}
"""Words for the source of a crash's time (``kernel.panic.timestamp_source``), if it is not the text."""


class Head(NamedTuple):
    """The three lines."""

    verdict: str
    crash: str
    signature: str


Seen = Callable[[str, str], tuple[int, int | None]]
"""Counts the earlier incidents of a signature, and returns the time of the newest in milliseconds."""


def head(report: CrashReport, origin: Origin, seen: Seen | None) -> Head:
    """Return the first lines of a reading.

    :param seen: looks into the store, :meth:`kpanic.shipper.store.Store.seen`; None without a store.
    """
    document = build(report, origin)
    analysis = report.analysis
    verdict = f"{analysis.summary} {analysis.why.rstrip('.')}." if analysis else f"{report.title}."
    host = document["host"].get("name")
    kernel = document["host"].get("os", {}).get("kernel")
    moment = str(document["@timestamp"])[:19].replace("T", " ")
    source = SOURCES.get(document["kernel"]["panic"]["timestamp_source"], "")
    crash = f"Host {host or 'unknown'}, {moment} UTC{source}, kernel {kernel or 'unknown'}."
    return Head(verdict, crash, _signature(report, document["event"]["id"], seen))


def _signature(report: CrashReport, incident: str, seen: Seen | None) -> str:
    if report.signature is None:
        return "No signature: the report has no frames to make one of."
    name = f"Signature {report.signature.id}"
    if seen is None:
        return f"{name}; there is no store here to look for it in."
    times, newest = seen(report.signature.id, incident)
    if newest is None:
        return f"{name}, not seen before in this store."
    last = stamp(newest)[:16].replace("T", " ")
    return f"{name}, seen {f'{times} times' if times > 1 else 'once'} before in this store, last {last} UTC."
