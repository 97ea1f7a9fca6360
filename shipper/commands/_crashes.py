"""The crashes of the store that a command is asked for."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from kpanic.shipper.fields import get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from kpanic.shipper.store import Store

__all__ = ["Wanted", "since_option", "stored"]

FIELDS = frozenset(
    {
        "@timestamp",
        "event.id",
        "host.name",
        "host.os.kernel",
        "kernel.panic.cause",
        "kernel.panic.fatal",
        "kernel.panic.signature.id",
    }
)
"""Fields that :class:`Wanted` looks at."""


@dataclass(frozen=True)
class Wanted:
    """Which crashes: those to which everything that is not empty applies."""

    since: datetime | None = None
    host: str = ""
    """Pattern with ``*`` and ``?``."""
    kernel: str = ""
    """Pattern with ``*`` and ``?``."""
    cause: str = ""
    signature: str = ""
    """The first characters are enough."""
    all: bool = False
    """Reports that did not kill the kernel, too."""

    def takes(self, document: dict[str, Any]) -> bool:
        """Tell whether a document is of such a crash, whenever it was."""
        return (
            (self.all or get(document, "kernel.panic.fatal") is True)
            and _matches(get(document, "host.name"), self.host)
            and _matches(get(document, "host.os.kernel"), self.kernel)
            and (not self.cause or get(document, "kernel.panic.cause") == self.cause)
            and str(get(document, "kernel.panic.signature.id") or "").startswith(self.signature)
        )


def _matches(value: object, pattern: str) -> bool:
    return not pattern or fnmatch.fnmatch(str(value or ""), pattern)


def stored(store: Store, wanted: Wanted, only: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the documents of the crashes that are wanted, the newest crash first.

    :param only: dotted names of the fields to read beside :data:`FIELDS`; None for all.
    """
    start = wanted.since.isoformat() if wanted.since else ""
    if wanted.since:
        from kpanic.shipper.crash_time import iso  # noqa: PLC0415

        start = iso(wanted.since.timestamp())
    for document in store.documents(only=None if only is None else FIELDS | frozenset(only)):
        if document["@timestamp"] < start:
            return
        if wanted.takes(document):
            yield document


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
