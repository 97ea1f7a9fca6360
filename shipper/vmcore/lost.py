"""drgn's errors for a value that is damaged or that a dump lacks."""

from __future__ import annotations

from typing import Final

from drgn import FaultError, ObjectAbsentError

__all__ = ["LOST"]

LOST: Final = (
    FaultError,
    ObjectAbsentError,
    LookupError,
    ValueError,
    OverflowError,
    TypeError,
    AttributeError,
)
