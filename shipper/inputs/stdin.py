"""What is piped in: ``type: stdin``. The end of the pipe ends this input, not the service."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import msgspec

from kpanic.shipper.api import Crash, Settings
from kpanic.shipper.inputs.log_file import STANDARD_INPUT
from kpanic.shipper.inputs.piped_lines import Lines, follow

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["StdinConfig", "StdinInput"]


class StdinConfig(Settings, frozen=True, kw_only=True):
    """``type: stdin``."""

    close_quiet: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """Seconds of silence after which a crash counts as complete."""


class StdinInput:
    """Standard input, lines or records in JSON."""

    Config = StdinConfig
    name = "stdin"

    def __init__(self, config: StdinConfig) -> None:
        self.paths: list[str] = []
        self._config = config

    def run(self, feed: Feed) -> None:
        """Read to the end."""

        def take(complete: list[tuple[str, CrashReport]]) -> None:
            origin = replace(feed.origin, path=STANDARD_INPUT)
            feed.keep(
                [
                    Crash(report, replace(origin, host_name=host, relayed=bool(host)))
                    for host, report in complete
                ]
            )

        lines = Lines(self._config.close_quiet, lambda fault: feed.say(f"standard input: {fault}"), take)
        try:
            follow(sys.stdin.fileno(), lines, feed.stop)
        except (OSError, ValueError, AttributeError) as error:  # it is closed
            feed.say(f"standard input: cannot be read: {getattr(error, 'strerror', None) or error}")
