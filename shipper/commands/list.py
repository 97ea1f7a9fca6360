"""``kpanic list``: list the crashes of the store, one line for each incident."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._crashes import Wanted, since_option, stored
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.fields import get
from kpanic.shipper.tables import Column, print_table, short_host
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from kpanic.shipper.config import Config
    from kpanic.shipper.store import Store

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
@click.option("--kernel", default="", metavar="PATTERN", help="Crashes of a kernel release; likewise.")
@click.option("--cause", default="", metavar="CAUSE", help="Crashes of a cause, such as null-dereference.")
@click.option("--signature", default="", metavar="ID", help="Crashes of a fault; the first characters do.")
@click.option("--all", "every", is_flag=True, help="Reports that did not kill the kernel, too.")
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
    form: str,
) -> int:
    """List the crashes of the store, the newest first."""
    config = read_config(config_file, overrides)
    wanted = Wanted(since, host, kernel, cause, signature, every)
    with open_store(config, readonly=True) as store:
        found = _PRINTERS[form](config, store, wanted)
    if not found:
        say("kpanic: no crash found")
    return 0


def _incidents(config: Config, store: Store, wanted: Wanted) -> list[dict[str, Any]]:
    """Return a row of :data:`FIELDS` for each incident; the fields that one document lacks are another's."""
    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    triage = Triage(config.entries)
    rows: dict[str, dict[str, Any]] = {}
    for document in stored(store, wanted, FIELDS.values()):
        triage.stamp_document(document)
        seen = {name: get(document, field) for name, field in FIELDS.items()}
        row = rows.setdefault(document["event"]["id"], seen)
        if row is not seen:
            row |= {name: value for name, value in seen.items() if row[name] is None}
            if seen["seen_by"] not in row["seen_by"].split(" "):
                row["seen_by"] += f" {seen['seen_by']}"
    return list(rows.values())


def _table(config: Config, store: Store, wanted: Wanted) -> int:
    rows = _incidents(config, store, wanted)
    names = ("host", "crash", "cause", "kernel", "triage", "signature")
    print_table(COLUMNS, [(_minute(row["time"]), *(row[name] for name in names)) for row in _shown(rows)])
    return len(rows)


def _shown(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row | {"host": short_host(row["host"] or "unknown")}


def _minute(stamp: str) -> str:
    return stamp[:16].replace("T", " ")


def _csv(config: Config, store: Store, wanted: Wanted) -> int:
    import csv  # noqa: PLC0415

    rows = _incidents(config, store, wanted)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(FIELDS)
    for row in rows:
        out.writerow(_plain(list(row.values())))
    return len(rows)


def _plain(values: Sequence[object]) -> list[str]:
    """Return cells that a spreadsheet takes as text: none is a formula (CWE-1236)."""
    cells = []
    for value in values:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else visible(str(value))
        cells.append(f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)
    return cells


def _ndjson(config: Config, store: Store, wanted: Wanted) -> int:
    from kpanic.shipper.packed import encode  # noqa: PLC0415 - needs msgspec
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    triage = Triage(config.entries)
    found = 0
    for document in stored(store, wanted):
        sys.stdout.buffer.write(encode(triage.stamp_document(document)) + b"\n")
        found += 1
    return found


_PRINTERS = {"table": _table, "csv": _csv, "ndjson": _ndjson}
