"""``kpanic rollup``: count an engine's crashes in advance, for lists of signatures and dashboards."""

from __future__ import annotations

import time

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands.setup import Servers, run_steps

__all__ = ["command"]


@click.command("rollup")
@configured
@click.option("--again", is_flag=True, help="Count all signatures; forget those whose crashes were deleted.")
@click.option(
    "--delay",
    type=click.IntRange(0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Leave documents that an engine received less than this ago to the next run.",
)
def command(config_file: str | None, overrides: tuple[str, ...], *, again: bool, delay: int) -> int:
    """Count the crashes of signatures and days since the last run, and store the counts in the engine.

    'kpanic signatures --from' reads the counts of signatures and adds later crashes, instead of counting all
    crashes; the long-term dashboard reads the counts of days. Run this command every hour, on one machine,
    and once a day with --again.
    """
    from kpanic.shipper.rollup import roll_up  # noqa: PLC0415

    config = read_config(config_file, overrides)
    servers = Servers(config, {"rollup"})
    namespace = config.data_stream.namespace
    until = int((time.time() - delay) * 1000)
    steps = ((engine.name, roll_up(engine, namespace, until, again=again)) for engine in servers.engines)
    return run_steps(steps, servers)
