"""``kpanic list``: list the crashes of the store, one line for each incident."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._crashes import selection, since_option
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.fields import get
from kpanic.shipper.tables import Column, print_table, short_host
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from kpanic.shipper.config import Config
    from kpanic.shipper.store import Crash, Store
    from kpanic.shipper.triage import Triage

__all__ = ["command"]

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
LINES = 100
"""Incidents of a table, unless it is asked for more."""
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
@configured
@since_option
@click.option("--host", default="", metavar="PATTERN", help="Crashes of a host; * and ? are wildcards.")
@click.option(
    "--kernel", default="", metavar="PATTERN", help="Crashes of a kernel release; * and ? are wildcards."
)
@click.option("--cause", default="", metavar="CAUSE", help="Crashes of a cause, such as null-dereference.")
@click.option("--signature", default="", metavar="ID", help="Crashes of a fault; the first characters do.")
@click.option("--all", "every", is_flag=True, help="Reports that did not kill the kernel, too.")
@click.option(
    "--newest",
    type=click.IntRange(1),
    metavar="N",
    help=f"Only the newest N incidents; by default {LINES} in a table, and all of them otherwise.",
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
    since: datetime | None,
    host: str,
    kernel: str,
    cause: str,
    signature: str,
    every: bool,
    newest: int | None,
    form: str,
) -> int:
    """List the crashes of the store, the newest first."""
    config = read_config(config_file, overrides)
    wanted = selection(since=since, host=host, kernel=kernel, cause=cause, signature=signature, every=every)
    with open_store(config, readonly=True) as store:
        if form == "table":
            most = newest or LINES
            found = _table(config, store, store.newest_crashes(most + 1, wanted), most)
        else:
            rows = store.each_crash(wanted)
            if newest is not None:
                incidents = store.newest_crashes(newest, wanted)
                rows = (row for crash in incidents for row in store.crashes_of(crash.incident))
            found = (_csv if form == "csv" else _ndjson)(config, store, rows)
    if not found:
        say("kpanic: no crash found")
    return 0


def _merged(documents: Iterable[dict[str, Any]], triage: Triage) -> dict[str, Any]:
    """Return the row of :data:`FIELDS` of an incident; a field that one document lacks is another's."""
    row: dict[str, Any] = dict.fromkeys(FIELDS)
    providers: dict[str, None] = {}
    for document in documents:
        triage.stamp_document(document)
        row = {
            name: get(document, field) if row[name] is None else row[name] for name, field in FIELDS.items()
        }
        providers[get(document, FIELDS["seen_by"]) or ""] = None
    return row | {"seen_by": " ".join(filter(None, providers))}


def _table(config: Config, store: Store, crashes: list[Crash], most: int) -> int:
    """Print the table from columns alone, and say so if there are more than ``most``."""
    from kpanic.shipper.columns import stamp  # noqa: PLC0415
    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    triage = Triage(config.entries)
    lines = []
    for crash in crashes[:most]:
        rows = store.crashes_of(crash.incident)
        profiles = store.profiles({row.profile for row in rows})
        row = _merged((profiles.get(one.profile, {}) for one in rows), triage)
        host = next((one.host for one in rows if one.host), "unknown")
        names = ("crash", "cause", "kernel", "triage", "signature")
        moment = stamp(crash.at)[:16].replace("T", " ")
        lines.append((moment, short_host(host), *(row[name] for name in names)))
    print_table(COLUMNS, lines)
    if len(crashes) > most:
        say(f"kpanic: these are the newest {most}; --newest N shows more")
    return len(lines)


def _csv(config: Config, store: Store, crashes: Iterable[Crash]) -> int:
    import csv  # noqa: PLC0415

    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    triage = Triage(config.entries)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(FIELDS)
    incidents = dict.fromkeys(crash.incident for crash in crashes)
    for incident in incidents:
        documents = store.documents_by_seq(row.seq for row in store.crashes_of(incident))
        row = _merged((document for _, document in documents), triage)
        out.writerow(_plain(list(row.values())))
    return len(incidents)


def _plain(values: Sequence[object]) -> list[str]:
    """Return cells that a spreadsheet takes as text: none is a formula (CWE-1236)."""
    cells = []
    for value in values:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else visible(str(value))
        cells.append(f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)
    return cells


def _ndjson(config: Config, store: Store, crashes: Iterable[Crash]) -> int:
    from kpanic.shipper.packed import encode  # noqa: PLC0415 - needs msgspec
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    triage = Triage(config.entries)
    found = 0
    for _, document in store.documents_by_seq(crash.seq for crash in crashes):
        sys.stdout.buffer.write(encode(triage.stamp_document(document)) + b"\n")
        found += 1
    return found
