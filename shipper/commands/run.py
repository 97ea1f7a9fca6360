"""``kpanic run``: the service.

SIGTERM and SIGINT end it after the batches that are being sent. SIGHUP reads the configuration again; a wrong
one changes nothing. Under systemd (``Type=notify-reload``) it tells when it is ready and, with
``WatchdogSec=``, that it is alive.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import click

from kpanic.shipper import systemd
from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._plugins import make_inputs, make_outputs, make_targets, origin
from kpanic.shipper.commands._store import expire, open_store
from kpanic.shipper.requests import Requests
from kpanic.shipper.service_log import service_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.api import Input, Output
    from kpanic.shipper.config import Config
    from kpanic.shipper.delivery import Say
    from kpanic.shipper.service import Service
    from kpanic.shipper.store import Store

__all__ = ["command"]

EXAMINED = ("output", "notify")
"""Sections whose files are opened at the start."""
BACKFILL_TIME = 86_400.0
"""Seconds from the making of the store until inputs have read the crashes from before it."""
EXPIRY_INTERVAL = 600.0
"""Seconds between two runs of the store's retention."""
SWITCH = 0.001
"""Maximum seconds for which a thread holds the interpreter lock while another empties a socket."""
REOPEN_DELAY = 1.0
"""Seconds until a damaged store is opened again."""


class _Setup(NamedTuple):
    """A configuration with its inputs and outputs."""

    config: Config
    inputs: list[Input]
    outputs: list[Output]


@click.command("run")
@configured
def command(config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Watch the configured inputs and deliver their crashes until it is stopped."""
    log = service_log()
    sys.setswitchinterval(SWITCH)
    requests = Requests()
    parts = _make(read_config(config_file, overrides, EXAMINED))
    while True:
        with open_store(parts.config, warn=log) as store:
            renewed = _serve(store, parts, requests, log, (config_file, overrides))
        if renewed is None and not requests.damaged:
            log("stopped", level="info")
            return 0
        if requests.damaged:  # the next opening sets it aside
            requests.damaged = False
            requests.wait(REOPEN_DELAY)
            renewed = _make(parts.config)
        parts = renewed or parts


def _make(config: Config) -> _Setup:
    """Make the inputs and outputs of a configuration.

    :raises Failure: a setting is wrong.
    """
    if not config.inputs:
        raise Failure("nothing to watch: the configuration has no inputs", 2)
    return _Setup(config, make_inputs(config), make_outputs(config))


def _serve(
    store: Store, parts: _Setup, requests: Requests, log: Say, source: tuple[str | None, tuple[str, ...]]
) -> _Setup | None:
    """Run until a request ends it; return the configuration to run next, None for none."""
    from kpanic.shipper.api import MEMORY  # noqa: PLC0415
    from kpanic.shipper.service import Service  # noqa: PLC0415
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    config = parts.config
    MEMORY.limit = config.memory.bytes()
    service = Service(
        store,
        origin(config, backfill_before=store.created(), backfill_until=store.created() + BACKFILL_TIME),
        parts.inputs,
        parts.outputs,
        log,
        targets=make_targets(config, store),
        triage=Triage(config.entries),
        on_damage=requests.damage,
    )
    with _metrics(config, service, store, log):
        service.start()
        for warning in config.warnings:
            log(warning)
        inputs = ", ".join(plugin.name for plugin in config.inputs)
        outputs = ", ".join(plugin.name for plugin in config.outputs) or "none, kept here"
        told = "".join(f"; notifies {target.name}" for target in config.notify.targets)
        log(f"running; inputs: {inputs}; outputs: {outputs}{told}", level="info")
        systemd.notify("READY=1")
        expired_at = -EXPIRY_INTERVAL
        renewed = None
        while not (requests.stop or requests.damaged or renewed):
            if service.alive():
                systemd.notify("WATCHDOG=1")
            if time.monotonic() - expired_at > EXPIRY_INTERVAL:
                expired_at = time.monotonic()
                _expire(store, config, log)
            _release_memory()
            requests.wait(systemd.watchdog_interval())
            if requests.reload:
                requests.reload = False
                renewed = _renewed(store, source, log)
        if not renewed:
            systemd.notify("STOPPING=1")
        if not service.stop(config.shutdown_timeout):
            log("a thread did not end in time; its crashes are kept and come again")
            sys.stderr.flush()
            if renewed:  # only this ends a thread inside a library's call
                os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves
            os._exit(1)
    return renewed


def _renewed(store: Store, source: tuple[str | None, tuple[str, ...]], log: Say) -> _Setup | None:
    """Read the configuration again; None if it is wrong, which is logged."""
    systemd.notify_reloading()
    try:
        made = _make(read_config(*source, EXAMINED))
        if made.config.store_path() != store.path:
            open_store(made.config, warn=log).close()
    except Failure as error:
        for line in str(error).splitlines():
            log(line, level="error")
        log("this configuration cannot be used: the previous one stays in effect", level="error")
        systemd.notify("READY=1")
        return None
    return made


@contextmanager
def _metrics(config: Config, service: Service, store: Store, log: Say) -> Iterator[None]:
    """Serve metrics during the context if they are enabled; a port that cannot be used is logged."""
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


def _release_memory() -> None:
    """Return free memory to the system after a burst (malloc_trim(3)), if the C library can."""
    import ctypes  # noqa: PLC0415

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _expire(store: Store, config: Config, log: Say) -> None:
    """Run the store's retention."""
    from kpanic.shipper.store import StoreError  # noqa: PLC0415

    try:
        expire(store, config, log)
    except StoreError as error:
        log(str(error))
