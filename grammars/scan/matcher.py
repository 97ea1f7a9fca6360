"""What finds the literals in a block: Hyperscan where it has a wheel, :mod:`re` on the other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Matcher", "default"]


class Matcher(Protocol):
    """Literals with numbers, compiled; all threads may scan with it at the same time."""

    def __init__(self, texts: Sequence[bytes], numbers: Sequence[int], *, once: bool) -> None:
        """Compile the literals.

        :param texts: literals without duplicates.
        :param numbers: a number for each of them; several may have the same.
        :param once: report each number at its first literal only.
        """

    def scan(self, data: bytes, note: Callable[[int, int], object]) -> None:
        """Call ``note`` with the number and the end of each literal in ``data``, overlapping ones too.

        In no particular order.
        """


def default() -> type[Matcher]:
    """Return the fastest matcher that is installed."""
    try:
        from kpanic.grammars.scan.hyperscan_matcher import HyperscanMatcher  # noqa: PLC0415
    except ImportError:  # no wheel for this machine
        from kpanic.grammars.scan.regex_matcher import RegexMatcher  # noqa: PLC0415

        return RegexMatcher
    return HyperscanMatcher
