"""What drgn raises for a value that a dump lacks, or that is damaged."""

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
