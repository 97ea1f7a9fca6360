"""Parses moments of a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["moment"]

_AGO: Final = re.compile(r"-?(\d{1,4})(min|[mhdw])", re.ASCII)
_UNITS: Final = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the moment that a text names, with a zone.

    It is ``today`` or ``yesterday`` (the first moment of it), ``12h`` (ago; also m, d, w), or a date with or
    without a time (ISO 8601). Without a zone it is UTC, as all times that kpanic prints.

    :param now: the present, with its zone.
    :raises ValueError: the text has another form.

    >>> moment("yesterday", datetime(2026, 11, 26, 9, tzinfo=UTC)).isoformat()
    '2026-11-25T00:00:00+00:00'
    """
    now = now or datetime.now(UTC)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if text in {"today", "yesterday"}:
        return midnight - timedelta(days=text == "yesterday")
    if found := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected today, yesterday, a time such as 12h or 7d, or a date") from None
    return named if named.tzinfo else named.replace(tzinfo=UTC)
