"""Reads the configuration for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from kpanic.dashboards.rules import Options
    from kpanic.shipper.config import Config

__all__ = ["configured", "read_config", "site_options", "warn_of_unknown_causes"]


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
            help="Configuration file; by default /etc/kpanic/kpanic.yml if it exists.",
        ),
    ):
        command = option(command)
    return command


def read_config(file: str | None, overrides: tuple[str, ...], files: Container[str] = ()) -> Config:
    """Read the configuration.

    :param files: sections whose named files are opened too.
    :raises Failure: the configuration is wrong; the message names every fault.
    """
    from kpanic.shipper.config import ConfigError, load  # noqa: PLC0415 - YAML and all its structs

    try:
        return load(file, overrides, files=files)
    except ConfigError as error:
        raise Failure(str(error), 2) from None


def warn_of_unknown_causes(config: Config) -> None:
    """Warn about watched causes that the built-in grammar never names."""
    import difflib  # noqa: PLC0415

    from kpanic.grammars.data.causes import CAUSES  # noqa: PLC0415

    for cause in config.setup.alerts.watched_causes:
        if cause not in CAUSES:
            near = difflib.get_close_matches(cause, CAUSES, 1, 0.5)
            nearest = f"; the nearest is {near[0]}" if near else ""
            say(f"kpanic: setup.alerts.watched_causes: kpanic itself names no cause {cause}{nearest}")


def site_options(config: Config) -> Options:
    """Return the configuration's options for dashboards and alert rules."""
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
