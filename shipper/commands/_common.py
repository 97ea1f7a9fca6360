"""What several commands need: the configuration, the store, the outputs."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.document import Origin
from kpanic.shipper.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from kpanic.dashboards.rules import Options
    from kpanic.shipper.api import Input, Output
    from kpanic.shipper.config import Config
    from kpanic.shipper.store import Store

__all__ = [
    "configured",
    "doubt_causes",
    "made_inputs",
    "made_outputs",
    "make_room",
    "open_store",
    "origin",
    "read_config",
    "site_options",
]


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``-c FILE`` and ``-E key=value``."""
    for option in (
        click.option(
            "-E",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override a key of the configuration; repeatable.",
        ),
        click.option(
            "-c",
            "config_file",
            metavar="FILE",
            help="Configuration file; else /etc/kpanic/kpanic.yml if it is there.",
        ),
    ):
        command = option(command)
    return command


def read_config(file: str | None, overrides: tuple[str, ...], files: Container[str] = ()) -> Config:
    """Read the configuration.

    :param files: sections of which the files are looked at, too.
    :raises Failure: it is wrong, with every fault.
    """
    from kpanic.shipper.config import ConfigError, load  # noqa: PLC0415 - YAML and all its structs

    try:
        return load(file, overrides, files=files)
    except ConfigError as error:
        raise Failure(str(error), 2) from None


def origin(
    config: Config | None = None,
    *,
    backfill_before: float | None = None,
    backfill_until: float = math.inf,
) -> Origin:
    """Return what is known of every crash before it is read; see :class:`Origin`."""
    host = socket.gethostname()
    if config is None:
        return Origin("file", agent_host=host)
    from kpanic.shipper.redact import DEFAULT_PATTERNS, Redactor  # noqa: PLC0415

    return Origin(
        "file",
        agent_host=host,
        namespace=config.data_stream.namespace,
        tags=tuple(config.tags),
        labels=config.labels,
        backfill_before=backfill_before,
        backfill_until=backfill_until,
        redactor=Redactor(DEFAULT_PATTERNS + tuple(config.redact.command_line)),
    )


def open_store(
    config: Config,
    *,
    readonly: bool = False,
    warn: Callable[[str], None] = lambda line: say(f"kpanic: {line}"),
) -> Store:
    """Open the store.

    :param warn: is called if it was damaged.
    :raises Failure: it cannot be opened.
    """
    from kpanic.shipper.store import Store, StoreError  # noqa: PLC0415

    try:
        store = Store(config.store_path(), readonly=readonly, warn=warn)
    except StoreError as error:
        raise Failure(str(error)) from None
    if store.set_aside is not None and store.salvaged is not None:
        copied, lost = store.salvaged
        warn(
            f"{store.path} was damaged and is now {store.set_aside}; of its documents {copied} are in a new"
            f" store and {lost} could not be read"
        )
    return store


def make_room(store: Store, config: Config, tell: Callable[[str], None]) -> None:
    """Let go of what the retention of the configuration does not keep; say so where it was not delivered."""
    import time  # noqa: PLC0415

    expired = store.expire(
        [plugin.name for plugin in config.outputs],
        before=time.time() - config.retention.seconds(),
        size=config.retention.bytes(),
    )
    if expired.undelivered:
        tell(
            f"{store.path}: retention.size {config.retention.size} is reached:"
            f" let go of the text of {counted(expired.undelivered, 'document')} NOT delivered everywhere"
        )


def doubt_causes(config: Config) -> None:
    """Say which watched causes no crash has, as far as the built-in grammar goes."""
    import difflib  # noqa: PLC0415

    from kpanic.grammars.data.causes import CAUSES  # noqa: PLC0415

    for cause in config.setup.alerts.watched_causes:
        if cause not in CAUSES:
            near = difflib.get_close_matches(cause, CAUSES, 1, 0.5)
            nearest = f"; the nearest is {near[0]}" if near else ""
            say(f"kpanic: setup.alerts.watched_causes: kpanic itself names no cause {cause}{nearest}")


def site_options(config: Config) -> Options:
    """Return what the configuration decides about dashboards and alert rules."""
    from kpanic.dashboards.rules import Options  # noqa: PLC0415

    wanted = config.setup.alerts
    return Options(
        fleet=config.fleet.size,
        watched_causes=wanted.watched_causes,
        outbreak_hosts=wanted.outbreak_hosts,
        opensearch_channel=wanted.opensearch_channel,
        kibana_connector=wanted.kibana_connector,
        kibana_url=config.setup.kibana.address(),
        opensearch_dashboards_url=config.setup.opensearch_dashboards.address(),
        elastalert2=wanted.elastalert2,
    )


def made_inputs(config: Config) -> list[Input]:
    """Make the configured inputs.

    :raises Failure: one cannot be made as it is configured.
    """
    from kpanic.plugins import load  # noqa: PLC0415
    from kpanic.shipper.config import INPUTS  # noqa: PLC0415

    made: list[Input] = []
    for number, plugin in enumerate(config.inputs):
        try:
            made.append(load(INPUTS, plugin.name)(plugin.settings))
        except ValueError as error:
            raise Failure(f"{config.source or 'configuration'}: inputs[{number}]: {error}", 2) from None
    return made


def made_outputs(config: Config, only: str | None = None) -> list[Output]:
    """Make the configured outputs, or the one named ``only``.

    :raises Failure: one cannot be made as it is configured, or is not configured.
    """
    from kpanic.plugins import load  # noqa: PLC0415
    from kpanic.shipper.config import OUTPUTS  # noqa: PLC0415

    chosen = [plugin for plugin in config.outputs if only in (None, plugin.name)]
    if only is not None and not chosen:
        have = ", ".join(plugin.name for plugin in config.outputs) or "none"
        raise Failure(f"output.{only} is not configured; there is {have}", 2)
    outputs: list[Output] = []
    for plugin in chosen:
        try:
            outputs.append(load(OUTPUTS, plugin.name)(plugin.settings))
        except ValueError as error:
            raise Failure(f"{config.source or 'configuration'}: output.{plugin.name}: {error}", 2) from None
    return outputs
