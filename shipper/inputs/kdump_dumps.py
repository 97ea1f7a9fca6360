"""The dumps of kdump's folders, opened after the text of their crashes was stored: ``vmcore.analyse``.

The analysis of a dump is a document of its own, with the ``event.id`` of its crash and the provider
``vmcore``. The crash's first document stays as it was delivered, because Fluentd and OTLP cannot replace one.
A count of incidents counts both documents as one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec.structs import replace

from kpanic.shipper.api import Crash, FilePath, Seconds, Settings, Unreadable
from kpanic.shipper.inputs import kdump_names
from kpanic.shipper.inputs.folders import walk_folders
from kpanic.shipper.inputs.log_file import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Stop
    from kpanic.shipper.origin import Origin

__all__ = ["PROVIDER", "VmcoreConfig", "dumps_below", "opened"]

PROVIDER: Final = "vmcore"
"""``event.provider`` of the documents."""


_Server = Annotated[
    str, msgspec.Meta(pattern=r"^https?://", description="a URL such as https://debuginfod.example.com")
]


class VmcoreConfig(Settings, frozen=True, kw_only=True):
    """``vmcore``."""

    analyse: bool = False
    """Open dumps with drgn (kpanic[vmcore]), once each, at low priority, after their crashes' text."""
    debug_info: list[FilePath] = msgspec.field(default_factory=list)
    """Files and folders with the kernels' debug information, besides /usr/lib/debug."""
    debuginfod: list[_Server] = msgspec.field(default_factory=list)
    """URLs of debuginfod servers that missing debug information is downloaded from; by default none is."""
    seconds: Seconds = 60.0
    """Maximum seconds of a dump."""


def dumps_below(folder: str) -> Iterator[str]:
    """Yield the dumps in a folder and those below it, without packed ones."""
    for where, names in walk_folders(folder):
        for name in sorted(names):
            if kdump_names.is_dump(name) and not kdump_names.is_packed(name):
                yield os.path.join(where, name)  # noqa: PTH118 - as the user wrote it


def opened(path: str, origin: Origin, config: VmcoreConfig, stop: Stop) -> list[Crash]:
    """Return the crash that a machine died of, with its dump's analysis; none if the log explains the crash.

    :param stop: ends the analysis early, with what is known by then.
    :raises Unreadable: the dump says no more than its log, for the reason given.
    """
    from kpanic.shipper.vmcore import debuginfod, process, reading  # noqa: PLC0415 - few inputs open dumps

    if not process.installed():
        raise Unreadable(path, f"is not opened without drgn: {process.INSTALL}")
    crash = None
    for crash in read(path, origin):  # noqa: B007 - the last crash is the one that the machine died of
        if stop.is_set():
            return []
    if crash is None or not _asks(crash.report):
        return []
    report = reading.opened(
        crash.report,
        path,
        debug_information=config.debug_info,
        debuginfod=debuginfod.Debuginfod(config.debuginfod) if config.debuginfod else None,
        seconds=config.seconds,
        background=True,
        stop=stop.is_set,
    )
    found = report.analysis.vmcore if report.analysis else None
    if report.analysis is None or found is None or stop.is_set():
        return []
    if found.status in {"no-debug-info", "failed"}:
        raise Unreadable(path, f"says no more than its log. {report.analysis.why}")
    return [Crash(report, replace(crash.origin, provider=PROVIDER))]


def _asks(report: CrashReport) -> bool:
    """Tell whether the log leaves a question open, such as what led to a lack of memory."""
    return report.cause == "out-of-memory" or bool(report.analysis and report.analysis.vmcore_needed)
