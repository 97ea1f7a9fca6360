"""Reads documents back from an engine: the newest with a few fields, or some whole."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from kpanic.shipper.api import Unavailable
from kpanic.shipper.columns import stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.shipper.outputs.bulk import BulkOutput
    from kpanic.shipper.store import Selection

__all__ = ["answer", "count", "documents", "selected", "whole"]

PAGE: Final = 5_000
"""Documents with few fields in one answer; an engine returns 10,000 at most."""
WHOLE_PAGE: Final = 50
"""Whole documents in one answer; each takes some 10 KB, 250 KB at most."""
HINT: Final = "execution_hint"
"""A parameter of cardinality that OpenSearch before 2.19.1 and Elasticsearch before 8.4 refuse."""
_ORDER = ("event.id", "event.provider", "host.name")
"""Fields that, together with the time, identify a document."""


def count(output: BulkOutput, index: str) -> int:
    """Return the number of documents in an index or data stream; 0 if it does not exist.

    :raises Unavailable: the engine does not answer, or refuses.
    """
    return int(_ask(output, index, {"size": 0, "track_total_hits": True})["total"]["value"])


def selected(only: Selection) -> dict[str, Any]:
    """Return a selection of crashes as a query; ``*`` and ``?`` in a text are wildcards."""
    conditions: list[dict[str, Any]] = [{"exists": {"field": "event.id"}}]
    for name, value in {"host.name": only.host, **only.fields}.items():
        if isinstance(value, str) and not {"*", "?"}.isdisjoint(value):
            conditions.append({"wildcard": {name: {"value": value.replace("\\", r"\\")}}})
        elif value:
            conditions.append({"term": {name: value}})
    times = {"gte": only.since, "lt": only.until}
    bounds = {word: moment for word, moment in times.items() if moment is not None}
    if bounds:
        conditions.append({"range": {"@timestamp": {**bounds, "format": "epoch_millis"}}})
    return {"bool": {"filter": conditions}}


def documents(  # noqa: PLR0913 - each has its meaning
    output: BulkOutput,
    index: str,
    only: Iterable[str],
    newest: int | None = None,
    *,
    where: dict[str, Any] | None = None,
    page: int = PAGE,
) -> Iterator[dict[str, Any]]:
    """Yield documents, newest crash first, each with its ``_id`` and the fields ``only``.

    :param newest: maximum number of documents; None for all.
    :param where: query; None for every document.
    :param page: documents in one answer.
    :raises Unavailable: the engine does not answer, or refuses.
    """
    left = math.inf if newest is None else newest
    body: dict[str, Any] = {
        "size": min(PAGE, page, left),
        "query": where or {"match_all": {}},
        "_source": [*only],
        "track_total_hits": False,
        "sort": [
            {"@timestamp": {"order": "desc", "unmapped_type": "date"}},
            *({name: {"order": "desc", "unmapped_type": "keyword"}} for name in _ORDER),
        ],
    }
    while left > 0:
        hits = _ask(output, index, body)["hits"]
        for hit in hits[: min(left, len(hits))]:
            # Milliseconds, for any format of the document's time.
            yield {**hit["_source"], "_id": hit["_id"], "@timestamp": stamp(hit["sort"][0])}
        if len(hits) < body["size"]:
            return
        left -= len(hits)
        body["search_after"] = hits[-1]["sort"]


def whole(output: BulkOutput, index: str, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield each of these ``_id`` with its whole document.

    :raises Unavailable: the engine does not answer, or refuses.
    """
    left = iter(ids)
    while some := list(islice(left, WHOLE_PAGE)):
        # Two backing indices may hold the same document.
        body = {"size": 2 * WHOLE_PAGE, "query": {"ids": {"values": some}}}
        for hit in _ask(output, index, body)["hits"]:
            yield {**hit["_source"], "_id": hit["_id"]}


def _ask(output: BulkOutput, index: str, body: dict[str, Any]) -> dict[str, Any]:
    hits: dict[str, Any] = answer(output, index, body)["hits"]
    return hits


def answer(output: BulkOutput, index: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the whole answer to a search.

    :raises Unavailable: the engine does not answer, or refuses.
    """
    status, data = output.request("POST", f"/{index}/_search?ignore_unavailable=true", body)
    if status == 200 and not data.get("timed_out") and not data["_shards"]["failed"]:  # noqa: PLR2004
        found: dict[str, Any] = data
        return found
    if status == 400 and HINT in _reason(data):  # noqa: PLR2004
        return answer(output, index, _without(body, HINT))
    where = f"{output.name}: {output.urls[0]}"
    if status == 401:  # noqa: PLR2004
        raise Unavailable(f"{where} does not know this user or password; check username and password")
    if status == 403:  # noqa: PLR2004
        raise Unavailable(f"{where} does not allow this user to read; it needs the right read on {index}")
    raise Unavailable(f"{where} cannot search {index}: {status}: {_reason(data)}")


def _without(part: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without a key, at any depth."""
    if isinstance(part, dict):
        return {key: _without(value, name) for key, value in part.items() if key != name}
    return [_without(value, name) for value in part] if isinstance(part, list) else part


def _reason(data: Any) -> str:  # noqa: ANN401 - whatever JSON says
    """Return why an engine refused; a failed shard has the best reason."""
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
