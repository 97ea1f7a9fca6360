"""Standard output: newline delimited JSON, one document a line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kpanic.shipper.api import DeliveryStatus, Outcome, Settings, Unavailable, timestamp, with_delivery_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.shipper.api import Stored

__all__ = ["StdoutConfig", "StdoutOutput"]


class StdoutConfig(Settings, frozen=True, kw_only=True):
    """``output.stdout``: nothing to set."""


class StdoutOutput:
    """``output.stdout``: a document is delivered once the kernel has accepted it for the pipe's reader."""

    Config = StdoutConfig
    name = "stdout"

    def __init__(self, config: StdoutConfig) -> None:
        del config

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Write and flush.

        :raises Unavailable: the reader is gone.
        """
        moment = timestamp()
        try:
            sys.stdout.buffer.writelines(
                with_delivery_fields(stored.body, moment, document_id=stored.id) + b"\n" for stored in batch
            )
            sys.stdout.buffer.flush()
        except OSError as error:
            raise Unavailable(f"stdout: {error.strerror}") from error
        return [Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in batch]

    def check(self) -> str:
        """Return that standard output is open; there is no further check."""
        return "stdout: open"

    def close(self) -> None:
        """Do nothing: standard output stays open."""
