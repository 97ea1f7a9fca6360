"""The dashboards as one self-contained HTML file that needs no network.

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
import sys
from array import array
from base64 import b64encode
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import accumulate, chain, compress, islice
from operator import ne
from typing import TYPE_CHECKING, Any, TypeVar

from kpanic.dashboards.embedded import first, matches, milliseconds, values
from kpanic.dashboards.panels import ANSWERED, COLUMNS, FACETS, FINDINGS, TIME, fields, of_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.dashboards.crashes import Crashes

SEARCHED = ("kernel.panic.kind", "kernel.panic.function", "event.reason", "process.name")
"""Fields that the page's search covers, in addition to those of panels and examples of signatures."""
HOST = "host.name"
SIGNATURE = "kernel.panic.signature.id"
TEXT_LIMIT = 12_000
"""Maximum characters of raw text of one example."""
TEXT_BUDGET = 8_000_000
"""Maximum characters of raw text in total; later examples have none."""
IDS_LIMIT = 50_000
"""Number of incidents above which their ids, which do not compress, are left out."""
SIGNED_LIMIT, UNSIGNED_LIMIT = 4_000, 1_000
"""Maximum examples of signatures, and of incidents without one."""
LEVEL = 6
"""Of gzip; 9 takes eight times as long for half a percent less."""
NEWEST = 100
"""Newest incidents, each of which the page shows in full."""

NAMES = tuple(sorted({name for source, name in fields() if source == "panics"} | set(FACETS) | set(SEARCHED)))
"""Fields of a document that a report uses."""


