"""``kpanic report``: the local dashboard as one self-contained HTML file, or its figures as JSON."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._engine import opened
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.commands._write import write
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.dashboards import Crashes
    from kpanic.shipper.config import Config
    from kpanic.shipper.triage import Triage

__all__ = ["command"]

LIMIT = 2_000_000
"""Maximum documents of the store in a report, for memory and the browser."""
ENGINE_LIMIT = 200_000
"""Maximum documents that a report fetches from an engine, which counts the others itself."""


class Source(NamedTuple):
    """The store or an engine, to read crashes from."""

    name: str
    total: int
    """Number of documents."""
    crashes: Callable[[Sequence[str]], Crashes]
    """Returns the crashes with the named fields."""
    older: int
    """Number of omitted documents."""
    figures: Callable[[], dict[str, Any]]
    """Returns the figures of all documents."""
    answers: Callable[[], dict[str, Any] | None]
    """Returns what panels show of all documents; None if no document is omitted."""


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
    with _store(config, triage) if source is None else _engine(config, source, triage) as found:
        if not found.total:
            say(f"kpanic: {found.name} holds no crash yet; 'kpanic ship /var/crash' reads crash folders")
        if found.older and form == "html":
            newest = found.total - found.older
            say(f"kpanic: {found.name} holds {found.total} documents; the page has the newest {newest}")
        if form == "json":
            import json  # noqa: PLC0415

            text = json.dumps(found.figures(), indent=2) + "\n"
        else:
            try:
                text = dashboards.render_report(
                    found.crashes(dashboards.REPORTED),
                    fleet=fleet or config.fleet.size or None,
                    older=found.older,
                    answers=found.answers(),
                )
            except dashboards.NoVega as error:
                raise Failure(str(error)) from None
    write(target, text)
    return 0


@contextmanager
def _store(config: Config, triage: Triage) -> Iterator[Source]:
    from kpanic.dashboards import SUMMARISED, Crashes, summarise  # noqa: PLC0415
    from kpanic.shipper.store import StoreError  # noqa: PLC0415

    with open_store(config, readonly=True) as store:

        def crashes(_: Sequence[str]) -> Crashes:
            profiles = store.profiles()
            if triage:
                profiles = {key: triage.stamp_document(fields) for key, fields in profiles.items()}
            return Crashes(partial(store.crashes, older), profiles, store.incident_ids, whole)

        def whole(seqs: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
            for seq, document in store.documents_by_seq(seqs):
                yield seq, triage.stamp_document(document) if triage else document

        try:
            total = store.status().kept
            older = max(0, total - LIMIT)
            yield Source(
                str(store.path), total, crashes, older, lambda: summarise(crashes(SUMMARISED)), lambda: None
            )
        except StoreError as error:
            raise Failure(str(error)) from None


@contextmanager
def _engine(config: Config, name: str, triage: Triage) -> Iterator[Source]:
    from kpanic.dashboards import engine, gather  # noqa: PLC0415
    from kpanic.shipper.outputs import search  # noqa: PLC0415

    with opened(config, name) as crashes:
        output, index = crashes.output, crashes.index
        total = search.count(output, index)
        older = max(0, total - ENGINE_LIMIT)

        def triaged(documents: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
            return map(triage.stamp_document, documents) if triage else documents

        yield Source(
            str(crashes),
            total,
            lambda names: gather(
                triaged(search.documents(output, index, names, ENGINE_LIMIT)),
                names,
                lambda ids: triaged(search.whole(output, index, ids)),
            ),
            older,
            lambda: engine.figures(crashes.ask),
            lambda: engine.answers(crashes.ask) if older else None,
        )
