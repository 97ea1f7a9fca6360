"""``kpanic setup``: install templates, policies, dashboards and alert rules into the stack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import (
    configured,
    read_config,
    site_options,
    warn_of_unknown_causes,
)
from kpanic.shipper.commands._plugins import make_outputs
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.shipper.config import Config
    from kpanic.shipper.frontend import Frontend
    from kpanic.shipper.outputs.bulk import BulkOutput

    Step = tuple[str, Iterable[str]]

__all__ = ["Servers", "choose", "command", "run_steps"]


@click.command("setup")
@configured
@click.option(
    "--index-management", is_flag=True, help="Index templates, retention policy and the index of signatures."
)
@click.option("--dashboards", is_flag=True, help="Dashboards of Kibana and OpenSearch Dashboards.")
@click.option("--alerts", is_flag=True, help="Alert rules of OpenSearch, and of Kibana or Elasticsearch.")
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
def command(  # noqa: PLR0913 - one for each option
    config_file: str | None,
    overrides: tuple[str, ...],
    *,
    index_management: bool,
    dashboards: bool,
    alerts: bool,
    dry_run: bool,
) -> int:
    """Install templates, policies, dashboards and alert rules; without a choice, all of them.

    The servers are output.opensearch, output.elasticsearch, setup.kibana and setup.opensearch_dashboards.
    Each printed line says what was installed, updated, already up to date, or skipped and why. A second run
    changes nothing. 'kpanic teardown' removes everything.
    """
    config = read_config(config_file, overrides)
    chosen = choose(index_management=index_management, dashboards=dashboards, alerts=alerts)
    servers = Servers(config, chosen, dry_run=dry_run)
    if dashboards and not servers.frontends:
        raise Failure("neither setup.kibana.host nor setup.opensearch_dashboards.host is configured", 2)
    return run_steps(_steps(config, servers, chosen), servers, "dry run: " if dry_run else "")


def choose(**wanted: bool) -> set[str]:
    """Return the names of the chosen parts, of all parts if none is chosen."""
    return {name for name in wanted if wanted[name]} or set(wanted)


class Servers:
    """The engines, Kibanas and OpenSearch Dashboards that the configuration names.

    :raises Failure: no server takes the chosen parts, or one cannot be used as it is configured.
    """

    def __init__(self, config: Config, chosen: set[str], *, dry_run: bool = False) -> None:
        from kpanic.shipper.outputs.bulk import BulkOutput  # noqa: PLC0415

        outputs = make_outputs(config)
        self.engines: list[BulkOutput] = [output for output in outputs if isinstance(output, BulkOutput)]
        self.frontends = _made_frontends(config)
        self._closed = [*(output.close for output in outputs), *(one.close for one in self.frontends)]
        if not self.engines and not (self.frontends and chosen & {"dashboards", "alerts"}):
            raise Failure(
                "neither output.opensearch nor output.elasticsearch is configured; nothing to do", 2
            )
        if dry_run:
            from kpanic.shipper.dry_run import DryRun  # noqa: PLC0415

            self.engines = [cast("BulkOutput", DryRun(engine)) for engine in self.engines]
            self.frontends = [cast("Frontend", DryRun(frontend)) for frontend in self.frontends]

    def close(self) -> None:
        """Close all connections."""
        for close in self._closed:
            close()


def run_steps(steps: Iterable[Step], servers: Servers, prefix: str = "") -> int:
    """Print the lines of steps, go on after one that fails, and return the exit code."""
    from kpanic.shipper.api import Unavailable  # noqa: PLC0415

    code = 0
    gone: set[str] = set()
    for name, lines in steps:
        if name in gone:  # its fault is printed
            continue
        try:
            for line in lines:
                sys.stdout.write(visible(f"{prefix}{name}: {line}") + "\n")
        except Unavailable as error:
            say(f"kpanic: {error}")
            gone.add(name)
            code = 1
        except ValueError as error:
            say(f"kpanic: {name}: {error}")
            code = 1
    servers.close()
    return code


def _made_frontends(config: Config) -> list[Frontend]:
    """Make the clients of Kibana and OpenSearch Dashboards.

    :raises Failure: one cannot be made as it is configured.
    """
    from kpanic.shipper.frontend import Frontend  # noqa: PLC0415

    made = []
    for key, wanted in (
        ("kibana", config.setup.kibana),
        ("opensearch_dashboards", config.setup.opensearch_dashboards),
    ):
        if wanted.host:
            try:
                made.append(Frontend(wanted))
            except ValueError as error:
                raise Failure(f"{config.source or 'configuration'}: setup.{key}: {error}", 2) from None
    return made


def _steps(config: Config, servers: Servers, chosen: set[str]) -> Iterator[Step]:
    """Yield each server's steps. Alert rules come last, because they query indices."""
    from kpanic.shipper.setup import setup_index_management  # noqa: PLC0415
    from kpanic.shipper.setup_stack import kibana_rules, monitors, saved_objects, watches  # noqa: PLC0415

    options = site_options(config)
    if "index_management" in chosen:
        for engine in servers.engines:
            yield engine.name, setup_index_management(engine)
    if "dashboards" in chosen:
        for frontend in servers.frontends:
            yield frontend.name, saved_objects(frontend, options)
    if "alerts" not in chosen:
        return
    warn_of_unknown_causes(config)
    kibana = [frontend for frontend in servers.frontends if frontend.name == "kibana"]
    for frontend in kibana:
        yield frontend.name, kibana_rules(frontend, options)
    for engine in servers.engines:
        if engine.name == "opensearch":
            yield engine.name, monitors(engine, options)
        elif not kibana:  # only one of the two: both together would alert twice
            yield engine.name, watches(engine, options)
