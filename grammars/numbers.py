"""Parses numbers of untrusted text, and rejects those that no kernel prints.

A kernel's ids fit 32 bits, its addresses 64. A longer run of digits would not fit the engines' ``long``, and
past 4,300 digits :class:`int` refuses it.
"""

from __future__ import annotations

import functools
from typing import Final

__all__ = ["decimal", "distance", "hexadecimal"]

_DECIMAL: Final = 10
_ADDRESS: Final = 16
_DISTANCE: Final = 8


def decimal(digits: str | None) -> int | None:
    """Return a process, a CPU or a count."""
    return _number(digits, 10, _DECIMAL)


def hexadecimal(digits: str | None) -> int | None:
    """Return an address or an error code."""
    return _number(digits, 16, _ADDRESS)


@functools.lru_cache(maxsize=4096)
def distance(digits: str | None) -> int | None:
    """Return an offset in a function, or the length of one."""
    return _number(digits, 16, _DISTANCE)


def _number(digits: str | None, base: int, most: int) -> int | None:
    if not digits or len(digits) > most:
        return None
    try:
        return int(digits, base)
    except ValueError:  # a damaged digit
        return None
