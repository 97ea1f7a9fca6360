"""The log of the service on standard error.

:see: https://www.elastic.co/docs/reference/ecs/logging/intro
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kpanic.shipper.document import ECS_VERSION
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from kpanic.shipper.delivery import Say

__all__ = ["service_log"]


def service_log() -> Say:
    """Return the function that writes a line: text on a terminal, ECS JSON elsewhere."""
    if sys.stderr.isatty():
        return lambda message, level="warn": say(f"kpanic: {message}")  # noqa: ARG005

    def structured(message: str, level: str = "warn") -> None:
        line = {
            "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "log.level": level,
            "message": message,
            "ecs.version": ECS_VERSION,
            "service.type": "kpanic",
            "process.pid": os.getpid(),
            "process.thread.name": threading.current_thread().name,
        }
        with suppress(OSError):  # a disk that is full of logs does not end the service
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()

    return structured
