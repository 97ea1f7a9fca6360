"""Time stamps that several transports share: patterns, and conversion to seconds."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re

__all__ = ["CALLER", "DAY", "DIGITS", "ISO", "MONTH", "PRINTK", "STAMP", "ZONE", "clock", "epoch", "wall"]

DIGITS: Final = "0123456789"
CALLER: Final = r"(?> ?\[ *+(?P<caller>[TC][0-9]++)\]|)"
"""``[ T123]`` or ``[  C0]``, with CONFIG_PRINTK_CALLER."""
PRINTK: Final = (
    rf"\[ *+(?P<time>[0-9]{{1,12}}+\.[0-9]{{1,9}}+)(?>\]|(?>[@,][0-9]++|)(?> <[ 0-9.+]*+>|)\]){CALLER}"
)
"""``[   12.345678]``: printk's clock, in seconds since boot."""
DAY: Final = r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)"
ZONE: Final = r"(?P<zone> ?(?:Z|UTC|GMT)\b|[+-]\d\d:?\d\d)?"
ISO: Final = rf"{DAY}(?P<fraction>[.,]\d{{1,9}})?{ZONE}"
MONTH: Final = r"(?P<month>[^\W\d_]{2,5}\.?|\d{1,2}[^\W\d_])"
STAMP: Final = (
    rf"(?P<weekday>[A-Z][a-z]{{2}} )?(?:{ISO}(?(zone)|(?(weekday) [A-Z]{{2,5}}|))"
    rf"|{MONTH} (?P<date>[ \d]?\d) (?P<hour>\d\d:\d\d:\d\d)(?P<part>\.\d+)?(?: (?P<year>\d{{4}}))?)"
)
"""``Nov 22 18:53:41``, ``2026-11-22T18:53:41.5+01:00``. journalctl translates the months' names: ``июл 27``,
``févr. 11``, ``7月 27``."""


@functools.lru_cache(maxsize=256)
def _instant(day: str, clock: str, zone: str | None) -> float | None:
    """Return seconds since 1970 UTC; None without a zone, or for a date that does not exist."""
    if not zone:
        return None
    try:
        return datetime.fromisoformat(f"{day}T{clock}{'Z' if zone[0] not in '+-' else zone}").timestamp()
    except ValueError:
        return None


def epoch(match: re.Match[str]) -> float | None:
    """Return a match of :data:`ISO` in seconds since 1970 UTC; None if the zone or the year is missing."""
    day, clock, fraction, zone = match.group("day", "clock", "fraction", "zone")
    whole = _instant(day, clock, zone) if day else None
    return whole if whole is None or not fraction else whole + float(f"0.{fraction[1:]}")


_NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS: Final = {name: number for number, name in enumerate(_NAMES, 1)}
_LEAP: Final = 2000
"""The year used if none is given: a leap year, which has all dates."""
_HOURS: Final = 3


@functools.lru_cache(maxsize=256)
def wall(month: str, date: str, hour: str, year: str | None) -> float | None:
    """Return the seconds of a wall clock in an unknown zone; None for a time that does not exist.

    :param month: the abbreviation in any language, or a number followed by one character.
    :param hour: ``18:53:41``, or ``18:53``.
    """
    hours, minutes, seconds = (*map(int, hour.split(":")), 0)[:_HOURS]
    number = _MONTHS.get(month[:3].capitalize(), 0)
    if not number and month[0].isdecimal():
        number = int("".join(filter(str.isdecimal, month)))
    try:  # unknown language: times within a month still compare correctly
        day = datetime(int(year) if year else _LEAP, number or 1, int(date), tzinfo=UTC)
    except ValueError:
        return None
    return day.timestamp() + 3600 * hours + 60 * minutes + seconds


def clock(match: re.Match[str]) -> float | None:
    """Return a match of :data:`STAMP` in seconds of the wall clock, in the stamp's zone."""
    day, hour, fraction = match.group("day", "clock", "fraction")
    if day:
        whole = _instant(day, hour, "Z")
        return whole if whole is None or not fraction else whole + float(f"0.{fraction[1:]}")
    named = match.groupdict()
    if not named.get("month"):
        return None
    whole = wall(named["month"], named["date"], named["hour"], named["year"])
    return whole if whole is None or not named["part"] else whole + float(named["part"])
