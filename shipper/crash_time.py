"""The time of a crash, from the best available clock.

=============  ==================================================================================
``rtc``        the log's own clock line and printk's time
``transport``  the stamp of the journal, of syslog or of arrival
``folder``     kdump's folder name, local time
``clock``      the text's own date: its zone is unknown and taken as UTC, its year may be missing
``mtime``      the last change of the file
``read``       when it was read
=============  ==================================================================================
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = ["crash_time", "iso"]

NO_YEAR = 2000
"""Year of a stamp that names none."""
LEAP_YEARS = 9
"""Years of which one has a 29th of February."""
DAY = 86_400
"""Seconds by which a clock may be ahead because of its zone."""
EARLIEST_CLOCK = 978_307_200
"""2001-01-01 UTC: an earlier clock has a flat battery."""


def crash_time(report: CrashReport, origin: Origin, now: float) -> tuple[float, str]:
    """Return the wall clock of the crash, seconds since 1970 UTC, and its source (``timestamp_source``)."""
    if report.boot_epoch is not None and report.time is not None and report.boot_epoch >= EARLIEST_CLOCK:
        return report.boot_epoch + report.time, "rtc"
    if report.epoch is not None:
        return report.epoch, "transport"
    if origin.folder_epoch is not None:
        return origin.folder_epoch, "folder"
    if report.clock is not None:
        return _dated(report.clock, now if origin.mtime is None else origin.mtime), "clock"
    if origin.mtime is not None:
        return origin.mtime, "mtime"
    return now, "read"


def _dated(clock: float, latest: float) -> float:
    """Give a stamp without a year the latest year in which it is not more than a day after ``latest``."""
    moment = datetime.fromtimestamp(clock, UTC)
    if moment.year != NO_YEAR:
        return clock
    year = datetime.fromtimestamp(latest + DAY, UTC).year
    for back in range(LEAP_YEARS):
        try:
            dated = moment.replace(year=year - back).timestamp()
        except ValueError:  # a 29th of February
            continue
        if dated <= latest + DAY:
            return dated
    return latest


def iso(epoch: float) -> str:
    """Format seconds since 1970 UTC as the engines' ``date``, to the millisecond."""
    try:
        moment = datetime.fromtimestamp(epoch, UTC)
    except (OverflowError, ValueError, OSError):  # a hostile stamp
        moment = datetime.fromtimestamp(0, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
