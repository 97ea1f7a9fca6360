"""Which senders are accepted, and how much each may send."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LOCALHOST", "AllowedSenders", "Rate", "Rates"]

LOCALHOST: Final = ("127.0.0.0/8", "::1/128")
"""Networks that are accepted by default."""
REMEMBERED: Final = 1024
"""Maximum addresses whose answer is remembered; further ones are refused without a message."""


class AllowedSenders:
    """Networks whose messages are taken.

    :param networks: in CIDR notation.
    :raises ValueError: one of them is not a network; the text begins with the key ``allow``.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = []
        for index, network in enumerate(networks):
            try:
                self._networks.append(ipaddress.ip_network(network, strict=False))
            except ValueError:
                raise ValueError(
                    f"allow[{index}]: expected an address or a network, such as 10.0.0.0/8"
                ) from None
        self._known: dict[str, bool] = {}

    def allows(self, address: str, say: Callable[[str], None]) -> bool:
        """Tell whether messages of an address are taken; the first refusal of an address is logged."""
        known = self._known.get(address)
        if known is not None:
            return known
        parsed = ipaddress.ip_address(address)
        allowed = any(parsed in network for network in self._networks)
        if len(self._known) < REMEMBERED:
            self._known[address] = allowed
            if not allowed:
                say(f"{address}: is not in allow; its messages are not taken")
        return allowed


class Rate:
    """A token bucket: an amount per second, and as much at once.

    :param limit: per second.
    """

    __slots__ = ("_at", "_left", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = float(limit)
        self._at = time.monotonic()

    def allows(self, amount: int) -> bool:
        """Take an amount if there is as much; return whether there was."""
        self._refill()
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def owes(self, amount: int) -> float:
        """Take an amount in any case; return the seconds until the bucket is positive again."""
        self._refill()
        self._left -= amount
        return max(0.0, -self._left / self._limit)

    def _refill(self) -> None:
        now = time.monotonic()
        self._left = min(self._limit, self._left + (now - self._at) * self._limit)
        self._at = now


class Rates:
    """A :class:`Rate` for each sender.

    :param limit: per second and sender.
    :param most: maximum number of senders; beyond it the oldest is forgotten.
    """

    def __init__(self, limit: int, most: int) -> None:
        self._limit = limit
        self._most = most
        self._rates: dict[str, Rate] = {}

    def of(self, address: str) -> Rate:
        """Return the rate of an address."""
        rate = self._rates.get(address)
        if rate is None:
            if len(self._rates) >= self._most:
                del self._rates[next(iter(self._rates))]
            rate = self._rates[address] = Rate(self._limit)
        return rate
