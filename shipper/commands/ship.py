"""``kpanic ship PATH…``: parse files, store their crashes, deliver them."""

from __future__ import annotations

import os
import re
import stat
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
from kpanic.shipper.commands._owner import become_owner
from kpanic.shipper.commands._plugins import make_outputs, origin
from kpanic.shipper.commands._store import expire, open_store
from kpanic.shipper.crashed_host import HostRules
from kpanic.shipper.files import is_url
from kpanic.shipper.inputs.log_file import STANDARD_INPUT
from kpanic.shipper.inputs.remote import has_secrets, without_secrets
from kpanic.shipper.inputs.sources import files_at
from kpanic.shipper.parsing import parse_files
from kpanic.shipper.parts import local_size
from kpanic.shipper.spool import spool
from kpanic.shipper.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.shipper.config import Config
    from kpanic.shipper.direct import Direct
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.packed import Packed
    from kpanic.shipper.parsing import Parsed
    from kpanic.shipper.store import Position, Store

__all__ = ["command"]


LEDGER = "ship"
"""Name in the store of files on other machines."""
NOTED = 1.0
"""Seconds after which finished files are recorded: a kill repeats the reading of so many seconds."""
MOST_PROCESSES = 256
_ADDRESS = re.compile(r"//(?:[\w.-]+|\[[\da-fA-F:]+\]):\d{1,5}", re.ASCII)
PATIENCE = 3.0
"""Seconds within which an output must take documents if the store's disk is full."""


def _where(_context: click.Context, param: click.Parameter, value: str) -> int | str | None:
    """Return where files are parsed, in the form of :func:`parse_files`."""
    kind, _, place = value.partition(":")
    if value == "local":
        return None
    if kind == "local" and place.isdecimal() and 1 <= int(place) <= MOST_PROCESSES:
        return int(place)
    if kind == "dask" and _ADDRESS.fullmatch(place):
        return value
    expected = f"local, local:N with N up to {MOST_PROCESSES}, or dask://HOST:PORT"
    raise click.BadParameter(f"{value!r} is not {expected}", param=param)


@click.command("ship")
@click.argument("paths", metavar="PATH...", nargs=-1)
@configured
@host_options
@click.option(
    "--on",
    callback=_where,
    default="local",
    metavar="WHERE",
    help="Where to parse: 'local', one process for each CPU; 'local:N', N processes; 'dask://HOST:PORT', the"
    " workers of a Dask scheduler.",
)
@click.option(
    "--direct",
    is_flag=True,
    help="Deliver from the machine that reads a file; the store here only records the deliveries.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be shipped; store and send nothing.")
@click.option("--again", is_flag=True, help="Also read files that were shipped before and are unchanged.")
@click.option("--backfill", is_flag=True, help="Mark these crashes as history: they do not alert.")
@click.option(
    "--no-backfill",
    is_flag=True,
    help="Do not mark crashes as history; by default those before the store's creation are.",
)
def command(  # noqa: PLR0913 - one for each option
    paths: tuple[str, ...],
    config_file: str | None,
    overrides: tuple[str, ...],
    on: int | str | None,
    *,
    host: str,
    host_patterns: tuple[str, ...],
    direct: bool,
    dry_run: bool,
    again: bool,
    backfill: bool,
    no_backfill: bool,
) -> int:
    """Parse files and folders and deliver their crashes to every output.

    Without a PATH, the files that the configured inputs watch are read. A PATH may be a tar, zip or deb
    archive, and a URL with * and ?: s3, gs, abfs, hdfs, sftp or https.

    Without an output, crashes stay in the store for 'kpanic report' and for outputs added later. A crash that
    was shipped is not shipped again.
    """
    from kpanic.shipper.triage import Triage  # noqa: PLC0415 - needs msgspec

    if backfill and no_backfill:
        raise click.BadOptionUsage("--no-backfill", "--backfill and --no-backfill exclude each other")
    stated = stated_hosts(host, host_patterns)
    config = read_config(config_file, overrides, () if dry_run else ("output",))
    hosts = stated or configured_hosts(config)
    paths = paths or tuple(configured_paths(config))
    if isinstance(on, str):
        _check_for_workers(paths)
    files = _Files(paths, hosts, states_here=direct)
    deliver = _direct(config, elsewhere=isinstance(on, str), backfill=backfill) if direct else None
    if dry_run:
        return _dry_run(config, origin(config, hosts=hosts), files, on, again=again)
    become_owner(config)
    outputs = make_outputs(config)
    with open_store(config) as store:
        if not (backfill or no_backfill) and outputs and not store.status().documents:
            say("first run here: earlier crashes are kept as history and do not alert (--no-backfill)")
        before = float("inf") if backfill else None if no_backfill else store.created()
        base = origin(config, hosts=hosts, backfill_before=before)
        named = files.named(None if again else store)
        # its processes start before the threads
        parsed = parse_files(named, base, on, files.size_of, deliver=deliver)
        with delivering(store, outputs, Triage(config.entries)) as wake:
            names = [output.name for output in outputs]
            crashes, new, unread = _spool_all(store, files, parsed, names, wake)
            known = f", {crashes - new} known already" if crashes > new else ""
            nothing = "; nothing new" if crashes and not new else ""
            if files.count or not files.faults:
                say(f"{counted(files.count, 'file')}, {counted(crashes, 'crash')}: {new} new{known}{nothing}")
            files.say_unchanged()
            if crashes and not outputs:
                say(f"no output is configured: kept in {store.path}; 'kpanic report' shows them")
        complete = say_delivered(store, outputs)
        expire(store, config, say)
    return 0 if complete and not files.faults + unread else 1


