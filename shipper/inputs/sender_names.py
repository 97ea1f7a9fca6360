"""Names of senders by reverse look-up (getnameinfo(3)), in the background and in bounded memory.

This machine's domain is cut off a sender's name where this machine's own name is short, as rsyslog does
(``PreserveFQDN``). So a host has one name through every input.
"""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from kpanic.shipper.api import Seconds, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DnsConfig", "SenderNames"]

THREADS: Final = 4
"""Look-ups at once."""
WAITING: Final = 1024
"""Maximum addresses that wait for a look-up; further ones are asked again later."""
KNOWN: Final = 3600.0
"""Seconds that a name is remembered."""
UNKNOWN: Final = 60.0
"""Seconds until an address without a name is asked again."""
PAUSE: Final = 9.0
"""Pause after a wait for a name, as a multiple of that wait: invented senders delay no one for long."""
_NAME: Final = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){0,126}\.?", re.ASCII)


class DnsConfig(Settings, frozen=True, kw_only=True):
    """``dns``: names of senders, as of Filebeat's processor ``dns``."""

    enabled: bool = True
    """Ask for the name of a sender. The address stays in ``host.ip`` and replaces a missing name.
    """
    timeout: Seconds = 0.5
    """Seconds that a crash waits for the name of its sender."""


@dataclass
class _Answer:
    asked: float
    done: threading.Event = field(default_factory=threading.Event)
    name: str = ""


def _name_of(address: str) -> str:
    """Ask the resolver for a name.

    :raises OSError: there is none.
    """
    return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]


class SenderNames:
    """The names of senders.

    :param most: maximum names that are remembered.
    :param own: name of this machine.
    :param look_up: returns the name of an address.
    """

    def __init__(
        self,
        config: DnsConfig,
        most: int,
        own: str,
        look_up: Callable[[str], str] = _name_of,
    ) -> None:
        self._config = config
        self._most = most
        self._own = own
        self._look_up = look_up
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._queue: queue.Queue[tuple[str, _Answer]] = queue.Queue(WAITING)
        self._threads = 0
        self._patient = 0.0
        """Moment from which a crash may wait for a name again."""

    def ask(self, address: str) -> None:
        """Ask for a name that :meth:`of` returns later, unless it is known or already asked for."""
        if not self._config.enabled:
            return
        now = time.monotonic()
        known = self._answers.get(address)
        if known is not None and now - known.asked < (
            KNOWN if known.name or not known.done.is_set() else UNKNOWN
        ):
            return
        answer = _Answer(now, name=known.name if known else "")
        try:
            self._queue.put_nowait((address, answer))
        except queue.Full:
            return
        self._answers[address] = answer
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
        if self._threads < THREADS:
            self._threads += 1
            threading.Thread(target=self._work, name="sender names", daemon=True).start()

    def of(self, address: str) -> str:
        """Return the name of an address that was asked for; empty if there is none within the time limit.

        The waits take a tenth of the time at most, however many names are asked for.
        """
        answer = self._answers.get(address)
        if answer is None:
            return ""
        now = time.monotonic()
        left = answer.asked + self._config.timeout - now
        if left > 0 and now >= self._patient and not answer.done.is_set():
            answer.done.wait(left)
            self._patient = time.monotonic() + PAUSE * (time.monotonic() - now)
        return answer.name

    def _work(self) -> None:
        while True:
            address, answer = self._queue.get()
            try:
                answer.name = self._usable(self._look_up(address))
            except (OSError, UnicodeError):
                answer.name = ""
            finally:
                answer.done.set()

    def _usable(self, name: str) -> str:
        """Return a name, empty if it is not a valid one: the owner of an address chooses its name freely."""
        name = name.rstrip(".")
        if not _NAME.fullmatch(name) or _is_address(name):
            return ""
        return name.removesuffix(f".{self._domain}") if self._domain else name

    @cached_property
    def _domain(self) -> str:
        """This machine's own domain, where its name is short."""
        return "" if "." in self._own else socket.getfqdn().partition(".")[2]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
