"""Lines that only one machine prints, which identify it; some name the board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Platform", "platform"]


class Platform(Struct, frozen=True):
    """The machine of a report."""

    machine: str
    """``uname -m``; empty if the line does not identify the machine."""
    hardware: str = ""
    """The board or the platform."""
    big_endian: bool = False
    """Whether the machine runs in big-endian order, if its name is of the little-endian one."""


def platform(machine: str, *, big_endian: bool = False) -> Callable[[Mapping[str, str]], Platform]:
    """Return the meaning of a block that only one machine prints; its field ``hardware`` is the board."""

    def meaning(fields: Mapping[str, str]) -> Platform:
        return Platform(machine, fields.get("hardware", "").strip(), big_endian)

    return meaning
