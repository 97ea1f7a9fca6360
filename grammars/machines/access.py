"""Accesses that fault: their description from a machine's error code."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

__all__ = ["NOTHING", "Access", "Deed", "Page", "access", "fetch", "status"]

Page = Literal["", "absent", "protected"]
Deed = Literal["", "read", "write", "execute"]


class Access(Struct, frozen=True):
    """The access that faulted, as far as the error code describes it."""

    words: str
    """``write to a non-present page by the kernel``."""
    deed: Deed = ""
    page: Page = ""


NOTHING: Final = Access("")
MISALIGNED: Final = 0x21
"""Fault status of a misaligned access."""

_DEEDS: Final[dict[Deed, str]] = {
    "": "access to",
    "read": "read from",
    "write": "write to",
    "execute": "instruction fetch from",
}
_PAGES: Final[dict[Page, str]] = {
    "": "a page",
    "absent": "a non-present page",
    "protected": "a protected page",
}


def access(deed: Deed, page: Page, who: str = "the kernel") -> Access:
    """Return an access to a page."""
    return Access(f"{_DEEDS[deed]} {_PAGES[page]} by {who}", deed, page)


def fetch(found: Access) -> Access:
    """Return the access as an instruction fetch: the instruction pointer was at the faulting address."""
    return found if found.deed == "execute" else access("execute", found.page)


def status(deed: Deed, code: int, who: str) -> Access:
    """Read a fault status code, which arm64 shares with arm's LPAE (arch/arm64/include/asm/esr.h)."""
    if code in range(0x04, 0x08):
        return access(deed, "absent", who)
    if code in range(0x08, 0x10):
        return access(deed, "protected", who)
    if code == MISALIGNED:
        return Access("misaligned access", deed)
    if code in range(0x10, 0x20):
        return Access("external abort: the memory or the bus reported an error", deed)
    return access(deed, "", who)
