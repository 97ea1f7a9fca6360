"""Read back what an engine holds: every document newest first, or some of them whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from kpanic.shipper.api import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.shipper.outputs.bulk import BulkOutput

__all__ = ["count", "documents", "whole"]

PAGE = 5_000  # documents an answer; an engine gives 10,000 at most
WHOLE_PAGE = 50  # likewise, in full: some 10 KB each, 250 KB at the most
_ORDER = ("event.id", "event.provider", "host.name")
"""With the time, what no two documents share."""


def count(output: BulkOutput, index: str) -> int:
    """Return how many documents an index or data stream has; none where it is not there.

    :raises Unavailable: the engine does not answer, or not this question.
    """
    return int(_ask(output, index, {"size": 0, "track_total_hits": True})["total"]["value"])


def documents(output: BulkOutput, index: str, only: Iterable[str], newest: int) -> Iterator[dict[str, Any]]:
    """Yield the documents, newest crash first, with their ``_id`` and no more than the fields ``only``.

    :param newest: how many at most.
    :raises Unavailable: the engine does not answer, or not this question.
    """
    body: dict[str, Any] = {
        "size": min(PAGE, newest),
        "_source": [*only],
        "track_total_hits": False,
        "sort": [
            {"@timestamp": {"order": "desc", "unmapped_type": "date"}},
            *({name: {"order": "desc", "unmapped_type": "keyword"}} for name in _ORDER),
        ],
    }
    while newest > 0 and (hits := _ask(output, index, body)["hits"]):
        for hit in hits[:newest]:
            # However the document writes its time, the engine read it as these milliseconds.
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=hit["sort"][0])
            yield {**hit["_source"], "_id": hit["_id"], "@timestamp": moment.isoformat()}
        newest -= len(hits)
        body["search_after"] = hits[-1]["sort"]


def whole(output: BulkOutput, index: str, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the documents of these ``_id``, with it.

    :raises Unavailable: the engine does not answer, or not this question.
    """
    left = iter(ids)
    while some := list(islice(left, WHOLE_PAGE)):
        # Two backing indices may hold the same document.
        body = {"size": 2 * WHOLE_PAGE, "query": {"ids": {"values": some}}}
        for hit in _ask(output, index, body)["hits"]:
            yield {**hit["_source"], "_id": hit["_id"]}


def _ask(output: BulkOutput, index: str, body: dict[str, Any]) -> dict[str, Any]:
    status, data = output.request("POST", f"/{index}/_search?ignore_unavailable=true", body)
    if status == 200 and not data.get("timed_out") and not data["_shards"]["failed"]:  # noqa: PLR2004
        hits: dict[str, Any] = data["hits"]
        return hits
    where = f"{output.name}: {output.urls[0]}"
    if status == 401:  # noqa: PLR2004
        raise Unavailable(f"{where} does not know this user or password; check username and password")
    if status == 403:  # noqa: PLR2004
        raise Unavailable(f"{where} does not allow this user to read; it needs the right read on {index}")
    raise Unavailable(f"{where} cannot search {index}: {status}: {_reason(data)}")


def _reason(data: Any) -> str:  # noqa: ANN401 - whatever JSON says
    """Find why in an engine's answer: a failed shard knows best."""
    found = data
    for path in (("error", "root_cause", 0, "reason"), ("_shards", "failures", 0, "reason", "reason")):
        found = data
        for part in path:
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                break
        else:
            return str(found)[:500]
    return str(data)[:500]
