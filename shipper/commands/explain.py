"""``kpanic explain FILE…``: explain crashes step by step, each finding with the lines that prove it."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from kpanic.shipper.api import Unreadable
from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.explain import Explained, Pair, comparison, explanation
from kpanic.shipper.inputs.memory_dump import names_dump
from kpanic.shipper.inputs.sources import crashes_at, named_files
from kpanic.shipper.origin import Origin
from kpanic.shipper.redact import STANDARD
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.shipper.api import Crash
    from kpanic.shipper.config import Config
    from kpanic.shipper.explain.head import Seen

__all__ = ["command"]


@click.command("explain")
@configured
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown", "html"]),
    default="text",
    help="Output format; by default text. JSON is one object for each crash, on a separate line.",
)
@click.option(
    "--debug-info",
    metavar="PATH",
    multiple=True,
    help="File or folder with the kernel's debug information, to open a dump with; may be repeated."
    " By default that of the distribution's packages is looked for, in /usr/lib/debug.",
)
@click.option(
    "--debuginfod",
    is_flag=True,
    help="Download missing debug information from the servers in DEBUGINFOD_URLS.",
)
@click.option(
    "--vmcore-seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    help="Maximum seconds to analyse a dump; by default 60. With 0 only its log is read.",
)
@click.option("--against", metavar="FILE", help="Compare with the crash in FILE: is it the same fault?")
def command(  # noqa: PLR0913, PLR0917 - one for each option
    config_file: str | None,
    overrides: tuple[str, ...],
    files: tuple[str, ...],
    form: str,
    debug_info: tuple[str, ...],
    debuginfod: bool,  # noqa: FBT001 - an option
    vmcore_seconds: float,
    against: str | None,
) -> int:
    """Explain the crashes of FILES step by step, each finding with the lines that prove it.

    The first three lines are the verdict; host, time and kernel; the signature, and whether the store knows
    it. '-' is standard input. Files compressed with gzip, xz, zstd or bzip2 are decompressed; of tar, zip and
    deb archives each file is read. FILES may be URLs, see 'kpanic parse --help'. Lines count from 1.

    From a memory dump (vmcore) the log is read. If drgn is installed (kpanic[vmcore]), the dump is opened to
    answer what the log does not say about its last crash.
    """
    if against is not None:
        return _against(files, against, form)
    dumps = _Dumps(debug_info, _servers(debuginfod=debuginfod), vmcore_seconds)
    with _store(read_config(config_file, overrides)) as seen:
        return _explain(files, form, seen, dumps)


def _explain(files: tuple[str, ...], form: str, seen: Seen | None, dumps: _Dumps) -> int:
    faults: list[str] = []
    crashes = _crashes(files, faults, seen, dumps)
    if form == "json":
        count = _json(explanation(crash) for crash in crashes)
    else:
        found = list(crashes) if form == "html" else crashes
        count = 0

        def counted() -> Iterator[Explained]:
            nonlocal count
            for crash in found:
                count += 1
                yield crash

        importlib.import_module(f"kpanic.shipper.explain.{form}").crashes(counted())
    if not count and not faults:
        say("kpanic: no crash found")
    if count:
        from kpanic.grammars.reading import instruction  # noqa: PLC0415 - the grammar is built on import

        if not instruction.installed():
            say("kpanic: instructions are not decoded without capstone: pip install 'capstone>=5,<6'")
    return 1 if faults else 0


def _servers(*, debuginfod: bool) -> tuple[str, ...]:
    """Return the debuginfod servers to use.

    :raises Failure: servers are requested but none is named.
    """
    if not debuginfod:
        return ()
    from kpanic.shipper.vmcore.debuginfod import servers_of  # noqa: PLC0415

    if not (found := servers_of(os.environ)):
        raise Failure("--debuginfod: no server is named in DEBUGINFOD_URLS", 2)
    return found


class _Dumps:
    """Opens memory dumps if that is requested and drgn is installed.

    :param debug_information: files and folders.
    :param servers: of debuginfod.
    :param seconds: maximum seconds of a dump; 0 for not at all.
    """

    def __init__(self, debug_information: tuple[str, ...], servers: tuple[str, ...], seconds: float) -> None:
        self._debug_information, self._servers, self._seconds = debug_information, servers, seconds

    def opened(self, crashes: Iterable[tuple[str, Crash]]) -> Iterator[tuple[str, Crash]]:
        """Yield crashes, the last one of a dump with the dump's analysis."""
        held: tuple[str, Crash] | None = None
        for one in crashes:
            if held is not None:
                yield self._read(*held) if held[0] != one[0] else held
            held = one
        if held is not None:
            yield self._read(*held)

    def _read(self, path: str, crash: Crash) -> tuple[str, Crash]:
        if not self._seconds or not names_dump(path):
            return path, crash
        from kpanic.shipper.vmcore import debuginfod, process, reading  # noqa: PLC0415 - only dumps need it

        if not process.installed():
            say(f"kpanic: {path}: only its log is read without drgn: {process.INSTALL}")
            return path, crash
        downloads = debuginfod.Debuginfod(self._servers, say=lambda text: say(f"kpanic: {text}"))
        report = reading.opened(
            crash.report,
            path,
            debug_information=self._debug_information,
            debuginfod=downloads if self._servers else None,
            seconds=self._seconds,
        )
        return path, crash._replace(report=report)


