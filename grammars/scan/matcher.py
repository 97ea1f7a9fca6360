"""The interface of matchers, which find literals: Hyperscan, and :mod:`re` where Hyperscan has no wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Matcher", "default"]


class Matcher(Protocol):
    """Compiled literals with numbers; several threads may use a matcher concurrently."""

    def __init__(self, texts: Sequence[bytes], numbers: Sequence[int], *, once: bool) -> None:
        """Compile the literals.

        :param texts: literals without duplicates.
        :param numbers: the number of each literal; several may have the same.
        :param once: whether only the first literal of each number is reported.
        """

    def scan(self, data: bytes, note: Callable[[int, int], object]) -> None:
        """Call ``note`` with the number and the end of each literal in ``data``, overlapping ones included.

        The order of the calls is not defined.
        """


def default() -> type[Matcher]:
    """Return the fastest matcher that is installed."""
    try:
        from kpanic.grammars.scan.hyperscan_matcher import HyperscanMatcher  # noqa: PLC0415
    except ImportError:  # no wheel for this machine
        from kpanic.grammars.scan.regex_matcher import RegexMatcher  # noqa: PLC0415

        return RegexMatcher
    return HyperscanMatcher
