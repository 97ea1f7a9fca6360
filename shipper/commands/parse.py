"""``kpanic parse FILE…``: print the crashes of files as documents, in the order of the logs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from kpanic.shipper.commands._hosts import host_options, stated_hosts
from kpanic.shipper.inputs.sources import named_files
from kpanic.shipper.origin import Origin
from kpanic.shipper.parsing import parse_files
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.shipper.parsing import Parsed

__all__ = ["command"]


@click.command("parse")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "table", "text"]),
    help="Output format; by default table on a terminal, else ndjson.",
)
@host_options
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Number of parsing processes; by default one for each CPU.",
)
def command(
    files: tuple[str, ...], form: str | None, host: str, host_patterns: tuple[str, ...], jobs: int | None
) -> int:
    """Print the crashes of FILES as documents, in the order of the logs.

    '-' is standard input. Files compressed with gzip, xz, zstd or bzip2 are decompressed; of tar, zip and deb
    archives each file is read. FILES may be URLs with * and ?: s3, gs, abfs, hdfs, sftp and https.
    """
    form = form or ("table" if sys.stdout.isatty() else "ndjson")
    base = Origin("file", agent_host=os.uname().nodename, hosts=stated_hosts(host, host_patterns))
    faults = crashes = 0

    def named() -> Iterator[str]:
        nonlocal faults
        for found in named_files(files):
            if found.fault:
                faults += 1
                say(f"kpanic: {found.path}: {found.fault}")
            else:
                yield found.path

    def reported() -> Iterator[Parsed]:
        nonlocal faults, crashes
        for parsed in parse_files(named(), base, jobs, kept=False):
            if parsed.fault:
                faults += 1
                say(f"kpanic: {parsed.path}: {parsed.fault}")
            crashes += len(parsed.documents)
            yield parsed

    _PRINTERS[form](reported())
    if not crashes and not faults:
        say("kpanic: no crash found")
    return 1 if faults else 0


def _ndjson(parsed: Iterable[Parsed]) -> None:
    out = sys.stdout.buffer
    for one in parsed:
        for document in one.documents:
            out.write(document.body)
            out.write(b"\n")
    out.flush()


def _table(parsed: Iterable[Parsed]) -> None:
    import msgspec  # noqa: PLC0415

    from kpanic.shipper.tables import Column, print_table, short_host  # noqa: PLC0415

    columns = (
        Column("time (UTC)"),
        Column("host", order=2),
        Column("crash", 36),
        Column("cause", order=4),
        Column("function", order=5),
        Column("kernel", order=6),
        Column("file", order=3),
    )
    rows = []
    for one in parsed:
        for packed in one.documents:
            document = msgspec.json.decode(packed.body)
            panic = document["kernel"]["panic"]
            rows.append(
                (
                    document["@timestamp"][:19].replace("T", " "),
                    short_host(document["host"].get("name", "unknown")),
                    panic["title"],
                    panic["cause"],
                    panic.get("function"),
                    document["host"]["os"].get("kernel"),
                    os.path.basename(one.path),  # noqa: PTH119
                )
            )
    print_table(columns, rows)


def _text(parsed: Iterable[Parsed]) -> None:
    import msgspec  # noqa: PLC0415

    first = True
    for one in parsed:
        for packed in one.documents:
            document = msgspec.json.decode(packed.body)
            lines = list(_in_words(document))
            sys.stdout.write(("" if first else "\n") + "".join(f"{visible(line)}\n" for line in lines))
            first = False


def _in_words(document: dict[str, object]) -> Iterator[str]:
    from kpanic.shipper.fields import get  # noqa: PLC0415

    yield f"{get(document, 'kernel.panic.title')}"
    for label, name in (
        ("time", "@timestamp"),
        ("  from", "kernel.panic.timestamp_source"),
        ("host", "host.name"),
        ("kernel", "host.os.kernel"),
        ("boot image", "kernel.panic.boot_image"),
        ("machine", "kernel.panic.hardware.name"),
        ("cause", "kernel.panic.cause"),
        ("  detail", "kernel.panic.cause_detail"),
        ("fatal", "kernel.panic.fatal"),
        ("RIP", "kernel.panic.rip.raw"),
        ("function", "kernel.panic.function"),
        ("process", "process.name"),
        ("taint", "kernel.panic.taint.raw"),
        ("signature", "kernel.panic.signature.id"),
        ("parsed", "kernel.panic.parse.status"),
        ("file", "log.file.path"),
    ):
        value = get(document, name)
        if value is not None:
            yield f"  {label:<12}{str(value).lower() if isinstance(value, bool) else value}"
    trace = get(document, "kernel.panic.call_trace")
    if isinstance(trace, list):
        yield "  call trace"
        for frame in trace:
            yield f"    {frame}"
    summary = get(document, "kernel.panic.analysis.summary")
    if summary:
        yield f"  {summary}"


_PRINTERS = {"ndjson": _ndjson, "table": _table, "text": _text}
