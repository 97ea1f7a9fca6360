"""``kpanic run``: the service.

SIGTERM and SIGINT end it after what is in flight; SIGHUP reads the configuration again, and one that is wrong
changes nothing. Under systemd (``Type=notify``, ``notify-reload``) it tells when it is ready and, with
``WatchdogSec=``, that it is alive (sd_notify(3)).
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._plugins import make_inputs, make_outputs, origin
from kpanic.shipper.commands._store import expire, open_store
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.api import Input, Output
    from kpanic.shipper.config import Config
    from kpanic.shipper.delivery import Say
    from kpanic.shipper.service import Service
    from kpanic.shipper.store import Store

__all__ = ["command"]

SETTLING = 86_400.0
"""Seconds after a store was begun in which its inputs come upon what happened before."""
ROOM = 600.0
"""Seconds between two looks at what the store need not keep any more."""
AGAIN = 1.0
"""Seconds until a store is opened again that was damaged."""


class _Parts(NamedTuple):
    """A configuration, and what it names, made."""

    config: Config
    inputs: list[Input]
    outputs: list[Output]


@click.command("run")
@configured
def command(config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Watch the configured inputs and deliver for ever."""
    log = _log()
    wanted = _Signals()
    parts = _make(read_config(config_file, overrides, ("output",)))
    while True:
        with open_store(parts.config, warn=log) as store:
            renewed = _serve(store, parts, wanted, log, (config_file, overrides))
        if renewed is None and not wanted.damaged:
            log("stopped", level="info")
            return 0
        if wanted.damaged:  # opened again, it is set aside
            wanted.damaged = False
            wanted.wait(AGAIN)
            renewed = _make(parts.config)
        parts = renewed or parts


def _make(config: Config) -> _Parts:
    """Make everything that a configuration names.

    :raises Failure: something in it is wrong.
    """
    if not config.inputs:
        raise Failure("nothing to watch: the configuration has no inputs", 2)
    return _Parts(config, make_inputs(config), make_outputs(config))


def _serve(
    store: Store, parts: _Parts, wanted: _Signals, log: Say, source: tuple[str | None, tuple[str, ...]]
) -> _Parts | None:
    """Run until told to end; return what is to run next, None for nothing."""
    from kpanic.shipper.api import MEMORY  # noqa: PLC0415
    from kpanic.shipper.service import Service  # noqa: PLC0415
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    config = parts.config
    MEMORY.limit = config.memory.bytes()
    service = Service(
        store,
        origin(config, backfill_before=store.created(), backfill_until=store.created() + SETTLING),
        parts.inputs,
        parts.outputs,
        log,
        triage=Triage(config.entries),
        on_damage=wanted.damage,
    )
    with _metrics(config, service, store, log):
        service.start()
        for warning in config.warnings:
            log(warning)
        inputs = ", ".join(plugin.name for plugin in config.inputs)
        outputs = ", ".join(plugin.name for plugin in config.outputs) or "none, kept here"
        log(f"running; inputs: {inputs}; outputs: {outputs}", level="info")
        _notify("READY=1")
        looked = -ROOM
        renewed = None
        while not (wanted.stop or wanted.damaged or renewed):
            if service.alive():
                _notify("WATCHDOG=1")
            if time.monotonic() - looked > ROOM:
                looked = time.monotonic()
                _tidy(store, config, log)
            _give_back()
            wanted.wait(_watchdog())
            if wanted.reload:
                wanted.reload = False
                renewed = _renewed(store, source, log)
        if not renewed:
            _notify("STOPPING=1")
        if not service.stop(config.shutdown_timeout):
            log("something would not end in time; what it had is kept and comes again")
            sys.stderr.flush()
            if renewed:  # a thread inside a library's call cannot be ended otherwise
                os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves
            os._exit(1)
    return renewed


def _renewed(store: Store, source: tuple[str | None, tuple[str, ...]], log: Say) -> _Parts | None:
    """Read the configuration again; None if something in it is wrong, which is said."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        made = _make(read_config(*source, ("output",)))
        if made.config.store_path() != store.path:
            open_store(made.config, warn=log).close()
    except Failure as error:
        for line in str(error).splitlines():
            log(line, level="error")
        log("the configuration is not read again: what ran before goes on", level="error")
        _notify("READY=1")
        return None
    return made


@contextmanager
def _metrics(config: Config, service: Service, store: Store, log: Say) -> Iterator[None]:
    """Serve metrics meanwhile, where that is wanted; a port that cannot be had is said."""
    if not config.http.enabled:
        yield
        return
    from kpanic.shipper.metrics import serve  # noqa: PLC0415

    where = f"http://{config.http.host}:{config.http.port}/metrics"
    try:
        serving = serve(config.http.host, config.http.port, service, store)
    except OSError as error:
        log(f"{where}: cannot be served: {error.strerror or error}", level="error")
        serving = nullcontext()
    with serving:
        yield


def _give_back() -> None:
    """Return the memory that a burst left behind (malloc_trim(3)), where the C library can."""
    import ctypes  # noqa: PLC0415
    import linecache  # noqa: PLC0415

    linecache.clearcache()  # pyparsing's own source: it looks at who calls it
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _tidy(store: Store, config: Config, log: Say) -> None:
    from kpanic.shipper.store import StoreError  # noqa: PLC0415

    try:
        expire(store, config, log)
    except StoreError as error:
        log(str(error))


class _Signals:
    """What is wanted of the service; signals and other threads may want something at any time."""

    def __init__(self) -> None:
        self.stop = self.reload = self.damaged = False
        # A pipe, as an Event's lock may be held by the very code that a signal interrupts.
        self._heard, self._waker = socket.socketpair()
        for end in (self._heard, self._waker):
            end.settimeout(0)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._take)

    def _take(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True

    def damage(self) -> None:
        """Tell that the store is damaged."""
        self.damaged = True
        self._waker.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait so long, or until something is wanted."""
        if select.select([self._heard], [], [], seconds)[0]:
            self._heard.recv(4096)


def _log() -> Say:
    """Return what writes a line of log: text on a terminal, ECS JSON elsewhere."""
    if sys.stderr.isatty():
        return lambda message, level="warn": say(f"kpanic: {message}")  # noqa: ARG005

    def structured(message: str, level: str = "warn") -> None:
        line = {
            "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "log.level": level,
            "message": message,
            "ecs.version": "9.4.0",
            "service.type": "kpanic",
            "process.pid": os.getpid(),
            "process.thread.name": threading.current_thread().name,
        }
        with suppress(OSError):  # a disk that the log fills must not end what keeps crashes
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
