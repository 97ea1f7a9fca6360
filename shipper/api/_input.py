"""Inputs: the methods that the service calls, and the feed that it passes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api._settings import Settings
    from kpanic.shipper.api._waiting import Stop
    from kpanic.shipper.origin import Origin

__all__ = ["Crash", "DropReason", "Feed", "Input", "Unreadable"]


class Crash(NamedTuple):
    """A crash report and where it was read."""

    report: CrashReport
    origin: Origin


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """A file cannot be read to its end, or not at all.

    :ivar path: the path as the user gave it.
    :ivar reason: one line: what is wrong and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DropReason(StrEnum):
    """Why messages were discarded."""

    RATE = "rate"
    """The sender exceeds its rate."""
    MEMORY = "memory"
    """There is no room for more messages of the sender."""
    KERNEL = "kernel"
    """The socket's buffer in the kernel was full."""
    CONNECTIONS = "connections"
    """There are too many connections."""
    ENCODING = "encoding"
    """The messages are compressed or encrypted."""
    SHUTDOWN = "shutdown"
    """The service ended before the messages were read."""


class Feed(Protocol):
    """The service as a running input sees it."""

    origin: Origin
    """What is known about every crash before it is read: provider, this host, tags, labels."""
    stop: Stop
    """Set when the input has to end. It finds crashes that it has not kept by then again at the next start.
    """

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        """Store crashes and positions; both are durable on return.

        ``crashes`` may be an iterator: crashes are stored as they come, the positions with the last one. An
        error of the iterator is raised here, after the crashes before it are stored.

        Blocks while the store cannot take crashes. If ``stop`` is set meanwhile, it returns without storing
        anything. Once ``stop`` is set, only some crashes of an iterator are stored, and no position. A crash
        that the store has already is skipped.

        :param crashes: any number, none included.
        :param positions: where to continue at the next start, by the input's own keys; None deletes a key.
        """

    def positions(self) -> dict[str, str]:
        """Return the positions kept so far, including those of earlier runs."""

    def delivered(self, crashes: Iterable[Crash]) -> bool:
        """Tell whether every output has acknowledged all of these crashes."""

    def drop(self, messages: int, reason: DropReason) -> None:
        """Count messages that arrived and were discarded."""

    def say(self, message: str) -> None:
        """Log one line for the operator."""


class Input(Protocol):
    """A source of crashes: ``type: <name>`` in the list ``inputs``.

    The service calls :meth:`run` in a thread of its own. If it raises, the service logs the error and calls
    it again after a pause.
    """

    Config: ClassVar[type[Settings]]
    """The keys of an item of ``inputs`` of this type."""
    name: str
    """The name of the entry point."""
    paths: list[str]
    """Files and folders that hold crashes now, for ``kpanic ship`` without arguments; empty for a stream."""

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - each input has its own Config
        """Take the settings; touches neither files nor the network.

        :param config: an instance of ``Config``.
        :raises ValueError: a setting cannot be used; the text begins with its key.
        """

    def run(self, feed: Feed) -> None:
        """Read until ``feed.stop`` is set, then return within seconds.

        Returns earlier if the source has ended. A source that is missing or cannot be read is reported with
        ``feed.say`` and tried again.
        """
