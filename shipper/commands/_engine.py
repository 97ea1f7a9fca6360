"""Reads the documents of an engine for commands with ``--from``."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from kpanic.indices import data_stream, totals_index
from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._plugins import make_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.shipper.config import Config
    from kpanic.shipper.outputs.bulk import BulkOutput
    from kpanic.shipper.store import Selection

__all__ = ["EngineDocuments", "opened", "source_option"]

INCIDENTS = 500
"""Incidents whose documents come in one answer."""
WHOLE_INCIDENTS = 50
"""Incidents whose whole documents come in one answer."""

source_option = click.option(
    "--from",
    "source",
    type=click.Choice(["store", "opensearch", "elasticsearch"]),
    default="store",
    show_default=True,
    help="Source of crashes: this machine's store, or a configured engine with those of all machines.",
)


class EngineDocuments:
    """The documents in a namespace's data stream.

    :ivar index: its name.
    """

    def __init__(self, output: BulkOutput, namespace: str) -> None:
        self.output = output
        self.index = data_stream(namespace)
        self._totals = totals_index(namespace)

    def __str__(self) -> str:
        return f"{self.index} of {self.output.product} at {', '.join(self.output.urls)}"

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a search.

        :raises Unavailable: the engine does not answer, or refuses.
        """
        from kpanic.shipper.outputs import search  # noqa: PLC0415

        return search.answer(self.output, self.index, body)

    def ask_totals(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a search in the totals; without hits if the user may not read them."""
        from kpanic.shipper.api import Unavailable  # noqa: PLC0415
        from kpanic.shipper.outputs import search  # noqa: PLC0415

        try:
            return search.answer(self.output, self._totals, body)
        except Unavailable:  # all documents are counted instead, which also shows whether the engine answers
            return {"hits": {"hits": []}}

    def newest(
        self, count: int, only: Selection, names: Iterable[str] | None
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the documents of each of the newest incidents, the newest first, with their ``_id``.

        An incident comes with all its documents if one of them matches the selection.

        :param count: maximum number of incidents.
        :param names: fields of the documents; None for whole ones.
        :raises Unavailable: the engine does not answer, or refuses.
        """
        from kpanic.shipper.fields import get  # noqa: PLC0415
        from kpanic.shipper.outputs import search  # noqa: PLC0415

        ids = iter(self._newest_ids(count, only))
        while some := list(islice(ids, INCIDENTS if names else WHOLE_INCIDENTS)):
            incidents: dict[str, list[dict[str, Any]]] = {one: [] for one in some}
            where = {"terms": {"event.id": some}}
            fields = ["event.id", *(names or ())]
            for document in search.documents(self.output, self.index, fields, where=where):
                incidents[get(document, "event.id")].append(document)
            if names:
                yield from incidents.values()
                continue
            named = [document["_id"] for documents in incidents.values() for document in documents]
            whole = {one["_id"]: one for one in search.whole(self.output, self.index, named)}
            for documents in incidents.values():
                yield [whole[document["_id"]] for document in documents if document["_id"] in whole]

    def _newest_ids(self, count: int, only: Selection) -> list[str]:
        from kpanic.shipper.fields import get  # noqa: PLC0415
        from kpanic.shipper.outputs import search  # noqa: PLC0415

        chosen: dict[str, None] = {}
        where = search.selected(only)
        for document in search.documents(self.output, self.index, ["event.id"], where=where, page=2 * count):
            chosen[get(document, "event.id")] = None
            if len(chosen) >= count:
                break
        return list(chosen)


@contextmanager
def opened(config: Config, name: str) -> Iterator[EngineDocuments]:
    """Open an engine.

    :param name: the output's.
    :raises Failure: the output is not configured or no engine, does not answer, or refuses.
    """
    from kpanic.shipper.api import Unavailable  # noqa: PLC0415
    from kpanic.shipper.outputs.bulk import BulkOutput  # noqa: PLC0415

    (output,) = make_outputs(config, only=name)
    try:
        if not isinstance(output, BulkOutput):
            raise Failure(f"output.{name} cannot be read back; --from takes opensearch or elasticsearch", 2)
        yield EngineDocuments(output, config.data_stream.namespace)
    except Unavailable as error:
        raise Failure(
            f"{error}\n'kpanic test output' says more; without --from the store of this machine is read"
        ) from None
    finally:
        output.close()
