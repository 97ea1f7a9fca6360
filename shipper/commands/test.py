"""``kpanic test config|output``: check the configuration, or whether outputs can be reached."""

from __future__ import annotations

import sys

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._plugins import make_inputs, make_outputs
from kpanic.shipper.terminal import say, visible

__all__ = ["command"]


@click.group("test")
def command() -> None:
    """Check the configuration, or whether the outputs can be reached."""


@command.command("config")
@configured
def config(config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Check the configuration and the files that it names."""
    found = read_config(config_file, overrides, ("inputs", "output", "setup"))
    for warning in found.warnings:
        say(f"kpanic: warning: {warning}")
    make_inputs(found)
    for output in make_outputs(found):
        output.close()
    names = ", ".join(plugin.name for plugin in found.outputs) or "none"
    sys.stdout.write(
        f"{visible(found.source or 'no file')}: fine; store {found.store_path()}; outputs: {names}\n"
    )
    return 0


@command.command("output")
@click.argument("name", required=False)
@configured
def output(name: str | None, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Connect to the outputs, or to the one named NAME, as a delivery does."""
    from kpanic.shipper.api import Unavailable, hide_secrets  # noqa: PLC0415

    code = 0
    outputs = make_outputs(read_config(config_file, overrides), name)
    if not outputs:
        say("kpanic: no output is configured; crashes are kept in the store")
    for one in outputs:
        try:
            sys.stdout.write(visible(hide_secrets(one.check())) + "\n")
        except Unavailable as error:
            say(f"kpanic: {error}")
            code = 1
        finally:
            one.close()
    return code
