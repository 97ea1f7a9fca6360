"""Numbers out of text that anybody may have written: one that no kernel prints is none.

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
    return int(digits) if digits and len(digits) <= _DECIMAL else None


def hexadecimal(digits: str | None) -> int | None:
    """Return an address or an error code."""
    return int(digits, 16) if digits and len(digits) <= _ADDRESS else None


@functools.lru_cache(maxsize=4096)
def distance(digits: str | None) -> int | None:
    """Return how far into a function, or how long one is."""
    return int(digits, 16) if digits and len(digits) <= _DISTANCE else None
