"""``kpanic report``: the local dashboard as one self-contained HTML file, or its figures as JSON."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kpanic.indices import data_stream
from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._plugins import make_outputs
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.commands._write import write
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.shipper.config import Config

__all__ = ["command"]

LIMIT = 2_000_000
"""Maximum documents of a report, for memory and the browser."""


class Source(NamedTuple):
    """The store or an engine, to read documents from."""

    name: str
    total: int
    documents: Callable[[Iterable[str]], Iterator[dict[str, Any]]]
    """Yields at most :data:`LIMIT` documents, newest first, with the named fields."""
    whole: Callable[[Sequence[str]], Iterator[dict[str, Any]]]
    """Yields the documents of these ``_id`` with all fields."""


@click.command("report")
@configured
@click.option(
    "-o", "--output", "target", metavar="FILE", help="Default: kpanic-report.html; - is standard output."
)
@click.option(
    "--from",
    "source",
    metavar="OUTPUT",
    help="Read a configured OpenSearch or Elasticsearch in place of the store.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "json"]),
    default="html",
    help="html: a page; json: its figures, on standard output unless -o is given.",
)
@click.option(
    "--fleet",
    type=click.IntRange(1),
    metavar="N",
    help="Number of all hosts, for rates; overrides fleet.size.",
)
def command(  # noqa: PLR0913, PLR0917 - one for each option
    config_file: str | None,
    overrides: tuple[str, ...],
    target: str | None,
    source: str | None,
    form: str,
    fleet: int | None,
) -> int:
    """Write the store's crashes as one HTML file that needs no network, and print its path."""
    from kpanic import dashboards  # noqa: PLC0415 - templates
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    config = read_config(config_file, overrides)
    target = target or ("kpanic-report.html" if form == "html" else "-")
    triage = Triage(config.entries)

    def triaged(documents: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        return map(triage.stamp_document, documents) if triage else documents

    with _store(config) if source is None else _engine(config, source) as found:
        if not found.total:
            say(f"kpanic: {found.name} holds no crash yet; 'kpanic ship /var/crash' reads what is there")
        if found.total > LIMIT:
            say(f"kpanic: {found.name} holds {found.total} documents; the report is of the newest {LIMIT}")
        if form == "json":
            import json  # noqa: PLC0415

            text = json.dumps(dashboards.summarise(found.documents(dashboards.SUMMARISED)), indent=2) + "\n"
        else:
            text = dashboards.render_report(
                triaged(found.documents(("_id", *dashboards.REPORTED))),
                whole=lambda ids: triaged(found.whole(ids)),
                fleet=fleet or config.fleet.size or None,
                older=max(0, found.total - LIMIT),
            )
    write(target, text)
    return 0


@contextmanager
def _store(config: Config) -> Iterator[Source]:
    from kpanic.shipper.store import StoreError  # noqa: PLC0415

    with open_store(config, readonly=True) as store:
        try:
            yield Source(
                str(store.path),
                store.status().kept,
                lambda names: store.documents(only=names, newest=LIMIT),
                store.documents_by_id,
            )
        except StoreError as error:
            raise Failure(str(error)) from None


@contextmanager
def _engine(config: Config, name: str) -> Iterator[Source]:
    from kpanic.shipper.api import Unavailable  # noqa: PLC0415
    from kpanic.shipper.outputs import search  # noqa: PLC0415
    from kpanic.shipper.outputs.bulk import BulkOutput  # noqa: PLC0415

    (output,) = make_outputs(config, only=name)
    try:
        if not isinstance(output, BulkOutput):
            raise Failure(f"output.{name} cannot be read back; --from takes opensearch or elasticsearch", 2)
        index = data_stream(config.data_stream.namespace)
        yield Source(
            f"{index} of {output.product} at {', '.join(output.urls)}",
            search.count(output, index),
            lambda names: search.documents(output, index, names, LIMIT),
            partial(search.whole, output, index),
        )
    except Unavailable as error:
        raise Failure(
            f"{error}\n'kpanic test output' says more; without --from the report is of the store"
        ) from None
    finally:
        output.close()
