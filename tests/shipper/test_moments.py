"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kpanic.shipper.moments import moment

NOW = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", "2026-11-26T00:00:00+00:00"),
        ("yesterday", "2026-11-25T00:00:00+00:00"),
        ("90m", "2026-11-26T08:00:00+00:00"),
        ("-12h", "2026-11-25T21:30:00+00:00"),
        ("7d", "2026-11-19T09:30:00+00:00"),
        ("2w", "2026-11-12T09:30:00+00:00"),
        ("2026-11-20", "2026-11-20T00:00:00+00:00"),
        ("2026-11-20 03:12", "2026-11-20T03:12:00+00:00"),
        ("2026-11-20T03:12:05+01:00", "2026-11-20T03:12:05+01:00"),
    ],
)
def test_a_moment_is_a_day_an_age_or_a_date(text: str, expected: str) -> None:
    assert moment(text, NOW).isoformat() == expected


@pytest.mark.parametrize("text", ["", "tomorrow", "12", "99999w", "last night", "2026-13-01"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected today, yesterday"):
        moment(text, NOW)
