"""Text of logs reaches a terminal only as visible text."""

from __future__ import annotations

import doctest
import json
import sys
import unicodedata

import pytest

from kpanic.shipper import terminal
from kpanic.shipper.terminal import escape_controls, visible

CODES = (
    *range(0x20), *range(0x7F, 0xA0), *range(0x2000, 0x2070), 0xAD, 0xFEFF, 0xE0041, 0x1BCA0, 0x1D173,
)  # fmt: skip
SHOW_NOTHING = "\u034f\u115f\u1160\u17b4\u180b\u3164\ufe0f\uffa0\U000e0100"
"""Fillers, joiners and variation selectors, which a terminal does not show."""
HOSTILE = [
    *(one for one in map(chr, CODES) if unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp"}),
    *SHOW_NOTHING,
]


@pytest.mark.parametrize("character", HOSTILE, ids=ascii)
def test_controls_and_invisible_characters_are_written_out(character: str) -> None:
    assert visible(f"a{character}b") == f"a{ascii(character)[1:-1]}b"
    kept = character if character in "\t\n" else ascii(character)[1:-1]
    assert visible(f"a{character}b", lines=True) == f"a{kept}b"


def test_json_is_the_same_value_without_a_control() -> None:
    value = {"text": "".join(HOSTILE) + "ü中😀"}
    body = json.dumps(value, ensure_ascii=False).encode()
    escaped = escape_controls(body)
    assert json.loads(escaped) == value
    assert visible(escaped.decode()) == escaped.decode()


def test_no_other_visible_character_is_changed() -> None:
    shown = [
        chr(code) for code in range(0x20, sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "LNPS"
    ]
    text = "".join(character for character in shown if character not in SHOW_NOTHING)
    assert visible(text) == text


def test_the_examples_hold() -> None:
    assert doctest.testmod(terminal).failed == 0
