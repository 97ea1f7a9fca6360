"""``kpanic run``: the service.

SIGTERM and SIGINT end it after what is in flight; SIGHUP reads the configuration again. Under systemd
(``Type=notify``) it tells when it is ready and, with ``WatchdogSec=``, that it is alive (sd_notify(3)).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from shipper.cli import Failure
from shipper.commands._common import configured, made_outputs, make_room, open_store, origin, read_config
from shipper.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.config import Config
    from shipper.inputs import Input
    from shipper.store import Store

__all__ = ["command"]

ROOM = 600.0
"""Seconds between two looks at what the store need not keep any more."""
PATIENCE = 20.0
"""Seconds that a stop may take: well below systemd's 90."""


@click.command("run")
@configured
def command(config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Watch the configured inputs and deliver for ever."""
    from shipper.service import Service  # noqa: PLC0415
    from shipper.triage import Triage  # noqa: PLC0415

    told = _log()
    wanted = _Signals()
    while True:
        config = read_config(config_file, overrides)
        inputs = _made_inputs(config)
        outputs = made_outputs(config)
        with open_store(config) as store:
            service = Service(
                store,
                origin(config, backfill_before=store.begun()),
                inputs,
                outputs,
                told,
                triage=Triage(config.entries),
            )
            service.start()
            names = [plugin.name for plugin in config.inputs], [plugin.name for plugin in config.outputs]
            told(
                f"running; inputs: {', '.join(names[0])}; outputs: {', '.join(names[1]) or 'none, kept here'}"
            )
            _notify("READY=1")
            looked = -ROOM
            while not wanted.wait(_watchdog()) and not service.ended.is_set():
                if service.alive():
                    _notify("WATCHDOG=1")
                if time.monotonic() - looked > ROOM:
                    looked = time.monotonic()
                    _tidy(store, config, told)
            _notify("RELOADING=1" if wanted.reload else "STOPPING=1")
            if not service.stop(PATIENCE):
                told("something would not end in time; what it had is kept and comes again")
                sys.stderr.flush()
                os._exit(1)  # a thread inside a library's call cannot be ended otherwise
            if service.ended.is_set():
                return 1
        if not wanted.reload:
            told("stopped")
            return 0
        wanted.clear()


def _tidy(store: Store, config: Config, told: Callable[[str], None]) -> None:
    from shipper.store import StoreError  # noqa: PLC0415

    try:
        make_room(store, config, told)
    except StoreError as error:
        told(str(error))


def _made_inputs(config: Config) -> list[Input]:
    from shipper.config import INPUTS  # noqa: PLC0415
    from shipper.plugins import load  # noqa: PLC0415

    if not config.inputs:
        raise Failure("nothing to watch: the configuration has no inputs", 2)
    made: list[Input] = []
    for number, plugin in enumerate(config.inputs):
        try:
            made.append(load(INPUTS, plugin.name)(plugin.settings))
        except ValueError as error:
            raise Failure(f"{config.source or 'configuration'}: inputs[{number}]: {error}", 2) from None
    return made


class _Signals:
    """Signals as something to wait for."""

    def __init__(self) -> None:
        self.reload = False
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._take)

    def _take(self, number: int, _frame: object) -> None:
        self.reload = number == signal.SIGHUP
        self._event.set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def clear(self) -> None:
        self.reload = False
        self._event.clear()


def _log() -> Callable[[str], None]:
    """Return what writes a line of log: text on a terminal, ECS JSON elsewhere."""
    if sys.stderr.isatty():
        return lambda message: say(f"kpanic: {message}")

    def structured(message: str) -> None:
        line = {
            "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "message": message,
            "ecs.version": "9.4.0",
            "service.type": "kpanic",
            "process.thread.name": threading.current_thread().name,
        }
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()

    return structured


def _watchdog() -> float:
    """Return how often systemd wants to hear from us, halved; a minute if it does not."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2_000_000
    except (KeyError, ValueError):
        return 60.0


def _notify(state: str) -> None:
    """Tell systemd, if it listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), address)
    except OSError:
        pass  # it is its own business to miss us
