"""``kpanic ship PATH…``: parse what is there, keep it, deliver it."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._common import (
    configured,
    made_outputs,
    make_room,
    open_store,
    origin,
    read_config,
)
from kpanic.shipper.inputs.folders import walk
from kpanic.shipper.pipeline import Delivery, keep, parse_files
from kpanic.shipper.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.shipper.api import Output
    from kpanic.shipper.config import Config
    from kpanic.shipper.document import Packed
    from kpanic.shipper.pipeline import Parsed
    from kpanic.shipper.store import Store
    from kpanic.shipper.triage import Triage

__all__ = ["command", "delivering", "tell"]

BATCH = 100
"""Documents of one transaction."""
PROGRESS = 3.0
"""Seconds in which an output has to take something where the store's disk is full."""
TRIES = 6
"""Failures in a row after which an output is left for another time: about half a minute."""


@click.command("ship")
@click.argument("paths", metavar="PATH...", nargs=-1)
@configured
@click.option("--jobs", type=click.IntRange(1, 256), default=1, metavar="N", help="Processes to parse with.")
@click.option("--dry-run", is_flag=True, help="Say what would be shipped; keep and send nothing.")
@click.option("--backfill", is_flag=True, help="These crashes are history and page nobody.")
@click.option("--no-backfill", is_flag=True, help="None of them is; else those older than the store are.")
def command(  # noqa: PLR0913 - one for each option
    paths: tuple[str, ...],
    config_file: str | None,
    overrides: tuple[str, ...],
    jobs: int,
    *,
    dry_run: bool,
    backfill: bool,
    no_backfill: bool,
) -> int:
    """Parse files and folders and deliver their crashes to every output.

    Without a PATH, what the configured inputs have now.

    Without an output they are kept in the store, for 'kpanic report' and for outputs to come. What was
    shipped once is not shipped again.
    """
    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    if backfill and no_backfill:
        raise click.BadOptionUsage("--no-backfill", "--backfill and --no-backfill exclude each other")
    config = read_config(config_file, overrides, () if dry_run else ("output",))
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
        return _rehearse(config, files, faults, jobs)
    outputs = made_outputs(config)
    with open_store(config) as store:
        if not (backfill or no_backfill) and outputs and not store.status().documents:
            say(
                "first run here: what crashed before now is kept as history and alerts nobody (--no-backfill)"
            )
        before = float("inf") if backfill else None if no_backfill else store.created()
        base = origin(config, backfill_before=before)
        parsed = parse_files(files, base, jobs)  # its processes before our threads
        with delivering(store, outputs, Triage(config.entries)) as wake:
            names = [output.name for output in outputs]
            crashes, new, unread = _keep(store, parsed, len(files), names, wake)
            known = f", {crashes - new} known already" if crashes > new else ""
            nothing = "; nothing new" if crashes and not new else ""
            if files or not faults:
                say(f"{counted(len(files), 'file')}, {counted(crashes, 'crash')}: {new} new{known}{nothing}")
            if crashes and not outputs:
                say(f"no output is configured: kept in {store.path}; 'kpanic report' shows them")
        complete = tell(store, outputs)
        make_room(store, config, say)
    return 0 if complete and not faults + unread else 1


def configured_paths(config: Config) -> list[str]:
    """Return what the inputs of the configuration have now.

    :raises Failure: there is none.
    """
    from kpanic.shipper.config import INPUTS  # noqa: PLC0415
    from kpanic.shipper.plugins import load  # noqa: PLC0415

    if not config.inputs:
        raise Failure("nothing to ship: name files or folders, or configure inputs", 2)
    return [path for plugin in config.inputs for path in load(INPUTS, plugin.name)(plugin.settings).paths]


@contextmanager
def delivering(
    store: Store, outputs: Sequence[Output], triage: Triage | None = None
) -> Iterator[Callable[[], None]]:
    """Deliver meanwhile, and at the end until nothing is left or an output has failed too often.

    Yields what tells the outputs that there is something new. An interrupt ends it after what is in flight.
    """
    deliveries = [Delivery(store, output, triage=triage, tries=TRIES) for output in outputs]

    def wake() -> None:
        for delivery in deliveries:
            delivery.wake()

    for delivery in deliveries:
        delivery.start()
    try:
        yield wake
        for delivery in deliveries:
            delivery.finish()
        for delivery in deliveries:
            delivery.join()
    finally:
        for delivery in deliveries:
            delivery.stop()
        for delivery in deliveries:
            delivery.join()
            if delivery.there:
                say(f"{delivery.output.name}: of these {delivery.there} there already")
            if delivery.trouble:
                say(f"kpanic: {delivery.trouble}")


def tell(store: Store, outputs: Sequence[Output]) -> bool:
    """Say how far each output is; return whether each has everything."""
    names = {output.name for output in outputs}
    complete = True
    for output in store.status().outputs:
        if output.name not in names:
            continue
        line = f"{output.name}: {output.delivered} delivered in all"
        if output.pending:
            line += f", {output.pending} kept for the next try"
        if output.dead:
            line += f", {output.dead} refused ('kpanic status' says why)"
        say(line)
        complete = complete and not output.pending and not output.dead
    return complete


def _keep(
    store: Store, files: Iterable[Parsed], total: int, outputs: Sequence[str], wake: Callable[[], None]
) -> tuple[int, int, int]:
    """Put what was parsed into the store; return how many crashes, new ones and faulty files there were."""
    from kpanic.shipper.store import StoreError  # noqa: PLC0415

    crashes = new = unread = 0
    batch: list[Packed] = []
    try:
        with _progress(total) as advance:
            for parsed in files:
                if parsed.fault:
                    unread += 1
                    say(f"kpanic: {parsed.path}: {parsed.fault}")
                crashes += len(parsed.documents)
                batch += parsed.documents
                if len(batch) >= BATCH:
                    new += _kept(store, batch, outputs, wake)
                    batch.clear()
                    wake()
                advance()
            new += _kept(store, batch, outputs, wake)
    except StoreError as error:
        raise Failure(str(error)) from None
    return crashes, new, unread


def _kept(store: Store, batch: Sequence[Packed], outputs: Sequence[str], wake: Callable[[], None]) -> int:
    """Put a batch into the store; where its disk is full, as soon as the outputs have taken something.

    :raises StoreError: not all of it was kept.
    """
    from kpanic.shipper.store import StoreFull  # noqa: PLC0415

    settled = -1
    while True:
        try:
            return keep(store, batch, outputs, say=say)
        except StoreFull:
            before, settled = settled, sum(output.delivered for output in store.outputs())
            if settled == before:
                raise
        wake()
        time.sleep(PROGRESS)


def _rehearse(config: Config, files: Sequence[str], faults: int, jobs: int) -> int:
    store = open_store(config, readonly=True) if config.store_path().exists() else None
    new: set[str] = set()
    known: set[str] = set()
    for parsed in parse_files(files, origin(config), jobs):
        if parsed.fault:
            faults += 1
            say(f"kpanic: {parsed.path}: {parsed.fault}")
        ids = [document.id for document in parsed.documents]
        old = store.known_ids(ids) if store else set()
        known |= old
        new |= set(ids) - old
        if ids or not parsed.fault:
            say(f"{parsed.path}: {counted(len(ids), 'crash')}, {len(set(ids) - old)} of them new")
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
    """Show a bar on a terminal; yield what moves it by one."""
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
