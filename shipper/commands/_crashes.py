"""Selects crashes of the store by a command's options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from kpanic.shipper.store import Selection

__all__ = ["selection", "since_option"]


def selection(  # noqa: PLR0913 - one for each option
    *,
    since: datetime | None,
    host: str,
    every: bool,
    kernel: str = "",
    cause: str = "",
    signature: str = "",
) -> Selection:
    """Return the selection of options: crashes to which all given options apply.

    :param host: pattern with ``*`` and ``?``; so is ``kernel``.
    :param every: include reports that did not kill the kernel.
    :param signature: the first characters are enough.
    """
    from kpanic.shipper.store import Selection  # noqa: PLC0415

    fields: dict[str, str | bool] = {
        "host.os.kernel": kernel,
        "kernel.panic.cause": cause,
        "kernel.panic.signature.id": signature and f"{signature}*",
        "kernel.panic.fatal": not every,
    }
    return Selection(
        host,
        None if since is None else round(since.timestamp() * 1000),
        fields={name: value for name, value in fields.items() if value},
    )


def since_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--since WHEN``."""

    def read(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
        from kpanic.shipper.moments import moment  # noqa: PLC0415

        try:
            return None if value is None else moment(value)
        except (ValueError, OverflowError) as error:
            raise click.BadParameter(str(error)) from None

    return click.option(
        "--since",
        metavar="WHEN",
        callback=read,
        help="Crashes since then: yesterday, today, 12h, 7d, or a date and time (UTC).",
    )(command)
