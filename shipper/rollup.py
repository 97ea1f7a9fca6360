"""Counts crashes in an engine, by signature and by day, and stores the counts there."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from kpanic.dashboards import days, templates, totals
from kpanic.dashboards.panels import FAULTS
from kpanic.indices import data_stream, days_index, totals_index
from kpanic.shipper.api import hide_secrets
from kpanic.shipper.outputs import search
from kpanic.shipper.setup import engine_of, words
from kpanic.shipper.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.shipper.outputs.bulk import BulkOutput

__all__ = ["roll_up"]

OK, NOT_FOUND, CONFLICT = 200, 404, 409
WRITTEN = 1_000
"""Documents in one request."""

Json = dict[str, Any]


def roll_up(output: BulkOutput, namespace: str, until: int, *, again: bool = False) -> Iterator[str]:
    """Count signatures and days with crashes since the last count; yield a line about each kind.

    Two counts at the same time do no harm: a count never replaces a newer one.

    :param until: milliseconds since 1970 UTC; crashes that were received later are left for the next count.
    :param again: count all signatures, and forget those without crashes. Days stay: they outlive the crashes.
    :raises Unavailable: the engine does not answer, or does not know the user.
    :raises ValueError: the engine refuses to store counts; its reason is in the text.
    """

    def crashes(body: Json) -> Json:
        return search.answer(output, data_stream(namespace), body)

    kept = _Kept(output, totals_index(namespace), templates.TOTAL_FIELDS, until)
    since = None if again else kept.since()
    number = kept.store(totals.documents(crashes, since, until))
    if since is None:
        kept.forget()
    kept.finish()
    yield f"{counted(number, 'signature')} counted"
    kept = _Kept(output, days_index(namespace), templates.DAY_FIELDS, until)
    found = days.documents(crashes, kept.since(), until, days.counted(kept.search))
    number = kept.store(found, lower=False)
    kept.finish()
    yield f"{counted(number, 'count')} of days kept"


class _Kept:
    """An index of counts, which is created if it does not exist."""

    def __init__(self, output: BulkOutput, index: str, fields: dict[str, Json], until: int) -> None:
        self.output, self.index, self.until = output, index, until
        self._version = {"version": until, "version_type": "external_gte"}
        body = templates.plain_index(fields, engine_of(output))
        if output.request("GET", f"/{index}/_mapping").status != NOT_FOUND:
            self._ask("PUT", "_mapping", body["mappings"])
            return
        reply = output.request("PUT", f"/{index}", body)
        if reply.status != OK and "resource_already_exists_exception" not in str(reply.data):
            raise ValueError(f"index {index}: {words(output, reply)}")

    def since(self) -> int | None:
        """Return the moment until which crashes are counted, milliseconds since 1970 UTC; None for never."""
        return totals.counted_until(self.search)

    def store(self, documents: Iterator[tuple[str, Json]], *, lower: bool = True) -> int:
        """Store documents unless the index has a newer version; return their number.

        :param lower: False to keep a higher count, which includes crashes that are deleted by now.
        """
        number = 0
        while some := list(islice(documents, WRITTEN)):
            number += len(some)
            if not lower:
                before = self._incidents([name for name, _ in some])
                some = [(name, one) for name, one in some if one["incidents"] >= before.get(name, 0)]
            lines = [line for name, one in some for line in ({"index": {"_id": name, **self._version}}, one)]
            if lines:
                self._bulk(lines)
        return number

    def _incidents(self, names: list[str]) -> dict[str, int]:
        body = {"size": len(names), "_source": ["incidents"], "query": {"ids": {"values": names}}}
        return {hit["_id"]: hit["_source"]["incidents"] for hit in self.search(body)["hits"]["hits"]}

    def forget(self) -> None:
        """Delete older totals, whose signatures have no crash."""
        self._ask("POST", "_refresh", None)
        older = {"range": {"counted": {"lt": self.until, "format": "epoch_millis"}}}
        where = {"bool": {"filter": [{"exists": {"field": FAULTS.field}}, older]}}
        body = {"size": WRITTEN, "_source": False, "query": where}
        while hits := self.search(body)["hits"]["hits"]:
            self._bulk(({"delete": {"_id": hit["_id"], **self._version}} for hit in hits), refresh=True)

    def finish(self) -> None:
        """Record that everything is counted, and make it visible to searches."""
        action = {"index": {"_id": totals.STATE, **self._version}}
        self._bulk([action, {"counted": self.until}], refresh=True)

    def search(self, body: Json) -> Json:
        """Search in the counts."""
        return search.answer(self.output, self.index, body)

    def _bulk(self, lines: Iterable[Json], *, refresh: bool = False) -> None:
        text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        for item in self._ask("POST", f"_bulk?refresh={str(refresh).lower()}", text)["items"]:
            (done,) = item.values()
            if done["status"] >= 300 and done["status"] not in {NOT_FOUND, CONFLICT}:  # noqa: PLR2004
                reason = hide_secrets(str(done["error"].get("reason", done["error"])))
                raise ValueError(f"index {self.index}: {reason}")

    def _ask(self, method: str, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        reply = self.output.request(method, f"/{self.index}/{path}", body)
        if reply.status != OK:
            raise ValueError(f"index {self.index}: {words(self.output, reply)}")
        return reply.data
