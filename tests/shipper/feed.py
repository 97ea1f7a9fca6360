"""The interface of the service for inputs, in memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kpanic.shipper.contract import MemoryFeed, run_beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kpanic.shipper.api import Crash, Input


class Feed(MemoryFeed):
    """A feed that also records the number of calls and the crashes."""

    def __init__(self, positions: Mapping[str, str] | None = None) -> None:
        super().__init__(positions)
        self.kept: list[str] = []

    def keep(self, crashes: Iterable[Crash], positions: Mapping[str, str | None] | None = None) -> None:
        def noted() -> Iterator[Crash]:
            for crash in crashes:
                self.kept.append(crash.origin.path)
                yield crash

        super().keep(noted(), positions)

    @property
    def titles(self) -> list[str]:
        return [crash.report.title for crash in self.crashes.values()]

    def hosts(self) -> list[str]:
        return sorted(crash.report.host or crash.origin.host_name for crash in self.crashes.values())


@contextmanager
def running(kind: type[Input], at: Mapping[str, str] | None = None, **config: Any) -> Iterator[Feed]:  # noqa: ANN401
    """Run an input in a thread."""
    feed = Feed(at)
    with run_beside(kind(kind.Config(**config)), feed):
        yield feed
