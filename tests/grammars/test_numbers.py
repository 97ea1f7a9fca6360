"""Numbers of hostile and damaged text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kpanic.grammars.numbers import decimal, distance, hexadecimal


@given(st.text(max_size=24))
@example("000000000\ufffd000000")
@example("9" * 5000)
def test_any_text_is_a_number_that_fits_or_none(text: str) -> None:
    for read, bits in ((decimal, 34), (hexadecimal, 64), (distance, 32)):
        number = read(text)
        assert number is None or abs(number) < 1 << bits


@pytest.mark.parametrize(
    ("text", "number"), [("ffffffffffffffff", 2**64 - 1), ("0", 0), ("", None), (None, None)]
)
def test_an_address_is_read(text: str | None, number: int | None) -> None:
    assert hexadecimal(text) == number
