"""The dashboards as one HTML file that needs nothing else, not even a network.

The documents travel inside it as two compressed blocks: columns of numbers (one row a document, each
value the number of a word in that column's dictionary), so that ten thousand incidents are some hundred
kilobytes and every filter is a loop over integers; and the words, with one full example of each
signature. Both are base64, so no text of a log can end as markup; the page's script puts words on the
screen as text nodes only. A content security policy inside allows that one script, by its hash, and
no request at all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from array import array
from base64 import b64encode
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dashboards.embedded import age, first, milliseconds, values
from dashboards.panels import COLUMNS, DASHBOARDS, TIME, fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FACETS = {
    "host.os.kernel": "Kernel",
    "kernel.panic.cause": "Cause",
    "host.name": "Host",
    "kernel.panic.taint.flags": "Taint",
}
"""Filters that are always in reach; every bar and cell of a panel filters as well."""
SEARCHED = ("kernel.panic.kind", "kernel.panic.function", "event.reason", "process.name")
"""What free text looks at beside the panels' fields and each signature's example."""
TEXT_LIMIT = 12_000
"""Characters of one example's raw text that are kept."""
TEXT_BUDGET = 8_000_000
"""Characters of raw text kept in all; the signatures that come after it go without."""
IDS_LIMIT = 50_000
"""Above this number of incidents their ids, which do not compress, are left out."""
EXAMPLES_LIMIT = 5_000
"""Signatures with a full example; incidents without a signature bring their own."""


def render_report(
    documents: Iterable[Mapping[str, Any]], *, fleet: int | None = None, made: datetime | None = None
) -> str:
    """Return the report as an HTML page.

    ``documents`` are nested ECS documents in any order. ``fleet`` is how many hosts there are in all:
    with it the page says panics per 1,000 hosts a day. ``made`` is the time that the page gives as
    its own, now if it is not given.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415  (start-up time)

    table = _Table()
    for document in documents:
        table.add(document)
    words, numbers = table.blocks()
    model = {
        "dashboards": [asdict(dashboard) for dashboard in DASHBOARDS],
        "facets": FACETS,
        "columns": COLUMNS,
        "fleet": fleet,
        "made": (made or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
    }
    script = _script()
    page = Environment(
        loader=PackageLoader("dashboards", "page"), autoescape=select_autoescape(default=True)
    ).get_template("report.html.j2")
    return page.render(
        script=script,
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=(files("dashboards") / "page" / "report.css").read_text(encoding="utf-8"),
        model=_block(json.dumps(model, default=str).encode()),
        words=_block(json.dumps(words, ensure_ascii=False).encode("utf-8", "backslashreplace")),
        numbers=_block(numbers),
    )


class _Table:
    """Documents as columns; see the module for why."""

    def __init__(self) -> None:
        names = {name for source, name in fields() if source == "panics"} | set(FACETS) | set(SEARCHED)
        self.names = sorted(names - {TIME, "event.id"})
        self.codes = {name: array("I") for name in self.names}
        self.dictionaries: dict[str, dict[object, int]] = {name: {(): 0} for name in self.names}
        self.incidents: dict[str, int] = {}
        self.incident = array("I")
        self.time = array("d")
        self.examples: dict[str, tuple[tuple[bool, int, str], dict[str, Any]]] = {}
        self.text = 0

    def add(self, document: Mapping[str, Any]) -> None:
        incident = first(document, "event.id")
        self.incident.append(self.incidents.setdefault(incident, len(self.incidents)))
        self.time.append(milliseconds(first(document, TIME)))
        for name in self.names:
            words = self.dictionaries[name]
            found = tuple(_word(value) for value in values(document, name))
            self.codes[name].append(words.setdefault(found, len(words)))
        key = first(document, "kernel.panic.signature.id") or incident
        rank = (first(document, "kernel.panic.parse.status") == "complete", *age(document))
        kept = self.examples.get(key)
        if kept is None and len(self.examples) >= EXAMPLES_LIMIT:
            return
        if kept is None or kept[0] < rank:
            self.text -= len(kept[1]["text"]) if kept else 0
            example = _example(document, TEXT_LIMIT if self.text < TEXT_BUDGET else 0)
            self.text += len(example["text"])
            self.examples[key] = (rank, example)

    def blocks(self) -> tuple[dict[str, Any], bytes]:
        """Return the words, and the numbers as little-endian arrays in the order the words name."""
        last: dict[int, float] = {}
        for incident, time in zip(self.incident, self.time, strict=True):
            last[incident] = max(time, last.get(incident, time))
        # The page counts distinct incidents in one pass, so an incident's documents stay together.
        order = sorted(
            range(len(self.time)),
            key=lambda row: (last[self.incident[row]], self.incident[row], self.time[row]),
        )
        columns: list[array[float] | array[int]] = [
            array("d", (self.time[row] for row in order)),
            array("I", (self.incident[row] for row in order)),
            *(array("I", (codes[row] for row in order)) for codes in self.codes.values()),
        ]
        words = {
            "rows": len(order),
            "names": self.names,
            "dictionaries": [[list(word) for word in self.dictionaries[name]] for name in self.names],  # type: ignore[call-overload]
            "incidents": list(self.incidents) if len(self.incidents) <= IDS_LIMIT else [],
            "examples": {key: example for key, (_, example) in self.examples.items()},
        }
        return words, b"".join(_little_endian(column) for column in columns)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _little_endian(column: array[float] | array[int]) -> bytes:
    import sys  # noqa: PLC0415

    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _example(document: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Return what the page shows of one whole document."""
    analysis = document.get("kernel", {}).get("panic", {}).get("analysis", {})
    text = first(document, "event.original")
    return {
        "time": milliseconds(first(document, TIME)),
        "facts": {
            label: " ".join(map(_word, found))
            for label, name in FACTS.items()
            if (found := values(document, name))
        },
        "trace": list(map(str, values(document, "kernel.panic.call_trace"))),
        "summary": str(analysis.get("summary", "")),
        "why": str(analysis.get("why", "")),
        "steps": list(map(str, values(analysis, "steps"))),
        "next": list(map(str, values(analysis, "next"))),
        "vmcore": analysis.get("vmcore_needed"),
        "text": text[:limit],
        "cut": len(text) > limit,
    }


