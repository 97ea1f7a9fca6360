"""The first lines of a reading: the verdict, which crash it is, and whether its signature is known here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kpanic.shipper.document import build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = ["Head", "earlier", "head"]

SOURCES = {"mtime": ", when its file was written", "folder": ", by the name of its folder"}
"""What the time of a crash rests on (``kernel.panic.timestamp_source``), where that is not the text."""


class Head(NamedTuple):
    """The three lines."""

    verdict: str
    crash: str
    signature: str


def earlier(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the incidents of each signature, and the time of each, out of a store's documents."""
    found: dict[str, dict[str, str]] = {}
    for document in documents:
        signature = document.get("kernel", {}).get("panic", {}).get("signature", {}).get("id")
        if signature:
            found.setdefault(signature, {})[document["event"]["id"]] = document["@timestamp"]
    return found


def head(
    report: CrashReport, origin: Origin, known: Mapping[str, Mapping[str, str]] | None, limit: int
) -> Head:
    """Return the first lines of a reading.

    :param known: the incidents of each signature in the store (:func:`earlier`), or nothing without a store.
    :param limit: the number of newest documents that were looked at for them.
    """
    document = build(report, origin)
    analysis = report.analysis
    verdict = f"{analysis.summary} {analysis.why.rstrip('.')}." if analysis else f"{report.title}."
    host = document["host"].get("name")
    kernel = document["host"].get("os", {}).get("kernel")
    moment = str(document["@timestamp"])[:19].replace("T", " ")
    source = SOURCES.get(document["kernel"]["panic"]["timestamp_source"], "")
    crash = f"Host {host or 'unknown'}, {moment} UTC{source}, kernel {kernel or 'unknown'}."
    return Head(verdict, crash, _signature(report, document["event"]["id"], known, limit))


def _signature(
    report: CrashReport, incident: str, known: Mapping[str, Mapping[str, str]] | None, limit: int
) -> str:
    if report.signature is None:
        return "No signature: the report has no frames to make one of."
    name = f"Signature {report.signature.id}"
    if known is None:
        return f"{name}; there is no store here to look for it in."
    times = {one: at for one, at in known.get(report.signature.id, {}).items() if one != incident}
    if not times:
        return f"{name}, not seen before in this store's newest {limit} documents."
    count = f"{len(times)} times" if len(times) > 1 else "once"
    return (
        f"{name}, seen {count} before in this store, last {max(times.values())[:16].replace('T', ' ')} UTC."
    )
