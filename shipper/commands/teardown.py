"""``kpanic teardown``: remove from the stack what ``kpanic setup`` made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands.setup import Servers, choose, run_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.commands.setup import Step

__all__ = ["command"]


@click.command("teardown")
@configured
@click.option("--index-management", is_flag=True, help="Index templates and retention policy.")
@click.option("--dashboards", is_flag=True, help="Dashboards of Kibana and OpenSearch Dashboards.")
@click.option("--alerts", is_flag=True, help="Alert rules of OpenSearch, Kibana and Elasticsearch.")
def command(
    config_file: str | None,
    overrides: tuple[str, ...],
    *,
    index_management: bool,
    dashboards: bool,
    alerts: bool,
) -> int:
    """Remove what 'kpanic setup' installed from all configured servers; without a choice, all of it.

    Documents stay, as does everything that users created, except for the actions of a removed rule.
    """
    config = read_config(config_file, overrides)
    chosen = choose(index_management=index_management, dashboards=dashboards, alerts=alerts)
    servers = Servers(config, chosen)
    return run_steps(_steps(servers, chosen), servers)


def _steps(servers: Servers, chosen: set[str]) -> Iterator[Step]:
    """Yield the servers' steps: rules are removed before the indices that they query."""
    from kpanic.shipper import teardown  # noqa: PLC0415

    for frontend in servers.frontends:
        if "alerts" in chosen and frontend.name == "kibana":
            yield frontend.name, teardown.kibana_rules(frontend)
        if "dashboards" in chosen:
            yield frontend.name, teardown.saved_objects(frontend)
    for engine in servers.engines:
        if "alerts" in chosen:
            remove = teardown.monitors if engine.name == "opensearch" else teardown.watches
            yield engine.name, remove(engine)
        if "index_management" in chosen:
            yield engine.name, teardown.index_management(engine)
