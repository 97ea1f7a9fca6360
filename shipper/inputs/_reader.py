"""The grammar behind a guard: a fault of it costs one stretch of one log, not the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from grammars.model import CrashReport

__all__ = ["Reader", "fault_of"]


def fault_of(error: Exception) -> str:
    """Say that the grammar failed, for the operator."""
    return f"a fault of the grammar ends the reading ({type(error).__name__}: {error}); please report it"


class Reader:
    """A parser for an input that does not end.

    :param say: is told when the grammar failed; reading goes on after it.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        import grammars  # noqa: PLC0415 - the grammar is built on import

        self._new = grammars.Parser
        self._parser = self._new()
        self._say = say

    def feed(self, chunk: bytes) -> list[CrashReport]:
        """Read on; return the crashes that are complete."""
        return self._guarded(lambda: self._parser.feed(chunk))

    def flush(self) -> list[CrashReport]:
        """Return the crashes that are open; what is known of the boot stays."""
        return self._guarded(self._parser.flush)

    def _guarded(self, step: Callable[[], list[CrashReport]]) -> list[CrashReport]:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - whatever hostile text provokes
            self._say(fault_of(error))
            self._parser = self._new()
            return []