def _check_for_workers(paths: Iterable[str]) -> None:
    """Check that another machine can open the named files.

    :raises Failure: it cannot.
    """
    for path in paths:
        if not is_url(path) and path != STANDARD_INPUT and not os.path.isabs(path):  # noqa: PTH117
            raise Failure(f"{path}: workers are in another folder: give its absolute path", 2)
        if is_url(path) and has_secrets(path):
            url = without_secrets(path)
            raise Failure(
                f"{url}: the password or query of a URL is not sent to workers: give them credentials", 2
            )


def _direct(config: Config, *, elsewhere: bool, backfill: bool) -> Direct:
    """Return the delivery of documents where they are read.

    :param elsewhere: whether files are read on other machines.
    :raises Failure: an output cannot take documents from there.
    """
    from kpanic.shipper.direct import Direct  # noqa: PLC0415 - needs msgspec
    from kpanic.shipper.outputs.bulk import SearchConfig  # noqa: PLC0415 - as above

    if not config.outputs:
        raise Failure("--direct: no output is configured", 2)
    for name, settings in config.outputs:
        if not isinstance(settings, SearchConfig):
            raise Failure(
                f"--direct: output.{name} could get a document twice: only opensearch and elasticsearch know"
                " it by its _id",
                2,
            )
        if elsewhere and settings.password:
            raise Failure(
                f"--direct: output.{name}.password is not sent to workers: use a password_file that each has",
                2,
            )
    if config.notify.targets and not backfill:
        raise Failure("--direct: notify needs the documents in the store: add --backfill", 2)
    return Direct(config.outputs, config.entries)


class _Files:
    """The files to ship.

    :param states_here: whether local files that were shipped and did not change are left out too.
    :ivar count: number of files that are read.
    :ivar faults: number of files that could not be found; each is reported.
    :ivar bytes: total size of the files that were found so far.
    :ivar listed: whether all files are found.
    """

    def __init__(self, paths: Iterable[str], hosts: HostRules, *, states_here: bool = False) -> None:
        self._states_here = states_here
        self._paths = list(dict.fromkeys(paths))
        self._hosts = hosts
        self._states: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._unchanged = 0
        self.count = self.faults = self.bytes = 0
        self.listed = False

    def named(self, ledger: Store | None) -> Iterable[str]:
        """Return the files; where listing is fast, all are listed before the first is read.

        :param ledger: knows which files were shipped and are left out; None to read all.
        """
        found = self._found(ledger)
        return found if any(map(is_url, self._paths)) else list(found)

    def size_of(self, path: str) -> int:
        """Return the size of a file that may be read in parts, in bytes; 0 for one that is not."""
        return self._sizes.get(path, 0) if is_url(path) else local_size(path)

    def read(self, parsed: Parsed) -> int:
        """Return how many bytes of a file were read since the last call."""
        if parsed.complete:
            return self._sizes.pop(parsed.path, 0) - self._read.pop(parsed.path, 0)
        before = self._read.get(parsed.path, 0)
        if parsed.read <= before:
            return 0
        self._read[parsed.path] = parsed.read
        return parsed.read - before

    def _found(self, ledger: Store | None) -> Iterator[str]:
        for path in self._paths:
            for found in files_at(path):
                state = found.state or (_state_here(found.path) if self._states_here else "")
                state = state and f"{state}:{self._hosts.of(found.path)}"
                if found.fault:
                    self.faults += 1
                    say(f"kpanic: {found.path}: {found.fault}")
                elif state and ledger is not None and ledger.position(LEDGER, found.path) == state:
                    self._unchanged += 1
                else:
                    self.count += 1
                    if found.size:
                        self._sizes[found.path] = found.size
                        self.bytes += found.size
                    if state:
                        self._states[found.path] = state
                    yield found.path
        self.listed = True

    def noted(self, parsed: Iterable[Parsed]) -> Iterator[tuple[Parsed, Position | None]]:
        """Yield parsed documents with their file's entry in the ledger, to be kept once they are stored."""
        from kpanic.shipper.store import Position  # noqa: PLC0415

        damaged = False
        for one in parsed:
            damaged = damaged or bool(one.fault)
            position = None
            if one.complete:
                state = self._states.pop(one.path, "")
                if state and not damaged:
                    position = Position(LEDGER, one.path, state)
                damaged = False
            yield one, position

    def say_unchanged(self) -> None:
        """Say how many files were left out."""
        if self._unchanged:
            files = counted(self._unchanged, "file")
            say(f"{files} shipped before and unchanged: not read (--again reads them)")


