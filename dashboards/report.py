"""The dashboards as one HTML file that needs nothing else, not even a network.

The page holds the documents in two compressed blocks. One has numbers: for each document its time,
incident, host and profile, and for each profile the other fields. A field is the number of a word in the
dictionary of its column, so every filter is a loop over integers, and ten thousand incidents take some
hundred kilobytes. The other block has the words, one full example of each signature, and the newest
incidents in full. Both are base64, and the script writes words as text nodes only, so no text of a log
becomes markup. A content security policy allows that one script, by its hash, and no request.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from array import array
from base64 import b64encode
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.embedded import first, milliseconds, values
from kpanic.dashboards.panels import COLUMNS, FACETS, TIME, fields, of_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEARCHED = ("kernel.panic.kind", "kernel.panic.function", "event.reason", "process.name")
"""Fields that the search looks at, beside those of panels and the examples of signatures."""
ROWS = ("host.name",)
"""Fields kept for each document; in a profile they would make one of nearly each document."""
TEXT_LIMIT = 12_000
"""Maximum characters of raw text of one example."""
TEXT_BUDGET = 8_000_000
"""Maximum characters of raw text in all; later examples go without."""
IDS_LIMIT = 50_000
"""Number of incidents above which their ids, which do not compress, are left out."""
SIGNED_LIMIT, UNSIGNED_LIMIT = 4_000, 1_000
"""Maximum examples of signatures, and of incidents without one."""
NEWEST = 100
"""Newest incidents, each of which the page shows in full."""

NAMES = tuple(sorted({name for source, name in fields() if source == "panics"} | set(FACETS) | set(SEARCHED)))
"""Fields of a document that :func:`render_report` reads, beside its ``_id``."""


def render_report(
    documents: Iterable[Mapping[str, Any]],
    *,
    whole: Callable[[Sequence[str]], Iterable[Mapping[str, Any]]] | None = None,
    fleet: int | None = None,
    made: datetime | None = None,
    older: int = 0,
) -> str:
    """Return the report as an HTML page.

    :param documents: nested ECS documents in any order, with the fields :data:`NAMES` at least.
    :param whole: returns documents in full by their ``_id``; called once, for the examples.
    :param fleet: number of hosts in all, for panics per 1,000 hosts a day.
    :param made: time that the page gives as its own; now, unless given.
    :param older: number of documents that the page leaves out and mentions.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415  (start-up time)

    table = _Table()
    for document in documents:
        table.add(document)
    words = {"examples": table.examples_of(whole)}
    numbers, more = table.blocks()
    words |= more
    del table
    model = {
        "dashboards": [asdict(dashboard) for dashboard in of_fleet(fleet)],
        "facets": FACETS,
        "columns": COLUMNS,
        "fleet": fleet,
        "older": older,
        "made": (made or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
    }
    script = _script()
    page = Environment(
        loader=PackageLoader("kpanic.dashboards", "page"), autoescape=select_autoescape(default=True)
    ).get_template("report.html.j2")
    return page.render(
        script=script,
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=(files("kpanic.dashboards") / "page" / "report.css").read_text(encoding="utf-8"),
        model=_block(json.dumps(model, default=str).encode()),
        words=_block(json.dumps(words, ensure_ascii=False).encode("utf-8", "backslashreplace")),
        numbers=_block(numbers),
    )


class _Table:
    """Documents as columns of word numbers."""

    def __init__(self) -> None:
        names = [name for name in NAMES if name not in {TIME, "event.id"}]
        self.names = [*ROWS, *(name for name in names if name not in ROWS)]
        self.plan: dict[str, Any] = {}
        for place, name in enumerate(self.names):
            *path, leaf = name.split(".")
            node = self.plan
            for part in path:
                node = node.setdefault(part, {})
            node[leaf] = place
        self.dictionaries: list[dict[object, int]] = [{(): 0} for _ in self.names]
        self.incidents: dict[str, int] = {}
        self.profiles: dict[tuple[object, ...], int] = {}
        self.time = array("d")
        self.incident = array("I")
        self.rows = [array("I") for _ in ROWS]
        self.profile = array("I")
        self.examples: dict[str, tuple[tuple[bool, int, str], Mapping[str, Any]]] = {}
        self.unsigned = 0
        self.newest: list[tuple[int, str, Any]] = []

    def add(self, document: Mapping[str, Any]) -> None:
        incident = first(document, "event.id")
        time = milliseconds(first(document, TIME))
        self.time.append(time)
        self.incident.append(self.incidents.setdefault(incident, len(self.incidents)))
        found: list[object] = [()] * len(self.names)
        _pick(document, self.plan, found)
        for place, column in enumerate(self.rows):
            column.append(self._code(place, found[place]))
        key = tuple(found[len(ROWS) :])
        profile = self.profiles.get(key)
        if profile is None:
            profile = self.profiles[key] = len(self.profiles)
        self.profile.append(profile)
        self._exemplify(document, incident, time)
        if len(self.newest) < NEWEST or time >= self.newest[0][0]:
            self._remember(document, incident, time)

    def _remember(self, document: Mapping[str, Any], incident: str, time: int) -> None:
        """Keep the document if its incident is among the newest; of an incident, the newest document."""
        self.newest = [one for one in self.newest if one[1] != incident or one[0] > time]
        if all(known != incident for _, known, _ in self.newest):
            insort(self.newest, (time, incident, document), key=lambda one: one[:2])
        del self.newest[:-NEWEST]

    def _code(self, place: int, found: object) -> int:
        words = self.dictionaries[place]
        return words.setdefault(found, len(words))

    def _exemplify(self, document: Mapping[str, Any], incident: str, time: int) -> None:
        """Keep the document if it is the best example of its signature: the newest parsed completely."""
        signature = first(document, "kernel.panic.signature.id")
        key = signature or incident
        rank = (first(document, "kernel.panic.parse.status") == "complete", time, incident)
        kept = self.examples.get(key)
        if kept is None:
            if signature and len(self.examples) - self.unsigned >= SIGNED_LIMIT:
                return
            if not signature and self.unsigned >= UNSIGNED_LIMIT:
                return
            self.unsigned += not signature
        if kept is None or kept[0] < rank:
            self.examples[key] = (rank, document)

    def examples_of(
        self, whole: Callable[[Sequence[str]], Iterable[Mapping[str, Any]]] | None
    ) -> dict[str, dict[str, Any]]:
        """Return what the page shows of each example, by its signature or incident."""
        chosen = {incident: document for _, incident, document in reversed(self.newest)}
        chosen |= {key: document for key, (_, document) in self.examples.items()}
        if whole:
            keys: dict[str, list[str]] = {}
            for key, document in chosen.items():
                keys.setdefault(first(document, "_id"), []).append(key)
            for document in whole(list(keys)):
                for key in keys[first(document, "_id")]:
                    chosen[key] = document
        examples = {}
        left = TEXT_BUDGET
        for key, document in chosen.items():
            examples[key] = _example(document, TEXT_LIMIT if left > 0 else 0)
            left -= len(examples[key]["text"])
        return examples

    def blocks(self) -> tuple[bytes, dict[str, Any]]:
        """Return the numbers, little-endian arrays one after the other, and the words they stand for.

        The arrays: a row a document its time (milliseconds since 1970 UTC, 8 bytes), its incident, its
        fields of :data:`ROWS`, its profile; a row a profile its other fields (4 bytes each).
        """
        last = array("d", [float("-inf")]) * len(self.incidents)
        for incident, time in zip(self.incident, self.time, strict=True):
            last[incident] = max(last[incident], time)
        # The page counts distinct incidents in one pass, so an incident's documents stay together.
        order = sorted(range(len(self.time)), key=self.time.__getitem__)
        order.sort(key=self.incident.__getitem__)
        order.sort(key=lambda row: last[self.incident[row]])
        number, before = -1, -1
        incidents = array("I")
        shown = array("I")
        for row in order:
            if self.incident[row] != before:
                before = self.incident[row]
                number += 1
                shown.append(before)
            incidents.append(number)
        places = range(len(ROWS), len(self.names))
        profiled = [array("I") for _ in places]
        for found in self.profiles:
            for place, column, value in zip(places, profiled, found, strict=True):
                column.append(self._code(place, value))
        columns: list[array[float] | array[int]] = [
            array("d", (self.time[row] for row in order)),
            incidents,
            *(array("I", (column[row] for row in order)) for column in (*self.rows, self.profile)),
            *profiled,
        ]
        ids = list(self.incidents) if len(self.incidents) <= IDS_LIMIT else []
        words = {
            "rows": len(order),
            "profiles": len(self.profiles),
            "names": self.names,
            "own": len(ROWS),
            "dictionaries": [
                [[_word(word) for word in _many(found)] for found in known] for known in self.dictionaries
            ],
            "incidents": [ids[incident] for incident in shown] if ids else [],
        }
        return b"".join(map(_little_endian, columns)), words


def _pick(node: Mapping[str, Any], plan: Mapping[str, Any], into: list[object]) -> None:
    """Put the fields of a plan into their places, as keys of dictionaries."""
    for part, below in plan.items():
        found = node.get(part)
        if found is None:
            continue
        if type(below) is int:
            into[below] = found if type(found) in {str, bool} else tuple(map(_word, _many(found)))
        elif isinstance(found, Mapping):
            _pick(found, below, into)


def _many(found: object) -> Iterable[object]:
    return found if isinstance(found, list | tuple) else (found,)


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
    "Suspect function": "kernel.panic.function",
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
    "Fixed in": "kernel.panic.triage.fixed_in",
    "Ticket": "kernel.panic.triage.ticket",
    "Owner": "kernel.panic.triage.owner",
    "Note": "kernel.panic.triage.note",
    "Read from": "event.provider",
    "File": "log.file.path",
}
"""Facts of an example, in reading order."""


SCRIPTS = (
    "data",
    "counting",
    "state",
    "words",
    "panels",
    "changes",
    "compare",
    "crash",
    "charts",
    "filters",
    "page",
)
"""Files of the page's script, which share one scope."""


@cache
def _script() -> str:
    """Return the page's one script: Vega-Lite and what it needs, then our own."""
    import vl_convert  # noqa: PLC0415  (a JavaScript engine; only a report needs it)

    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub asks for a snippet
    folder = files("kpanic.dashboards") / "page"
    own = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    failed = (folder / "failed.js").read_text(encoding="utf-8")
    # Both leak their top-level names into the page unless they stand in functions.
    script = f'(()=>{{{bundle}}})();\n"use strict";\n(async () => {{\n{own}\n}})().catch({failed});'
    # An HTML parser must not see an end tag inside.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _block(content: bytes) -> str:
    return b64encode(gzip.compress(content, 9, mtime=0)).decode()
