"""Lines that only one machine prints, and that name it so; some say on what board it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Platform", "platform"]


class Platform(NamedTuple):
    """Which machine a report is of."""

    machine: str
    """``uname -m``; empty where the line leaves that to others."""
    hardware: str = ""
    """The board or the platform."""
    big_endian: bool = False
    """The machine runs in the byte order that is not its usual one."""


def platform(machine: str, *, big_endian: bool = False) -> Callable[[Mapping[str, str]], Platform]:
    """Return the meaning of a block that only one machine prints; its field ``hardware`` is the board."""

    def meaning(fields: Mapping[str, str]) -> Platform:
        return Platform(machine, fields.get("hardware", "").strip(), big_endian)

    return meaning