def _crashes(
    files: Iterable[str], faults: list[str], seen: Seen | None = None, dumps: _Dumps | None = None
) -> Iterator[Explained]:
    """Yield the crashes of files. The faults of files are printed and added to ``faults``.

    :param seen: looks into the store, if there is one.
    :param dumps: opens memory dumps; by default none is opened.
    """
    from kpanic.shipper.explain.head import head  # noqa: PLC0415 - only crashes need it

    def tell(error: Unreadable) -> None:
        faults.append(error.reason)
        say(f"kpanic: {error}")

    for found in named_files(files):
        if found.fault:
            tell(Unreadable(found.path, found.fault))
            continue
        crashes = crashes_at(found.path, Origin("file"), tell)
        for path, (report, origin) in dumps.opened(crashes) if dumps else crashes:
            shown = STANDARD.report(report)
            yield Explained(path, shown, head(shown, origin, seen))


@contextmanager
def _store(config: Config) -> Iterator[Seen | None]:
    """Open the store for questions about signatures; yield None if it cannot be read."""
    from kpanic.shipper.store import Store, StoreError  # noqa: PLC0415

    store = None
    if os.access(config.store_path(), os.R_OK):
        try:
            store = Store(config.store_path(), readonly=True)
        except StoreError as error:
            say(f"kpanic: {error}")
    if store is None:
        yield None
        return
    with store:
        yield store.seen


def _json(objects: Iterable[dict[str, object]]) -> int:
    from kpanic.shipper.packed import encode  # noqa: PLC0415

    count = 0
    for one in objects:
        sys.stdout.buffer.write(encode(one) + b"\n")
        count += 1
    sys.stdout.buffer.flush()
    return count


def _against(files: tuple[str, ...], other: str, form: str) -> int:
    """Compare the crash of each file with that of another."""
    right = _one(other)
    pairs = []
    for path in files:
        left = _one(path)
        from kpanic.grammars.reading.compare import compare  # noqa: PLC0415 - the grammar is built on import

        pairs.append(Pair(left, right, compare(left.report, right.report)))
    if form == "json":
        _json(comparison(pair) for pair in pairs)
    else:
        printer = importlib.import_module(f"kpanic.shipper.explain.{form}")
        for pair in pairs:
            printer.pair(pair)
    return 0


def _one(path: str) -> Explained:
    """Return the crash to compare: the first fatal one of a file, else its first.

    :raises Failure: there is none.
    """
    faults: list[str] = []
    found = list(_crashes([path], faults))
    if not found:
        raise Failure(f"{path}: {'there is no crash to compare' if not faults else 'cannot be compared'}")
    chosen = next((crash for crash in found if crash.report.fatal), found[0])
    if len(found) > 1:
        line = chosen.report.lines[0].number
        say(f"kpanic: {path}: {len(found)} crashes; the one of line {line} is compared")
    return chosen