def _state_here(path: str) -> str:
    """Return the state of a local file, which changes with its content; empty if unknown."""
    try:
        status = os.stat(path)  # noqa: PTH116 - as the user wrote it
    except (OSError, ValueError):  # a file in an archive, or a fault that is reported when it is read
        return ""
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else ""


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
    """Return the configured inputs' rules for the hosts of their files."""
    from kpanic.shipper.api import PathSettings  # noqa: PLC0415 - needs msgspec

    settings = [plugin.settings for plugin in config.inputs if isinstance(plugin.settings, PathSettings)]
    return HostRules(rule for one in settings for rule in one.host_rules())


def _spool_all(
    store: Store,
    files: _Files,
    found: Iterable[Parsed],
    outputs: Sequence[str],
    wake: Callable[[], None],
) -> tuple[int, int, int]:
    """Store parsed documents; return the numbers of crashes, of new ones and of files with a fault."""
    from kpanic.shipper.store import StoreError  # noqa: PLC0415

    crashes = new = unread = undelivered = 0
    reason = ""
    batch = Batch()
    positions: list[Position] = []
    noted = time.monotonic()
    try:
        with _progress(files) as advance:
            for parsed, position in files.noted(found):
                if parsed.fault:
                    unread += 1
                    say(f"kpanic: {parsed.path}: {parsed.fault}")
                crashes += len(parsed.documents)
                if parsed.undelivered:
                    reason = parsed.undelivered
                    undelivered += sum(bool(document.body) for document in parsed.documents)
                if position is not None:
                    positions.append(position)
                if batch.add(parsed.documents) or (positions and time.monotonic() - noted >= NOTED):
                    new += _spooled(store, batch.empty(), positions, outputs, wake)
                    positions.clear()
                    noted = time.monotonic()
                    wake()
                advance(files.read(parsed), crashes)
            new += _spooled(store, batch.empty(), positions, outputs, wake)
    except StoreError as error:
        raise Failure(str(error)) from None
    if undelivered:
        say(f"{counted(undelivered, 'document')} could not be delivered from where they were read: {reason}")
    return crashes, new, unread


def _spooled(
    store: Store,
    batch: Sequence[Packed],
    positions: Sequence[Position],
    outputs: Sequence[str],
    wake: Callable[[], None],
) -> int:
    """Store a batch, and the files that are read with it; return how many documents are new.

    If the disk is full, the batch is stored once the outputs have taken other documents.

    :raises StoreError: not all of it is stored.
    """
    from kpanic.shipper.store import StoreFull  # noqa: PLC0415

    settled = -1
    while True:
        try:
            return spool(store, batch, outputs, positions, say=say)
        except StoreFull:
            before, settled = settled, sum(output.delivered for output in store.outputs())
            if settled == before:
                raise
        wake()
        time.sleep(PATIENCE)


def _dry_run(config: Config, base: Origin, files: _Files, on: int | str | None, *, again: bool) -> int:
    store = open_store(config, readonly=True) if config.store_path().exists() else None
    new: set[str] = set()
    known: set[str] = set()
    crashes, fresh = 0, set[str]()  # of one file
    faulted = False
    for parsed in parse_files(files.named(None if again else store), base, on, files.size_of):
        if parsed.fault:
            faulted = True
            files.faults += 1
            say(f"kpanic: {parsed.path}: {parsed.fault}")
        ids = {document.id for document in parsed.documents}
        old = store.known_ids(list(ids)) if store else set()
        known |= old
        crashes += len(parsed.documents)
        fresh |= ids - old
        if parsed.complete:
            if crashes or not faulted:
                say(f"{parsed.path}: {counted(crashes, 'crash')}, {len(fresh)} of them new")
            new |= fresh
            crashes, fresh, faulted = 0, set(), False
    names = (
        ", ".join(plugin.name for plugin in config.outputs) or "no output; they would be kept in the store"
    )
    if files.count or not files.faults:
        read = counted(files.count, "file")
        say(f"{read}: {len(new)} new, {len(known)} shipped before; would go to {names}")
    files.say_unchanged()
    if store:
        store.close()
    return 1 if files.faults else 0


@contextmanager
def _progress(files: _Files) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal.

    Yields the function that takes the bytes that were read since, and the crashes in all. The remaining time
    is known once all files are listed.
    """
    if not sys.stderr.isatty():
        yield lambda _read, _crashes: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[crashes]} crashes"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    ) as progress:
        task = progress.add_task("", total=None, crashes=0)
        yield lambda read, crashes: progress.update(
            task, advance=read, total=files.bytes if files.listed else None, crashes=crashes
        )
