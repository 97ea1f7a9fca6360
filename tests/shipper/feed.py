"""What the service is to an input: here it only writes down what it is told."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kpanic.shipper.api import Stop
from kpanic.shipper.document import Origin, identify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kpanic.shipper.api import Crash, Input

WHOLE = 30.0
"""Seconds after which what has not happened will not."""


class Feed:
    """What an input tells, written down; what it keeps twice counts once, as in the store."""

    def __init__(self, at: Mapping[str, str] | None = None) -> None:
        self.origin = Origin("file", agent_host="here")
        self.stop = Stop()
        self.kept: list[str] = []
        self.crashes: dict[str, Crash] = {}
        self.said: list[str] = []
        self.at: dict[str, str] = dict(at or {})
        self.everywhere = False
        self.dropped = 0

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        for crash in crashes:
            self.kept.append(crash.origin.path)
            self.crashes.setdefault(identify(*crash)[1], crash)
        for key, value in (positions or {}).items():
            if value is None:
                self.at.pop(key, None)
            else:
                self.at[key] = value

    def positions(self) -> dict[str, str]:
        return dict(self.at)

    def delivered(self, crashes: Iterable[Crash]) -> bool:
        return self.everywhere and all(identify(*crash)[1] in self.crashes for crash in crashes)

    def drop(self, messages: int) -> None:
        self.dropped += messages

    def say(self, message: str) -> None:
        self.said.append(message)

    @property
    def titles(self) -> list[str]:
        return [crash.report.title for crash in self.crashes.values()]

    def hosts(self) -> list[str]:
        return sorted(crash.report.host or crash.origin.host_name for crash in self.crashes.values())


@contextmanager
def running(kind: type[Input], at: Mapping[str, str] | None = None, **config: Any) -> Iterator[Feed]:  # noqa: ANN401
    """Run an input beside the test."""
    feed = Feed(at)
    thread = threading.Thread(target=kind(kind.Config(**config)).run, args=(feed,))
    thread.start()
    try:
        yield feed
    finally:
        feed.stop.set()
        thread.join(10)
    assert not thread.is_alive()


def until(condition: Callable[[], object], seconds: float = WHOLE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
