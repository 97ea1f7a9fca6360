"""``kpanic export``: what ``kpanic setup`` installs, and the configuration's schema, as files."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]


@click.group("export")
def command() -> None:
    """Print as JSON what 'setup' would install, and the schema of the configuration."""


def _engine(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--for",
        "engine",
        type=click.Choice(["opensearch", "elasticsearch"]),
        required=True,
        help="The engine it is for.",
    )(function)


@command.command("template")
@_engine
@click.option("--signatures", is_flag=True, help="The template of the signatures' index.")
def template(engine: Literal["opensearch", "elasticsearch"], *, signatures: bool) -> None:
    """Print the index template: PUT it to _index_template/kernel-panic."""
    from dashboards import templates  # noqa: PLC0415

    _print(templates.signatures_template(engine) if signatures else templates.panics_template(engine))


@command.command("policy")
@_engine
def policy(engine: Literal["opensearch", "elasticsearch"]) -> None:
    """Print the retention policy (ISM or ILM)."""
    from dashboards import templates  # noqa: PLC0415

    _print(templates.policy(engine))


@command.command("schema")
def schema() -> None:
    """Print the JSON schema of the configuration file."""
    from shipper.config import schema as make  # noqa: PLC0415

    _print(make())


def _print(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
