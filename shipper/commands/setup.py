"""``kpanic setup``: bring what the documents need into the stack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._common import configured, doubt_causes, made_outputs, read_config, site_options
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.shipper.config import Config
    from kpanic.shipper.frontend import Frontend
    from kpanic.shipper.outputs.bulk import BulkOutput

    Step = tuple[str, Iterable[str]]

__all__ = ["command"]


@click.command("setup")
@configured
@click.option(
    "--index-management", is_flag=True, help="Index templates, retention policy, signatures' index."
)
@click.option("--dashboards", is_flag=True, help="Dashboards, into Kibana and OpenSearch Dashboards.")
@click.option("--alerts", is_flag=True, help="Alert rules, into OpenSearch, and Kibana or Elasticsearch.")
def command(
    config_file: str | None,
    overrides: tuple[str, ...],
    *,
    index_management: bool,
    dashboards: bool,
    alerts: bool,
) -> int:
    """Install into everything that the configuration names; without a choice, all of it.

    That is every output.opensearch and output.elasticsearch, setup.kibana and setup.opensearch_dashboards.
    Doing it again changes nothing. What cannot be taken is left out and said.
    """
    from kpanic.shipper.api import Unavailable  # noqa: PLC0415
    from kpanic.shipper.outputs.bulk import BulkOutput  # noqa: PLC0415

    config = read_config(config_file, overrides)
    outputs = made_outputs(config)
    frontends = _made_frontends(config)
    engines = [output for output in outputs if isinstance(output, BulkOutput)]
    everything = not (index_management or dashboards or alerts)
    if not engines and not (frontends and (dashboards or alerts)):
        raise Failure(
            "neither output.opensearch nor output.elasticsearch is configured; nothing to set up", 2
        )
    if dashboards and not frontends:
        raise Failure("neither setup.kibana.host nor setup.opensearch_dashboards.host is configured", 2)
    code = 0
    gone: set[str] = set()
    for name, lines in _steps(
        config,
        engines,
        frontends,
        index_management=everything or index_management,
        dashboards=everything or dashboards,
        alerts=everything or alerts,
    ):
        if name in gone:  # said once
            continue
        try:
            for line in lines:
                sys.stdout.write(visible(f"{name}: {line}") + "\n")
        except Unavailable as error:
            say(f"kpanic: {error}")
            gone.add(name)
            code = 1
        except ValueError as error:
            say(f"kpanic: {name}: {error}")
            code = 1
    for output in outputs:
        output.close()
    for frontend in frontends:
        frontend.close()
    return code


def _made_frontends(config: Config) -> list[Frontend]:
    """Make what the configuration names.

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


def _steps(
    config: Config,
    engines: Sequence[BulkOutput],
    frontends: Sequence[Frontend],
    **wanted: bool,
) -> Iterator[Step]:
    """Yield who takes what, in an order that leaves nothing half done: rules look at indices."""
    from kpanic.shipper.setup import setup_index_management  # noqa: PLC0415
    from kpanic.shipper.setup_stack import kibana_rules, monitors, saved_objects, watches  # noqa: PLC0415

    options = site_options(config)
    if wanted["index_management"]:
        for engine in engines:
            yield engine.name, setup_index_management(engine)
    if wanted["dashboards"]:
        for frontend in frontends:
            yield frontend.name, saved_objects(frontend, options)
    if not wanted["alerts"]:
        return
    doubt_causes(config)
    kibana = [frontend for frontend in frontends if frontend.name == "kibana"]
    for frontend in kibana:
        yield frontend.name, kibana_rules(frontend, options)
    for engine in engines:
        if engine.name == "opensearch":
            yield engine.name, monitors(engine, options)
        elif not kibana:  # one of the two: both would tell of everything twice
            yield engine.name, watches(engine, options)
