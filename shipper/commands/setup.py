"""``kpanic setup``: bring what the documents need into the stack."""

from __future__ import annotations

import sys

import click

from shipper.commands._common import configured, made_outputs, read_config
from shipper.terminal import say, visible

__all__ = ["command"]


@click.command("setup")
@configured
@click.option(
    "--index-management", is_flag=True, help="Index templates, retention policy, signatures' index."
)
def command(config_file: str | None, overrides: tuple[str, ...], *, index_management: bool) -> int:
    """Install into every OpenSearch and Elasticsearch of the configuration; without a choice, everything.

    Doing it again changes nothing. What an engine cannot take is left out and said.
    """
    from shipper.outputs import Unavailable  # noqa: PLC0415
    from shipper.outputs._bulk import BulkOutput  # noqa: PLC0415
    from shipper.setup import setup_index_management  # noqa: PLC0415

    del index_management  # the only choice so far
    outputs = made_outputs(read_config(config_file, overrides))
    engines = [output for output in outputs if isinstance(output, BulkOutput)]
    code = 0
    if not engines:
        say("kpanic: neither output.opensearch nor output.elasticsearch is configured; nothing to set up")
        code = 2
    for engine in engines:
        try:
            for line in setup_index_management(engine):
                sys.stdout.write(visible(f"{engine.name}: {line}") + "\n")
        except Unavailable as error:
            say(f"kpanic: {error}")
            code = 1
        except ValueError as error:
            say(f"kpanic: {engine.name}: {error}")
            code = 1
    for output in outputs:
        output.close()
    return code