def render_report(
    crashes: Crashes,
    *,
    fleet: int | None = None,
    made: datetime | None = None,
    older: int = 0,
    answers: Mapping[str, Any] | None = None,
) -> str:
    """Return the report as an HTML page.

    :param crashes: profiles need the fields :data:`NAMES`.
    :param fleet: number of all hosts, for panics per 1,000 hosts a day.
    :param made: time of the page; by default now.
    :param older: number of documents that the page leaves out and mentions.
    :param answers: figures that include those documents, shown while nothing is filtered
        (:func:`kpanic.dashboards.engine.answers`).
    """
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415  (start-up time)

    with ThreadPoolExecutor(1) as executor:
        script_to_come = executor.submit(_script)
        table = _Table(crashes)
        examples = table.examples()
        numbers, words = table.blocks()
        del table
        words_block = _block(
            json.dumps(words | {"examples": examples}, ensure_ascii=False).encode("utf-8", "backslashreplace")
        )
        del examples, words
        numbers_block = _block(numbers)
        del numbers
        script = script_to_come.result()
    model = {
        "dashboards": [asdict(dashboard) for dashboard in of_fleet(fleet)],
        "facets": FACETS,
        "columns": COLUMNS,
        "fleet": fleet,
        "older": older,
        "answers": answers,
        "made": (made or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
    }
    page = Environment(
        loader=PackageLoader("kpanic.dashboards", "page"), autoescape=select_autoescape(default=True)
    ).get_template("report.html.j2")
    return page.render(
        script=script,
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=(files("kpanic.dashboards") / "page" / "report.css").read_text(encoding="utf-8"),
        model=_block(json.dumps(model, default=str).encode()),
        words=words_block,
        numbers=numbers_block,
    )


_Word = TypeVar("_Word", bound=Hashable)


class _Codes(dict[_Word, int]):
    """Numbers for words, in the order of their first use."""

    def __missing__(self, word: _Word) -> int:
        self[word] = code = len(self)
        return code


class _Table:
    """Crashes as columns of word numbers."""

    def __init__(self, crashes: Crashes) -> None:
        self._crashes = crashes
        self._time = array("d")
        self._incident = array("I")
        self._host = array("I")
        self._profile = array("I")
        self._hosts = _Codes[str]({"": 0})
        self._profiles = _Codes[int]()
        self._incident_keys: list[int] = []
        """Keys of incidents by number; it stops growing beyond :data:`IDS_LIMIT`."""
        self._newest: deque[tuple[int, int, int]] = deque(maxlen=NEWEST)
        """Number and key of the newest incidents, and one document of each."""
        self._opened: dict[int, int] = {}
        """The document of a dump's analysis, by the number of its incident: it says more than the others."""
        self._unsigned: deque[int] = deque(maxlen=UNSIGNED_LIMIT)
        """Documents without a signature."""
        self._last: dict[int, tuple[int, int]] = {}
        """Time and key of each profile's newest document."""
        self._answered = {key for key, fields in crashes.profiles.items() if matches(fields, (ANSWERED,))}
        """Profiles of documents with answers of a dump."""
        self._read()

    def _read(self) -> None:
        unsigned = {key for key, fields in self._crashes.profiles.items() if not first(fields, SIGNATURE)}
        before = -1
        number = -1
        for rows in self._crashes.rows():
            at, incident, host, profile, document = zip(*rows, strict=True)
            new = list(map(ne, incident, chain((before,), incident)))
            numbers = array("I", islice(accumulate(new, initial=number), 1, None))
            before, number = incident[-1], numbers[-1]
            self._time.extend(at)
            self._incident.extend(numbers)
            self._host.extend(map(self._hosts.__getitem__, host))
            self._profile.extend(map(self._profiles.__getitem__, profile))
            if len(self._incident_keys) <= IDS_LIMIT:
                self._incident_keys.extend(compress(incident, new))
            self._newest.extend(compress(zip(numbers, incident, document, strict=True), new))
            self._last.update(zip(profile, zip(at, document, strict=True), strict=True))
            self._unsigned.extend(compress(document, map(unsigned.__contains__, profile)))
            self._opened.update(
                compress(zip(numbers, document, strict=True), map(self._answered.__contains__, profile))
            )

    def _ids(self) -> dict[int, str]:
        """Return the ``event.id`` of incidents by number: of all, or of the newest if there are many."""
        if len(self._incident_keys) <= IDS_LIMIT:
            return dict(enumerate(self._crashes.incident_ids(self._incident_keys)))
        numbers, keys, _ = zip(*self._newest, strict=True)
        return dict(zip(numbers, self._crashes.incident_ids(keys), strict=True))

    def _best(self) -> Iterator[int]:
        """Yield the best document of each signature: the newest parsed completely, of a dump if any."""
        best: dict[str, tuple[bool, bool, int, int]] = {}
        for profile, (at, document) in self._last.items():
            fields = self._crashes.profiles.get(profile, {})
            signature = first(fields, SIGNATURE)
            rank = (first(fields, "kernel.panic.parse.status") == "complete", profile in self._answered, at)
            if signature and (signature not in best or best[signature][:3] < rank):
                best[signature] = (*rank, document)
        found = sorted(best.values(), key=lambda one: one[2], reverse=True)
        return (document for *_, document in found[:SIGNED_LIMIT])

    def examples(self) -> dict[str, dict[str, Any]]:
        """Return the parts of whole documents that the page shows, by their signature or incident."""
        best = set(self._best())
        newest = (self._opened.get(number, document) for number, _, document in self._newest)
        own = {*newest, *self._unsigned}
        examples: dict[str, dict[str, Any]] = {}
        left = TEXT_BUDGET
        for key, document in self._crashes.whole(list(dict.fromkeys([*best, *own]))):
            example = _example(document, TEXT_LIMIT if left > 0 else 0)
            left -= len(example["text"])
            if key in best:
                examples[first(document, SIGNATURE)] = example
            if key in own:
                examples[first(document, "event.id")] = example
        return examples

    def blocks(self) -> tuple[bytes, dict[str, Any]]:
        """Return the numbers, as consecutive little-endian arrays, and the words that they represent.

        The arrays: a row a document its time (milliseconds since 1970 UTC, 8 bytes), its incident, its
        host, its profile; a row a profile its other fields (4 bytes each).
        """
        names = [name for name in NAMES if name not in {TIME, "event.id", HOST}]
        plan = _plan(names)
        words = [_Codes[Hashable]({(): 0}) for _ in names]
        profiled = [array("I") for _ in names]
        for profile in self._profiles:
            found: list[Hashable] = [()] * len(names)
            _pick(self._crashes.profiles.get(profile, {}), plan, found)
            for column, codes, value in zip(profiled, words, found, strict=True):
                column.append(codes[value])
        columns: list[array[float] | array[int]] = [
            self._time,
            self._incident,
            self._host,
            self._profile,
            *profiled,
        ]
        return b"".join(map(_little_endian, columns)), {
            "rows": len(self._time),
            "profiles": len(self._profiles),
            "names": [HOST, *names],
            "own": 1,
            "dictionaries": [
                [[host] if host else [] for host in self._hosts],
                *([[_word(word) for word in _many(found)] for found in codes] for codes in words),
            ],
            "incidents": self._ids(),
        }


def _plan(names: Sequence[str]) -> dict[str, Any]:
    """Return dotted names as a tree, each with its place among them."""
    plan: dict[str, Any] = {}
    for place, name in enumerate(names):
        *path, leaf = name.split(".")
        node = plan
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = place
    return plan


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
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _example(document: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Return the parts of one whole document that the page shows."""
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
    **{label: field for field, label in FINDINGS.items()},
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


class NoVega(Exception):  # noqa: N818 - a property of the package
    """The package was built without Vega."""


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
    """Return the page's one script: Vega-Lite with its dependencies, then kpanic's own.

    :raises NoVega: the package was built without Vega.
    """
    folder = files("kpanic.dashboards") / "page"
    try:
        bundle = (folder / "vega.js").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NoVega(
            "this kpanic was built without Vega, which draws the page; wheels of x86-64 or arm64 have it"
            " and work everywhere: pip install --force-reinstall --no-deps kpanic-*.whl"
        ) from None
    own = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    failed = (folder / "failed.js").read_text(encoding="utf-8")
    # Both leak their top-level names into the page unless they stand in functions.
    script = f'(()=>{{{bundle}}})();\n"use strict";\n(async () => {{\n{own}\n}})().catch({failed});'
    # An HTML parser must not see an end tag inside.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _block(content: bytes) -> str:
    return b64encode(gzip.compress(content, LEVEL, mtime=0)).decode()
