"""Notifications to systemd: sd_notify(3), ``Type=notify-reload`` and ``WatchdogSec=``.

No function does anything if systemd does not listen.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

__all__ = ["notify", "notify_reloading", "watchdog_interval"]

UNWATCHED = 60.0
"""Seconds between two checks when systemd expects no ``WATCHDOG=1``."""


def notify(state: str) -> None:
    """Send a state: ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
    ):
        channel.sendto(state.encode(), address)


def notify_reloading() -> None:
    """Announce that the configuration is read again; ``READY=1`` ends the reload."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float:
    """Return the seconds between two ``WATCHDOG=1``: half of what systemd waits."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2_000_000
    except (KeyError, ValueError):
        return UNWATCHED
