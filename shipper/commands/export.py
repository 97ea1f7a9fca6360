"""``kpanic export``: what ``kpanic setup`` installs, and the configuration's schema, as text."""

from __future__ import annotations

import sys

import click

__all__ = ["command"]

KINDS = ("dashboard", "template", "policy", "alert", "schema")


@click.command("export")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--format", "form", metavar="FORMAT", help="The product it is for; a wrong one lists them.")
def command(kind: str, form: str | None) -> None:
    """Print a dashboard, template, policy, alert rules, or the schema of the configuration file."""
    if kind == "schema":
        import json  # noqa: PLC0415

        from shipper.config import schema  # noqa: PLC0415 - every plugin's structs

        sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
        return
    from dashboards.export import EXPORTS, export  # noqa: PLC0415

    if form not in EXPORTS[kind]:
        raise click.BadOptionUsage("--format", f"--format of {kind} is one of: {', '.join(EXPORTS[kind])}")
    sys.stdout.write(export(kind, form))
