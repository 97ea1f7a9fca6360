"""Stamps that several transports share: patterns, and the moments that they name."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re

__all__ = ["CALLER", "DAY", "ISO", "PRINTK", "STAMP", "ZONE", "epoch"]

CALLER: Final = r"(?>(?: ?\[ *+(?P<caller>[TC]\d++)\])?)"
"""``[ T123]`` or ``[  C0]``, of CONFIG_PRINTK_CALLER."""
PRINTK: Final = rf"\[ *+(?P<time>\d{{1,12}}+\.\d{{1,9}}+)(?>(?:[@,]\d++)?)(?>(?: <[ \d.+]*+>)?)\]{CALLER}"
"""``[   12.345678]``: printk's clock, in seconds since boot."""
DAY: Final = r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)"
ZONE: Final = r"(?P<zone> ?(?:Z|UTC|GMT)\b|[+-]\d\d:?\d\d)?"
ISO: Final = rf"{DAY}(?P<fraction>[.,]\d{{1,9}})?{ZONE}"
STAMP: Final = (
    rf"(?P<weekday>[A-Z][a-z]{{2}} )?(?:{ISO}(?(zone)|(?(weekday) [A-Z]{{2,5}}|))"
    r"|(?:[^\W\d_]{2,5}\.?|\d{1,2}[^\W\d_]) [ \d]?\d \d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4})?)"
)
"""``Nov 22 18:53:41``, ``2026-11-22T18:53:41.5+01:00``. journalctl writes months in the reader's language:
``июл 27``, ``févr. 11``, ``7月 27``."""


@functools.lru_cache(maxsize=256)
def _instant(day: str, clock: str, zone: str | None) -> float | None:
    """Return seconds since 1970 UTC of a whole second; None without a zone, or for a 31st of February."""
    if not zone:
        return None
    try:
        return datetime.fromisoformat(f"{day}T{clock}{'Z' if zone[0] not in '+-' else zone}").timestamp()
    except ValueError:
        return None


def epoch(match: re.Match[str]) -> float | None:
    """Return seconds since 1970 UTC that a match of :data:`ISO` names; None where zone or year is missing."""
    day, clock, fraction, zone = match.group("day", "clock", "fraction", "zone")
    whole = _instant(day, clock, zone) if day else None
    return whole if whole is None or not fraction else whole + float(f"0.{fraction[1:]}")
