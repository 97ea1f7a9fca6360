"""``kpanic rollup``: totals plus later documents equal a search in all documents."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.dashboards import days, totals
from kpanic.dashboards import engine as search_engine
from kpanic.dashboards.panels import FATAL, FAULTS, INCIDENTS, LONG_TERM, TIME
from kpanic.dashboards.products.grafana_queries import target
from kpanic.dashboards.query import query, read
from kpanic.indices import data_stream, days_index, totals_index
from kpanic.plugins import load
from kpanic.shipper import rollup
from kpanic.shipper.api import Unavailable
from kpanic.shipper.commands._engine import EngineDocuments
from kpanic.shipper.config import OUTPUTS
from kpanic.shipper.rollup import roll_up
from kpanic.shipper.setup import setup_index_management
from tests.dashboards.grafana import Parser, search
from tests.shipper.test_cli import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kpanic.dashboards.embedded import Row
    from kpanic.shipper.outputs.bulk import BulkOutput, Reply
    from tests.engines.search import Engine

DAY = 86_400_000
YEAR = 365 * DAY
START = 1_700_000_000_000
"""Time at which the engine received the first crashes, in milliseconds since 1970 UTC."""


class Cluster:
    """A namespace of an engine with made-up crashes."""

    def __init__(self, engine: Engine, namespace: str, output: BulkOutput) -> None:
        self.engine, self.namespace, self.output = engine, namespace, output
        self.stream, self.index = data_stream(namespace), totals_index(namespace)
        self.days = days_index(namespace)
        self.documents = EngineDocuments(output, namespace)
        self.chance = random.Random(namespace)  # noqa: S311
        self.kept: list[dict[str, Any]] = []

    def receive(self, count: int, at: int) -> None:
        """Store documents as received in a given millisecond; every third one is of an existing incident."""
        lines = []
        for number in range(count):
            if number % 3 == 2 and self.kept:
                made = json.loads(json.dumps(self.chance.choice(self.kept)))
                made["event"]["provider"] = self.chance.choice(["netconsole", "pstore", "kdump"])
                if self.chance.random() < 0.5:
                    made["host"].pop("name", None)
            else:
                fault = self.chance.randrange(1, 12)
                made = {
                    "@timestamp": at - self.chance.randrange(5 * YEAR),
                    "event": {"id": f"v1-{self.chance.getrandbits(64):x}", "provider": "file"},
                    "host": {
                        "name": f"web{self.chance.randrange(20)}",
                        "os": {"kernel": f"6.{self.chance.randrange(9)}.0"},
                    },
                    "kernel": {
                        "panic": {
                            "signature": {"id": f"v1-{fault:x}", "quality": "strong"},
                            "fatal": self.chance.random() < 0.8,
                            "rip": {"symbol": f"f{fault}", "module": "ext4"},
                            "hardware": {"product": self.chance.choice(["R640", "R650"])},
                            "taint": {"flags": self.chance.sample(["G", "O", "W"], 2)},
                            "title": f"Oops in fault_{fault}",
                            "cause": self.chance.choice(["null-dereference", "sysrq"]),
                        }
                    },
                }
                self.kept.append(made)
            made["event"]["ingested"] = at
            lines.append('{"create":{}}\n' + json.dumps(made) + "\n")
        answer = self.engine.ask("POST", f"/{self.stream}/_bulk?refresh=true", "".join(lines).encode())
        assert not answer["errors"]

    def delete(self, signature: str) -> None:
        """Delete the crashes of a signature."""
        hits = self.engine.found(self.stream, {"term": {FAULTS.field: signature}})
        named = ({"delete": {"_index": hit["_index"], "_id": hit["_id"]}} for hit in hits)
        lines = "".join(f"{json.dumps(one)}\n" for one in named)
        assert not self.engine.ask("POST", "/_bulk?refresh=true", lines.encode())["errors"]

    def count(self, until: int, *, again: bool = False) -> list[str]:
        return list(roll_up(self.output, self.namespace, until, again=again))

    def with_totals(self) -> list[Row] | None:
        return totals.rows(self.documents.ask_totals, self.documents.ask)

    def found(self) -> list[dict[str, Any]]:
        return [hit for hit in self.engine.found(self.index) if hit["_id"] != totals.STATE]

    def ask_days(self, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.ask("POST", f"/{self.days}/_search", body)
        return found

    def of_all(self) -> list[Row]:
        return search_engine.rows(self.documents.ask, totals.LIST)


@pytest.fixture
def cluster(engine: Engine, namespace: str) -> Iterator[Cluster]:
    kind = load(OUTPUTS, engine.product)
    output = kind(kind.Config(hosts=[engine.url]))
    list(setup_index_management(output))
    yield Cluster(engine, namespace, output)
    output.close()


def test_totals_and_what_came_since_are_what_all_documents_say(cluster: Cluster) -> None:
    assert cluster.with_totals() is None
    assert cluster.count(START - 1) == ["0 signatures counted", "0 counts of days kept"]
    assert cluster.with_totals() == []
    for moment in range(START, START + 4):
        cluster.receive(40, moment)
        rows = cluster.of_all()
        assert len(rows) > 5
        if moment > START:
            assert cluster.with_totals() == rows
        cluster.count(moment)
        assert cluster.with_totals() == rows
    assert len(cluster.found()) == len(rows)
    cluster.count(START + 2, again=True)  # by a slower run, which ends last
    assert cluster.with_totals() == rows


def test_a_run_that_dies_before_its_end_counts_nothing_twice(cluster: Cluster) -> None:
    cluster.receive(40, START)
    cluster.count(START)
    cluster.receive(20, START + 1)
    found = totals.documents(cluster.documents.ask, START, START + 1)
    name, document = next(found)
    version = f"version={START + 1}&version_type=external_gte"
    cluster.engine.ask("PUT", f"/{cluster.index}/_doc/{name}?refresh=true&{version}", document)
    assert cluster.with_totals() == cluster.of_all()


def test_counts_of_days_are_what_all_documents_say(cluster: Cluster) -> None:
    for moment in (START, START + 1):
        cluster.receive(60, moment)
        cluster.count(moment)
    for panel in LONG_TERM.panels:
        metrics = tuple(INCIDENTS if metric.kind == "sum" else metric for metric in panel.metrics)
        crashes = replace(panel, source="panics", where=FATAL, metrics=metrics)
        kept = read(panel, cluster.ask_days(query(panel)))
        assert kept
        grafana = target(panel, LONG_TERM, cluster.engine.product)
        shown = Parser(grafana, cluster.ask_days(search(grafana))["aggregations"])
        numbers = [row.values[0] for row in kept]
        if panel.by == TIME:
            assert sum(map(sum, shown.series.values())) == sum(map(int, numbers))
        else:
            assert sorted(int(row["m0"]) for row in shown.rows) == sorted(map(int, numbers))
        assert _by_day(kept) == _by_day(read(crashes, cluster.documents.ask(query(crashes)))), panel.id


def test_one_search_counts_few_panics_also_where_many_days_have_a_new_one() -> None:
    """An engine refuses an answer of more than 65,535 groups."""
    found = []

    def ask(body: dict[str, Any]) -> dict[str, Any]:
        conditions = json.dumps(body["query"])
        panics = 1 if "event.ingested" in conditions and "gt" in conditions else days.VALUES - 1
        buckets = [
            {"key": day * DAY, "doc_count": panics, "newest": {"value": START + 1}} for day in range(5)
        ]
        if "incidents" in body["aggs"]["days"].get("aggs", {}):
            found.append(conditions.count('"range"'))
            buckets = []
        return {"aggregations": {"days": {"buckets": buckets}}}

    assert not list(days.documents(ask, START, START + 1, {}))
    assert found == [1] * 5
    found.clear()
    counted_before = {0: START + 1, DAY: START + 2, 2 * DAY: START}
    assert not list(days.documents(ask, START, START + 1, counted_before))
    assert found == [1] * 3


def test_the_count_of_a_day_does_not_fall_when_its_crashes_are_deleted(cluster: Cluster) -> None:
    cluster.receive(60, START)
    cluster.count(START)
    kept = {hit["_id"]: hit["_source"] for hit in cluster.engine.found(cluster.days)}
    crash = next(one for one in cluster.kept if one["kernel"]["panic"]["fatal"])
    for signature in {one["kernel"]["panic"]["signature"]["id"] for one in cluster.kept}:
        cluster.delete(signature)
    late = crash | {"event": {"id": "v1-late", "provider": "file", "ingested": START + 1}}
    cluster.engine.ask("POST", f"/{cluster.stream}/_doc?refresh=true", late)
    cluster.count(START + 1)
    counts = {hit["_id"]: hit["_source"] for hit in cluster.engine.found(cluster.days)}
    assert counts.pop(totals.STATE) != kept.pop(totals.STATE)
    assert {name: one["incidents"] for name, one in counts.items()} == {
        name: one["incidents"] for name, one in kept.items()
    }


def test_a_first_run_that_is_stopped_goes_on_where_it_was(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.receive(90, START)
    monkeypatch.setattr(rollup, "WRITTEN", 50)
    request, requests = cluster.output.request, []

    def stopped(method: str, path: str, body: object = None) -> Reply:
        requests.append(path)
        if sum(one.startswith(f"/{cluster.days}/_bulk") for one in requests) == 4:
            raise Unavailable("stopped")
        return request(method, path, body)

    monkeypatch.setattr(cluster.output, "request", stopped)
    with pytest.raises(Unavailable):
        cluster.count(START)
    monkeypatch.undo()
    cluster.engine.ask("POST", f"/{cluster.days}/_refresh")
    before = days.counted(cluster.ask_days)
    whole = dict(days.documents(cluster.documents.ask, None, START, {}))
    assert 0 < len(before) < len({name.partition("-")[0] for name in whole})
    crash = next(one for one in cluster.kept if one["@timestamp"] // DAY * DAY in before)
    late = crash | {"event": {"id": "v1-late", "provider": "file", "ingested": START + 1}}
    late["kernel"]["panic"]["fatal"] = True
    cluster.engine.ask("POST", f"/{cluster.stream}/_doc?refresh=true", late)
    more = dict(days.documents(cluster.documents.ask, None, START + 1, before))
    whole = dict(days.documents(cluster.documents.ask, None, START + 1, {}))
    assert len(more) < len(whole)
    assert cluster.count(START + 1)[1] == f"{len(more)} counts of days kept"
    kept = {hit["_id"]: hit["_source"] for hit in cluster.engine.found(cluster.days)}
    del kept[totals.STATE]
    assert [one | {"counted": 0} for one in kept.values()] == [whole[name] | {"counted": 0} for name in kept]
    assert kept.keys() == whole.keys()


def _by_day(rows: list[Row]) -> list[tuple[object, ...]]:
    """Return rows with the day of each time."""
    return [
        (
            row.key,
            row.split,
            *(one // DAY if isinstance(one, int) and one > DAY else one for one in row.values),
        )
        for row in rows
    ]


def test_without_totals_of_late_all_documents_are_asked(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.receive(10, START)
    cluster.count(START)
    monkeypatch.setattr(totals, "FRESH", 3)
    cluster.receive(2, START + 1)
    assert cluster.with_totals() == cluster.of_all()
    cluster.receive(1, START + 2)
    assert cluster.with_totals() is None


def test_deleted_crashes_are_forgotten_by_a_full_count(cluster: Cluster) -> None:
    cluster.receive(60, START)
    cluster.count(START)
    before = cluster.of_all()
    gone = before[0].key
    cluster.delete(str(gone))
    cluster.count(START + 1)
    assert cluster.with_totals() == before
    cluster.count(START + 1, again=True)
    assert cluster.with_totals() == cluster.of_all() == before[1:]
    assert gone not in {hit["_id"] for hit in cluster.found()}


@pytest.mark.process
def test_without_an_engine_there_is_nothing_to_count(tmp_path: Path) -> None:
    assert "neither output.opensearch nor output.elasticsearch" in Run(tmp_path)("rollup", code=2)[1]
