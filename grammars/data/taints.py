"""The letters of ``Tainted:`` in words (Documentation/admin-guide/tainted-kernels.rst, 6.12)."""

from __future__ import annotations

from typing import Final

TAINTS: Final = {
    "P": "a proprietary module was loaded",
    "F": "a module was loaded by force",
    "S": "the kernel runs on a system out of its specification",
    "R": "a module was unloaded by force",
    "M": "the processor reported a machine check",
    "B": "a page was in a bad state",
    "U": "user space asked for the taint",
    "D": "the kernel had died before (an oops or BUG)",
    "A": "an ACPI table was overridden",
    "W": "there was a warning before",
    "C": "a staging driver was loaded",
    "I": "a bug of the firmware was worked around",
    "O": "a module from outside the kernel's tree was loaded",
    "E": "an unsigned module was loaded",
    "L": "there was a soft lockup before",
    "K": "the kernel was live-patched",
    "X": "the distribution's own taint",
    "T": "the kernel was built with structure randomisation",
    "N": "a test was run in the kernel",
    "J": "user space changed a device behind the kernel",
}
OF_ITSELF: Final = {"L": "soft-lockup", "W": "warning", "B": "bad-page"}
"""Taints that a report of a cause sets itself, before a panic prints them."""
EARLIER: Final = frozenset("MBDWL")
"""Taints that say that something went wrong before this."""
