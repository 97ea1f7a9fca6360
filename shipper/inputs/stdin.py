"""What is piped into the service: ``type: stdin``. The end of the pipe ends this input, not the service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kpanic.shipper.api import Crash, Seconds, Settings
from kpanic.shipper.inputs.listening_clock import ListeningClock
from kpanic.shipper.inputs.log_file import STANDARD_INPUT
from kpanic.shipper.inputs.piped_lines import PipedLines, follow_pipe

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["StdinConfig", "StdinInput"]


class StdinConfig(Settings, frozen=True, kw_only=True):
    """``type: stdin``."""

    close_quiet: Seconds = 10.0
    """Seconds of silence after which a crash is complete."""


class StdinInput:
    """Standard input: lines, or records in JSON."""

    Config = StdinConfig
    name = "stdin"

    def __init__(self, config: StdinConfig) -> None:
        self.paths: list[str] = []
        self._config = config

    def run(self, feed: Feed) -> None:
        """Read to the end, or until ``feed.stop`` is set; see :meth:`kpanic.shipper.api.Input.run`."""

        def take(complete: list[tuple[str, CrashReport]]) -> None:
            origin = replace(feed.origin, path=STANDARD_INPUT)
            feed.keep(
                [
                    Crash(report, replace(origin, host_name=host, relayed=bool(host)))
                    for host, report in complete
                ]
            )

        clock = ListeningClock()
        lines = PipedLines(
            self._config.close_quiet, lambda fault: feed.say(f"standard input: {fault}"), take, clock
        )
        try:
            follow_pipe(sys.stdin.fileno(), lines, feed.stop, clock)
        except (OSError, ValueError, AttributeError) as error:  # it is closed
            feed.say(f"standard input: cannot be read: {getattr(error, 'strerror', None) or error}")
