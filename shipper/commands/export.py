"""``kpanic export``: print what ``kpanic setup`` installs, or the schema of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kpanic.shipper.commands._configuration import (
    configured,
    read_config,
    site_options,
    warn_of_unknown_causes,
)
from kpanic.shipper.commands._write import write, write_all
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from kpanic.shipper.config import Config

__all__ = ["command"]

IMPORTED = {"kibana": "Kibana", "opensearch-dashboards": "OpenSearch Dashboards"}
KINDS = ("dashboard", "template", "policy", "alert", "pipeline", "schema")


@click.command("export")
@configured
@click.argument("kind", type=click.Choice(KINDS))
@click.option(
    "--format",
    "form",
    metavar="FORMAT",
    help="The product to export for; an unknown name lists the products.",
)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    default="-",
    help="File to write, by default standard output. For ElastAlert2 a folder with a file for each rule.",
)
def command(
    config_file: str | None, overrides: tuple[str, ...], kind: str, form: str | None, target: str
) -> None:
    """Print a dashboard, template, policy, alert rules, a pipeline, or the schema of the configuration."""
    if kind == "schema":
        if form is not None:
            raise click.BadOptionUsage("--format", "there is no --format of schema: it is always JSON")
        import json  # noqa: PLC0415

        from kpanic.shipper.config import schema  # noqa: PLC0415 - every plugin's structs

        write(target, json.dumps(schema(), indent=2) + "\n")
        return
    if kind == "pipeline":
        write(target, _pipeline(form, read_config(config_file, overrides)))
        return
    from kpanic.dashboards.export import EXPORTS, export  # noqa: PLC0415

    if form not in EXPORTS[kind]:
        raise click.BadOptionUsage("--format", f"--format of {kind} is one of: {', '.join(EXPORTS[kind])}")
    config = read_config(config_file, overrides)
    if kind == "alert":
        warn_of_unknown_causes(config)
    options = site_options(config)
    if form == "elastalert2" and target != "-":  # it reads a file for each rule
        from kpanic.dashboards.products import elastalert2  # noqa: PLC0415

        write_all(target, elastalert2.files(options))
        return
    write(target, export(kind, form, options))
    if form in IMPORTED and kind == "dashboard" and target != "-" and not target.endswith(".ndjson"):
        say(f"kpanic: {target}: {IMPORTED[form]} imports it only from a file named .ndjson")


def _pipeline(form: str | None, config: Config) -> str:
    """Return another pipeline's configuration that delivers to the first configured engine."""
    from kpanic.shipper.outputs.bulk import SearchConfig  # noqa: PLC0415
    from kpanic.shipper.pipelines import Engine, pipeline, products  # noqa: PLC0415

    if form is None or form not in products():
        raise click.BadOptionUsage("--format", f"--format of pipeline is one of: {', '.join(products())}")
    engine = Engine()
    for plugin in config.outputs:
        if isinstance(plugin.settings, SearchConfig):
            settings = plugin.settings
            engine = Engine(plugin.name, settings.hosts[0], settings.username or engine.user)
            break
    if form == "filebeat" and engine == Engine():
        engine = Engine("elasticsearch")
    return pipeline(form, engine, config.data_stream.namespace)
