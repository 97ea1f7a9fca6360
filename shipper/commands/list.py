"""``kpanic list``: list the crashes of the store or of an engine, one line for each incident."""

from __future__ import annotations

import re
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._crashes import selection, since_option
from kpanic.shipper.commands._engine import opened, source_option
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.fields import get
from kpanic.shipper.tables import Column, print_table, short_host
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from kpanic.shipper.config import Config
    from kpanic.shipper.store import Crash, Selection, Store
    from kpanic.shipper.triage import Triage

__all__ = ["command"]

Incident = list[dict[str, Any]]
"""The documents of an incident, the newest first, whole or with the fields of :data:`FIELDS`."""

FIELDS = {
    "time": "@timestamp",
    "host": "host.name",
    "crash": "kernel.panic.title",
    "cause": "kernel.panic.cause",
    "kernel": "host.os.kernel",
    "function": "kernel.panic.function",
    "signature": "kernel.panic.signature.id",
    "triage": "kernel.panic.triage.status",
    "fatal": "kernel.panic.fatal",
    "incident": "event.id",
    "seen_by": "event.provider",
    "path": "log.file.path",
}
"""Columns of CSV, and the field of each."""
_FORMULA = re.compile(r"((?:^|;) *)(?=[=+\-@＝＋－＠])")  # noqa: RUF001 - they are meant
LINES = 100
"""Incidents of a table, unless ``--newest`` gives another number."""
ENGINE_LINES = 10_000
"""Incidents of an engine in the other formats."""
COLUMNS = (
    Column("time (UTC)"),
    Column("host", order=1),
    Column("crash", 36),
    Column("cause", order=2),
    Column("kernel", order=3),
    Column("triage", order=4),
    Column("signature", order=5),
)


@click.command("list")
@source_option
@configured
@since_option
@click.option("--host", default="", metavar="PATTERN", help="Crashes of a host; * and ? are wildcards.")
@click.option(
    "--kernel", default="", metavar="PATTERN", help="Crashes of a kernel release; * and ? are wildcards."
)
@click.option("--cause", default="", metavar="CAUSE", help="Crashes of a cause, such as null-dereference.")
@click.option(
    "--signature",
    default="",
    metavar="ID",
    help="Crashes of a fault; the first characters of its ID are enough.",
)
@click.option("--all", "every", is_flag=True, help="Include reports that did not kill the kernel.")
@click.option(
    "--newest",
    type=click.IntRange(1),
    metavar="N",
    help=f"Only the newest N incidents; by default {LINES} in a table, and otherwise all, {ENGINE_LINES:,} of"
    " an engine.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "ndjson"]),
    default="table",
    show_default=True,
    help="table, csv: a line for each incident; ndjson: its documents.",
)
def command(  # noqa: PLR0913 - one for each option
    config_file: str | None,
    overrides: tuple[str, ...],
    *,
    source: str,
    since: datetime | None,
    host: str,
    kernel: str,
    cause: str,
    signature: str,
    every: bool,
    newest: int | None,
    form: str,
) -> int:
    """List the crashes of the store or of an engine, the newest first."""
    config = read_config(config_file, overrides)
    wanted = selection(since=since, host=host, kernel=kernel, cause=cause, signature=signature, every=every)
    show = {"table": _table, "csv": _csv, "ndjson": _ndjson}[form]
    if source == "store":
        most = newest or (LINES if form == "table" else None)
        with open_store(config, readonly=True) as store:
            found, more = _shown(show, config, _of_store(store, wanted, most, text=form != "table"), most)
    else:
        most = newest or (LINES if form == "table" else ENGINE_LINES)
        with opened(config, source) as crashes:
            fields = None if form == "ndjson" else FIELDS.values()
            found, more = _shown(show, config, crashes.newest(most + 1, wanted, fields), most)
    if more and (form == "table" or newest is None):
        say(f"kpanic: these are the newest {most}; --newest N shows more")
    if not found:
        say("kpanic: no crash found")
    return 0


def _shown(
    show: Callable[[Config, Iterable[Incident]], int],
    config: Config,
    incidents: Iterator[Incident],
    most: int | None,
) -> tuple[int, bool]:
    """Print incidents; return how many, and whether there are more than ``most``."""
    found = show(config, islice(incidents, most))
    return found, next(incidents, None) is not None


def _of_store(store: Store, only: Selection, most: int | None, *, text: bool) -> Iterator[Incident]:
    """Yield the newest incidents and one more.

    :param text: read the documents, not only the columns.
    """
    crashes = store.each_crash(only) if most is None else store.newest_crashes(most + 1, only)
    for incident in dict.fromkeys(crash.incident for crash in crashes):
        rows = store.crashes_of(incident)
        if text:
            yield [document for _, document in store.documents_by_seq(row.seq for row in rows)]
        else:
            profiles = store.profiles({row.profile for row in rows})
            yield [_outlined(row, profiles.get(row.profile, {})) for row in rows]


def _outlined(row: Crash, profile: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the store as a document."""
    from kpanic.shipper.columns import stamp  # noqa: PLC0415

    host = {**profile.get("host", {}), "name": row.host or None}
    return {**profile, "@timestamp": stamp(row.at), "host": host}


def _merged(documents: Iterable[dict[str, Any]], triage: Triage) -> dict[str, Any]:
    """Return the row of :data:`FIELDS` of an incident; a field that one document lacks comes from another."""
    row: dict[str, Any] = dict.fromkeys(FIELDS)
    providers: dict[str, None] = {}
    for document in documents:
        triage.stamp_document(document)
        row = {
            name: get(document, field) if row[name] is None else row[name] for name, field in FIELDS.items()
        }
        providers[get(document, FIELDS["seen_by"]) or ""] = None
    return row | {"seen_by": " ".join(filter(None, providers))}


def _table(config: Config, incidents: Iterable[Incident]) -> int:
    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    triage = Triage(config.entries)
    lines = []
    for documents in incidents:
        row = _merged(documents, triage)
        names = ("crash", "cause", "kernel", "triage", "signature")
        moment = str(row["time"])[:16].replace("T", " ")
        lines.append((moment, short_host(row["host"] or "unknown"), *(row[name] for name in names)))
    print_table(COLUMNS, lines)
    return len(lines)


def _csv(config: Config, incidents: Iterable[Incident]) -> int:
    import csv  # noqa: PLC0415

    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    triage = Triage(config.entries)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(FIELDS)
    found = 0
    for documents in incidents:
        out.writerow(_plain(list(_merged(documents, triage).values())))
        found += 1
    return found


def _plain(values: Sequence[object]) -> list[str]:
    """Return cells that a spreadsheet does not take for formulas (CWE-1236).

    Some programs split lines at semicolons, and read the wide forms of East Asia as the plain characters.
    """
    cells = []
    for value in values:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else visible(str(value))
        cells.append(_FORMULA.sub(r"\1'", text))
    return cells


def _ndjson(config: Config, incidents: Iterable[Incident]) -> int:
    from kpanic.shipper.packed import encode  # noqa: PLC0415 - needs msgspec
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    triage = Triage(config.entries)
    found = 0
    for documents in incidents:
        for document in documents:
            sys.stdout.buffer.write(encode(triage.stamp_document(document)) + b"\n")
        found += 1
    return found
