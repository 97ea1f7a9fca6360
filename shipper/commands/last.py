"""``kpanic last``: the newest crash of the store, and its reading in short."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._crashes import selection, since_option
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.fields import get
from kpanic.shipper.terminal import counted, say, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

__all__ = ["command"]

REPORT = "kpanic-report.html"
"""The page that ``kpanic report`` writes by default."""
WIDEST = 100
"""Maximum columns of a paragraph."""
STEPS = 3
"""Lines of what to do next that are shown; ``explain`` shows all."""
FRAMES = 5
"""Frames of the call trace that are shown."""
NAMES = {
    "host.name": "host",
    "host.os.kernel": "kernel",
    "kernel.panic.hardware.name": "machine",
    "kernel.panic.cause": "cause",
    "kernel.panic.function": "function",
    "process.name": "process",
    "kernel.panic.vmcore.source": "line",
    "kernel.panic.vmcore.pointer": "pointer",
    "kernel.panic.vmcore.object": "object",
    "kernel.panic.vmcore.lock": "lock",
    "kernel.panic.vmcore.holder": "held by",
    "kernel.panic.signature.id": "signature",
    "log.file.path": "log",
}
"""Shown fields by their label."""


@click.command("last")
@configured
@since_option
@click.option("--host", default="", metavar="PATTERN", help="Crashes of a host; * and ? are wildcards.")
@click.option("--all", "every", is_flag=True, help="Include reports that did not kill the kernel.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(  # noqa: PLR0913 - one for each option
    config_file: str | None,
    overrides: tuple[str, ...],
    *,
    since: datetime | None,
    host: str,
    every: bool,
    form: str,
) -> int:
    """Show the newest crash of the store: what happened, where, and what to do next."""
    from kpanic.shipper.packed import encode  # noqa: PLC0415 - needs msgspec
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    config = read_config(config_file, overrides)
    with open_store(config, readonly=True) as store:
        wanted = selection(since=since, host=host, every=every)
        newest = store.newest_crashes(1, wanted)
        found = [row.seq for crash in newest for row in store.crashes_of(crash.incident)]
        document = max((one for _, one in store.documents_by_seq(found)), key=_worth, default=None)
        if document is None:
            say("kpanic: no crash found")
            return 0
        more = store.count_incidents(wanted) - 1 if since or host else 0
    Triage(config.entries).stamp_document(document)
    if form == "json":
        sys.stdout.buffer.write(encode(document) + b"\n")
        return 0
    for line in _reading(document):
        sys.stdout.write(f"{visible(line)}\n")
    if more:
        say(f"{counted(more, 'earlier crash')}: kpanic list")
    return 0


def _worth(document: dict[str, Any]) -> tuple[bool, bool, bool, int]:
    return (
        get(document, "kernel.panic.parse.status") == "complete",
        get(document, "kernel.panic.vmcore.status") == "answered",
        bool(get(document, "host.name")),
        len(str(get(document, "event.original") or "")),
    )


def _reading(document: dict[str, Any]) -> Iterator[str]:
    """Yield the lines."""
    width = min(WIDEST, shutil.get_terminal_size().columns)
    moment = str(document["@timestamp"])[:19].replace("T", " ")
    host = get(document, "host.name") or "Host unknown"
    title = get(document, "kernel.panic.title")
    yield from _wrapped(f"{host}, {moment} UTC: {title}", width)
    yield ""
    said = (get(document, "kernel.panic.analysis.summary"), get(document, "kernel.panic.analysis.why"))
    yield from _wrapped(" ".join(f"{str(one).rstrip('.')}." for one in said if one), width)
    yield ""
    for field, label in NAMES.items():
        if value := get(document, field):
            yield from _wrapped(f"{label:<11}{value}", width, " " * 11)
    if triage := get(document, "kernel.panic.triage"):
        words = [triage.get(name, "") for name in ("status", "ticket", "owner", "note")]
        yield from _wrapped(f"{'triage':<11}{', '.join(filter(None, words))}", width, " " * 11)
    yield from _list("trace", _frames(document), width)
    yield from _list("next", (get(document, "kernel.panic.analysis.next") or [])[:STEPS], width)
    yield ""
    path = get(document, "log.file.path") or ""
    if os.path.isfile(path):  # noqa: PTH113 - as the input was named
        yield from _wrapped(f"All of the reading: kpanic explain {shlex.quote(path)}", width)
    if signature := get(document, "kernel.panic.signature.id"):
        chosen = {"signature": signature} | ({"host.name": host} if get(document, "host.name") else {})
        yield from _wrapped(f"In the page of 'kpanic report': {REPORT}#{urlencode(chosen)}", width)


def _frames(document: dict[str, Any]) -> list[str]:
    trace = get(document, "kernel.panic.call_trace") or []
    left = len(trace) - FRAMES
    return [*trace[:FRAMES], *([f"… {left} more"] if left > 0 else [])]


def _list(label: str, values: Iterable[str], width: int) -> Iterator[str]:
    for number, value in enumerate(values):
        first = f"{'' if number else label:<11}"
        yield from _wrapped(f"{first}{value}", width, " " * 13)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return a paragraph; a word that is too long stays whole, so that it can be copied."""
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
