"""Where crashes come from.

An input is a plugin: an entry point of the group ``kpanic.inputs``. What each reads is told in its file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from shipper.document import Origin

__all__ = ["Crash", "Unreadable"]


class Crash(NamedTuple):
    """What was read, and where."""

    report: CrashReport
    origin: Origin


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """Something could not be read, wholly or from some place on.

    :ivar path: as the user named it.
    :ivar reason: one line: what is wrong and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
