"""``kpanic signatures``: list faults, show one, and have its next crash alert again."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._engine import source_option
from kpanic.shipper.commands.signatures import faults, printing
from kpanic.shipper.commands.signatures.engines import engines, first_report, forget
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]


class _Group(click.Group):
    """A group that runs ``list`` if no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in {"-h", "--help"}):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("signatures", cls=_Group)
def command() -> None:
    """List faults, show one, or make its next crash alert again.

    Without a command, list faults.
    """


def _source_options(decorated: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of where to look and how to print."""
    for option in (
        source_option,
        click.option("--format", "form", type=click.Choice(["table", "json"]), default="table"),
        configured,
    ):
        decorated = option(decorated)
    return decorated


@command.command("list")
@_source_options
def list_command(source: str, form: str, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """List the faults, those with the most incidents first."""
    config = read_config(config_file, overrides)
    rows = [faults.summary(config, row) for row in faults.rows(config, source)]
    if form == "json":
        printing.print_json(rows)
        return 0
    if not rows:
        say("kpanic: no crash so far")
    printing.print_table(rows)
    return 0


@command.command("show")
@click.argument("signature", metavar="ID")
@_source_options
def show(signature: str, source: str, form: str, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Show everything about the fault ID; its first characters are enough."""
    config = read_config(config_file, overrides)
    matches = faults.named(config, source, signature)
    if len(matches) != 1:
        many = f"; it may be {', '.join(matches[:5])}" if matches else ""
        raise Failure(f"{signature}: {'names several signatures' if matches else 'no such signature'}{many}")
    found = faults.details(config, source, matches[0])
    found["alerts"] = {
        engine.name: said for engine in engines(config) if (said := first_report(engine, matches[0]))
    }
    (printing.print_json if form == "json" else printing.print_details)(found)
    return 0


@command.command("re-arm")
@click.argument("signature", metavar="ID")
@configured
def re_arm(signature: str, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Forget that the fault ID was reported: its next crash is new and alerts.

    Deletes the fault's record in every configured engine, which the user that ships is not allowed to do.
    """
    if not re.fullmatch(r"v\d{1,9}-[0-9a-f]{1,128}", signature):
        raise Failure(f"{signature}: is not the name of a signature, such as v1-bcacd554630c387c", 2)
    configured_engines = engines(read_config(config_file, overrides))
    if not configured_engines:
        raise Failure(
            "neither output.opensearch nor output.elasticsearch is configured; nothing to re-arm", 2
        )
    failed = 0
    for engine in configured_engines:
        fault, said = forget(engine, signature)
        failed += fault
        if fault:
            say(f"kpanic: {engine.name}: {said}")
        else:
            sys.stdout.write(visible(f"{engine.name}: {said}") + "\n")
        engine.close()
    return 1 if failed else 0
