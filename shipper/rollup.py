"""Count the crashes of each signature in an engine, and keep the totals there."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from kpanic.dashboards import templates, totals
from kpanic.dashboards.panels import FAULTS
from kpanic.indices import data_stream, totals_index
from kpanic.shipper.api import hide_secrets
from kpanic.shipper.outputs import search
from kpanic.shipper.setup import words
from kpanic.shipper.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.outputs.bulk import BulkOutput

__all__ = ["roll_up"]

OK, NOT_FOUND, CONFLICT = 200, 404, 409
WRITTEN = 1_000
"""Documents of a request."""


def roll_up(output: BulkOutput, namespace: str, until: int, *, again: bool = False) -> Iterator[str]:
    """Count the signatures of which crashes came since the last time; yield a line of what was done.

    Two that count at the same time do no harm: a total is never replaced with an older one.

    :param until: milliseconds since 1970 UTC; crashes that were received later are left to the next time.
    :param again: count all signatures, and forget those of which no crash is left.
    :raises Unavailable: the engine does not answer, or does not know the user.
    :raises ValueError: the engine refuses to store totals; its reason is in the text.
    """
    index = totals_index(namespace)
    _prepare(output, index)
    since = None if again else totals.counted_until(lambda body: search.answer(output, index, body))
    found = totals.documents(lambda body: search.answer(output, data_stream(namespace), body), since, until)
    number = 0
    while some := list(islice(found, WRITTEN)):
        number += len(some)
        _write(output, index, some, until)
    if since is None:
        _forget(output, index, until)
    _write(output, index, [(totals.STATE, {"counted": until})], until)
    yield f"{counted(number, 'signature')} counted"


def _prepare(output: BulkOutput, index: str) -> None:
    """Create the index, or add new fields to it."""
    engine: templates.Engine = "elasticsearch" if output.name == "elasticsearch" else "opensearch"
    body = templates.totals_settings(engine)
    if output.request("GET", f"/{index}/_mapping").status == NOT_FOUND:
        reply = output.request("PUT", f"/{index}", body)
        if reply.status != OK and "resource_already_exists_exception" not in str(reply.data):
            raise ValueError(f"index {index}: {words(output, reply)}")
    else:
        _ask(output, "PUT", f"/{index}/_mapping", body["mappings"])


def _forget(output: BulkOutput, index: str, until: int) -> None:
    """Delete the totals that are older: their signatures have no crash."""
    older = {"range": {"counted": {"lt": until, "format": "epoch_millis"}}}
    where = {"bool": {"filter": [{"exists": {"field": FAULTS.field}}, older]}}
    body = {"size": WRITTEN, "_source": False, "query": where}
    while hits := search.answer(output, index, body)["hits"]["hits"]:
        _bulk(output, index, [{"delete": {"_id": hit["_id"], **_version(until)}} for hit in hits])


def _write(output: BulkOutput, index: str, documents: list[tuple[str, dict[str, Any]]], until: int) -> None:
    """Store documents, unless one has a newer version."""
    lines: list[dict[str, Any]] = []
    for name, document in documents:
        lines += [{"index": {"_id": name, **_version(until)}}, document]
    _bulk(output, index, lines)


def _version(until: int) -> dict[str, Any]:
    return {"version": until, "version_type": "external_gte"}


def _bulk(output: BulkOutput, index: str, lines: list[dict[str, Any]]) -> None:
    text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    for item in _ask(output, "POST", f"/{index}/_bulk?refresh=true", text)["items"]:
        (done,) = item.values()
        if done["status"] >= 300 and done["status"] not in {NOT_FOUND, CONFLICT}:  # noqa: PLR2004
            raise ValueError(
                f"index {index}: {hide_secrets(str(done['error'].get('reason', done['error'])))}"
            )


def _ask(output: BulkOutput, method: str, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
    reply = output.request(method, path, body)
    if reply.status != OK:
        raise ValueError(f"{path.partition('?')[0]}: {words(output, reply)}")
    return reply.data
