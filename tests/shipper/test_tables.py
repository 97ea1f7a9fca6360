"""Tables that fit into the terminal."""

from __future__ import annotations

import pytest

from kpanic.shipper.tables import Column, fitted, short_host, shortened

TITLE = "BUG: unable to handle kernel NULL pointer dereference in nfs_inode_remove_request"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("web1", 4, "web1"),
        (TITLE, 82, TITLE),
        (TITLE, 60, "BUG: unable to handle kernel NULL … nfs_inode_remove_request"),
        (TITLE, 26, "… nfs_inode_remove_request"),
        ("a b", 2, "a…"),
        ("nfs_inode_remove_request", 10, "nfs_inode…"),
    ],
)
def test_a_text_keeps_its_last_word_whole_and_as_many_of_the_first_as_fit(
    text: str, width: int, expected: str
) -> None:
    assert shortened(text, width) == expected
    assert len(shortened(text, width)) <= width


COLUMNS = (Column("time"), Column("host", order=1), Column("crash", 20), Column("cause", order=2))


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (200, [5, 16, 81, 16]),
        (100, [5, 16, 57, 16]),
        (64, [5, 16, 21, 16]),
        (62, [5, 16, 37, 0]),
        (45, [5, 16, 20, 0]),
        (40, [5, 0, 33, 0]),
    ],
)
def test_the_least_important_column_is_dropped_first(width: int, expected: list[int]) -> None:
    rows = [["12:00", "web1.example.com", TITLE, "null-dereference"]]
    found = fitted(COLUMNS, rows, width)
    used = [one for one in found if one]
    assert sum(used) + 2 * (len(used) - 1) <= width
    assert found == expected


def test_a_long_name_of_a_host_loses_its_domain() -> None:
    assert short_host("web1.example.com") == "web1.example.com"
    assert short_host(f"web1.{'x' * 60}.com") == "web1.…"
    assert len(short_host("x" * 60)) == 32
