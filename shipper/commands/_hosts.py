"""``--host`` and ``--host-from-path``: the host of a command's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.crashed_host import HostRule, HostRules

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["host_options", "stated_hosts"]


def host_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--host NAME`` and ``--host-from-path PATTERN``."""
    for option in (
        click.option(
            "--host-from-path",
            "host_patterns",
            multiple=True,
            metavar="PATTERN",
            help="A path with {host} in place of the host's name, such as 'consoles/{host}/*.log';"
            " repeatable.",
        ),
        click.option("--host", metavar="NAME", default="", help="The host that crashed."),
    ):
        command = option(command)
    return command


def stated_hosts(host: str, patterns: tuple[str, ...]) -> HostRules:
    """Return the rules that the options state.

    :raises click.BadOptionUsage: they cannot be used.
    """
    if host and patterns:
        raise click.BadOptionUsage("--host", "--host and --host-from-path exclude each other")
    if host:
        return HostRules([HostRule("/", host)])
    try:
        return HostRules([HostRule(pattern) for pattern in patterns])
    except ValueError as error:
        raise click.BadOptionUsage("--host-from-path", f"--host-from-path: {error}") from None
