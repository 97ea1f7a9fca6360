"""Where crashes come from.

An input is a plugin: an entry point of the group ``kpanic.inputs`` that names a class with a ``Config`` (a
msgspec struct, its keys are those of an item of ``inputs``) and a constructor that takes one. The built-in
ones are registered in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from kpanic.shipper.files import FilePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import msgspec

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.document import Origin
    from kpanic.shipper.inputs._wait import Stop

__all__ = ["Crash", "Feed", "FilePath", "Input", "Unreadable"]


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


class Feed(Protocol):
    """What the service gives an input that runs."""

    origin: Origin
    """What is known of every crash before it is read."""
    stop: Stop
    """Set when the input is to end; what it has not kept by then, it finds again at the next start.

    A :class:`threading.Event` that ``select`` can wait for too.
    """

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        """Keep crashes together with how far the input is; both are durable on return.

        Waits as long as the store cannot take them, and returns without them only once ``stop`` is set.
        """

    def positions(self) -> dict[str, str]:
        """Return how far the input was, by its own keys."""

    def delivered(self, crashes: Iterable[Crash]) -> bool:
        """Tell whether every output has acknowledged all of these."""

    def drop(self, messages: int) -> None:
        """Count messages that came and were not taken."""

    def say(self, message: str) -> None:
        """Tell the operator."""


class Input(Protocol):
    """A place where crashes appear."""

    Config: ClassVar[type[msgspec.Struct]]
    name: str
    paths: list[str]
    """Files and folders that hold crashes now."""

    def __init__(self, config: Any) -> None: ...  # noqa: ANN401 - each input has its own Config

    def run(self, feed: Feed) -> None:
        """Read what is there and what comes, until ``feed.stop`` is set."""
