"""``kpanic ship PATH…``: parse files, store their crashes, deliver them."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from kpanic.shipper.batch import Batch
from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._deliver import delivering, say_delivered
from kpanic.shipper.commands._hosts import host_options, stated_hosts
from kpanic.shipper.commands._plugins import make_outputs, origin
from kpanic.shipper.commands._store import expire, open_store
from kpanic.shipper.crashed_host import HostRules
from kpanic.shipper.inputs.folders import walk
from kpanic.shipper.parsing import parse_files
from kpanic.shipper.spool import spool
from kpanic.shipper.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.shipper.config import Config
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.packed import Packed
    from kpanic.shipper.parsing import Parsed
    from kpanic.shipper.store import Store

__all__ = ["command"]

PATIENCE = 3.0
"""Seconds within which some output has to take something if the store's disk is full."""


@click.command("ship")
@click.argument("paths", metavar="PATH...", nargs=-1)
@configured
@host_options
@click.option("--jobs", type=click.IntRange(1, 256), default=1, metavar="N", help="Processes to parse with.")
@click.option("--dry-run", is_flag=True, help="Say what would be shipped; store and send nothing.")
@click.option("--backfill", is_flag=True, help="Mark these crashes as history: they page nobody.")
@click.option(
    "--no-backfill",
    is_flag=True,
    help="Mark none as history; without this option, those before the store was made are.",
)
def command(  # noqa: PLR0913 - one for each option
    paths: tuple[str, ...],
    config_file: str | None,
    overrides: tuple[str, ...],
    jobs: int,
    *,
    host: str,
    host_patterns: tuple[str, ...],
    dry_run: bool,
    backfill: bool,
    no_backfill: bool,
) -> int:
    """Parse files and folders and deliver their crashes to every output.

    Without a PATH, the files that the configured inputs watch are read.

    Without an output, crashes stay in the store for 'kpanic report' and for outputs added later. A crash that
    was shipped is not shipped again.
    """
    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    if backfill and no_backfill:
        raise click.BadOptionUsage("--no-backfill", "--backfill and --no-backfill exclude each other")
    stated = stated_hosts(host, host_patterns)
    config = read_config(config_file, overrides, () if dry_run else ("output",))
    hosts = stated or configured_hosts(config)
    files: list[str] = []
    faults = 0
    for path in dict.fromkeys(paths or configured_paths(config)):
        for found in walk(path):
            if found.fault:
                faults += 1
                say(f"kpanic: {found.path}: {found.fault}")
            else:
                files.append(found.path)
    if dry_run:
        return _dry_run(config, origin(config, hosts=hosts), files, faults, jobs)
    outputs = make_outputs(config)
    with open_store(config) as store:
        if not (backfill or no_backfill) and outputs and not store.status().documents:
            say(
                "first run here: what crashed before now is kept as history and alerts nobody (--no-backfill)"
            )
        before = float("inf") if backfill else None if no_backfill else store.created()
        base = origin(config, hosts=hosts, backfill_before=before)
        parsed = parse_files(files, base, jobs)  # its processes before our threads
        with delivering(store, outputs, Triage(config.entries)) as wake:
            names = [output.name for output in outputs]
            crashes, new, unread = _spool_all(store, parsed, len(files), names, wake)
            known = f", {crashes - new} known already" if crashes > new else ""
            nothing = "; nothing new" if crashes and not new else ""
            if files or not faults:
                say(f"{counted(len(files), 'file')}, {counted(crashes, 'crash')}: {new} new{known}{nothing}")
            if crashes and not outputs:
                say(f"no output is configured: kept in {store.path}; 'kpanic report' shows them")
        complete = say_delivered(store, outputs)
        expire(store, config, say)
    return 0 if complete and not faults + unread else 1


def configured_paths(config: Config) -> list[str]:
    """Return the files and folders that the configured inputs watch.

    :raises Failure: no input is configured.
    """
    from kpanic.plugins import load  # noqa: PLC0415
    from kpanic.shipper.config import INPUTS  # noqa: PLC0415

    if not config.inputs:
        raise Failure("nothing to ship: name files or folders, or configure inputs", 2)
    return [path for plugin in config.inputs for path in load(INPUTS, plugin.name)(plugin.settings).paths]


def configured_hosts(config: Config) -> HostRules:
    """Return what the configured inputs say of the hosts of their files."""
    from kpanic.shipper.api import PathSettings  # noqa: PLC0415 - needs msgspec

    settings = [plugin.settings for plugin in config.inputs if isinstance(plugin.settings, PathSettings)]
    return HostRules(rule for one in settings for rule in one.host_rules())


def _spool_all(
    store: Store, files: Iterable[Parsed], total: int, outputs: Sequence[str], wake: Callable[[], None]
) -> tuple[int, int, int]:
    """Store what is parsed; return the numbers of crashes, of new ones and of files with a fault."""
    from kpanic.shipper.store import StoreError  # noqa: PLC0415

    crashes = new = unread = 0
    batch = Batch()
    try:
        with _progress(total) as advance:
            for parsed in files:
                if parsed.fault:
                    unread += 1
                    say(f"kpanic: {parsed.path}: {parsed.fault}")
                crashes += len(parsed.documents)
                if batch.add(parsed.documents):
                    new += _spooled(store, batch.empty(), outputs, wake)
                    wake()
                if parsed.complete:
                    advance()
            new += _spooled(store, batch.empty(), outputs, wake)
    except StoreError as error:
        raise Failure(str(error)) from None
    return crashes, new, unread


def _spooled(store: Store, batch: Sequence[Packed], outputs: Sequence[str], wake: Callable[[], None]) -> int:
    """Store a batch; if the disk is full, once the outputs have taken something. Return how many are new.

    :raises StoreError: not all of it is stored.
    """
    from kpanic.shipper.store import StoreFull  # noqa: PLC0415

    settled = -1
    while True:
        try:
            return spool(store, batch, outputs, say=say)
        except StoreFull:
            before, settled = settled, sum(output.delivered for output in store.outputs())
            if settled == before:
                raise
        wake()
        time.sleep(PATIENCE)


def _dry_run(config: Config, base: Origin, files: Sequence[str], faults: int, jobs: int) -> int:
    store = open_store(config, readonly=True) if config.store_path().exists() else None
    new: set[str] = set()
    known: set[str] = set()
    crashes, fresh = 0, set[str]()  # of one file
    for parsed in parse_files(files, base, jobs):
        if parsed.fault:
            faults += 1
            say(f"kpanic: {parsed.path}: {parsed.fault}")
        ids = {document.id for document in parsed.documents}
        old = store.known_ids(list(ids)) if store else set()
        known |= old
        crashes += len(parsed.documents)
        fresh |= ids - old
        if parsed.complete:
            if crashes or not parsed.fault:
                say(f"{parsed.path}: {counted(crashes, 'crash')}, {len(fresh)} of them new")
            new |= fresh
            crashes, fresh = 0, set()
    names = (
        ", ".join(plugin.name for plugin in config.outputs) or "no output; they would be kept in the store"
    )
    if files or not faults:
        say(
            f"{counted(len(files), 'file')}: {len(new)} new, {len(known)} shipped before; would go to {names}"
        )
    if store:
        store.close()
    return 1 if faults else 0


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal; yield the function that advances it by one file."""
    if not sys.stderr.isatty() or total < 2:  # noqa: PLR2004 - one file needs no bar
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    with Progress(
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