FACTS = {
    "Incident": "event.id",
    "Host": "host.name",
    "Kernel": "host.os.kernel",
    "Reason": "event.reason",
    "Cause": "kernel.panic.cause",
    "Detail": "kernel.panic.cause_detail",
    "Guilty function": "kernel.panic.function",
    "RIP": "kernel.panic.rip.raw",
    "Fault address": "kernel.panic.fault_address",
    "Process": "process.name",
    "Machine": "kernel.panic.hardware.product",
    "BIOS": "kernel.panic.hardware.bios_version",
    "Taint": "kernel.panic.taint.raw",
    "Command line": "kernel.panic.command_line",
    "Signature": "kernel.panic.signature.id",
    "Quality": "kernel.panic.signature.quality",
    "Triage": "kernel.panic.triage.status",
    "Ticket": "kernel.panic.triage.ticket",
    "Owner": "kernel.panic.triage.owner",
    "Read from": "event.provider",
    "File": "log.file.path",
}
"""What an example says about itself, in reading order."""


@cache
def _script() -> str:
    """Return the page's one script: Vega-Lite and what it needs, then our own."""
    import vl_convert  # noqa: PLC0415  (a JavaScript engine; only a report needs it)

    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub asks for a snippet
    own = (files("dashboards") / "page" / "report.js").read_text(encoding="utf-8")
    # The bundle leaks its top-level names, and an HTML parser must not see an end tag inside.
    script = f"(()=>{{{bundle}}})();\n{own}"
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _block(content: bytes) -> str:
    return b64encode(gzip.compress(content, 9, mtime=0)).decode()
