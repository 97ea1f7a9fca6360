"""An engine's answer for a panel equals the answer computed from the same documents."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.dashboards import engine as engine_answers
from kpanic.dashboards.crashes import gather
from kpanic.dashboards.embedded import evaluate, first
from kpanic.dashboards.panels import DASHBOARDS, Panel, Term, of_fleet
from kpanic.dashboards.query import lucene, query, read
from kpanic.dashboards.summary import COUNTED, NAMES, summarise

if TYPE_CHECKING:
    from tests.dashboards.conftest import Held, Indexed
    from tests.engines.search import Engine

PANELS = [panel for dashboard in of_fleet(1) for panel in dashboard.panels]
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_a_panel_shows_the_same_numbers_from_an_engine_and_from_documents(
    panel: Panel,
    engine: Engine,
    indexed: Indexed,
    held: Held,
) -> None:
    answer = engine.ask("POST", f"/{indexed(engine)[panel.source]}/_search", query(panel, interval=HOUR))
    rows = read(panel, answer)
    assert rows == evaluate(panel, held[panel.source], HOUR)
    assert rows
    assert any(value for row in rows for value in row.values)


@pytest.mark.parametrize("most", [1, 10_000], ids=["pages-of-names", "all-names-at-once"])
@pytest.mark.parametrize("panel", [one for one in PANELS if one.form == "table"], ids=lambda panel: panel.id)
def test_the_groups_of_a_table_come_in_pages_without_a_gap(  # noqa: PLR0913, PLR0917 - fixtures
    panel: Panel, engine: Engine, indexed: Indexed, held: Held, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(engine_answers, "DISTINCT", 1)
    monkeypatch.setattr(engine_answers, "WORDS", 2)
    monkeypatch.setattr(engine_answers, "NAMES", most)
    asked: list[dict[str, Any]] = []

    def ask(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body)
        found: dict[str, Any] = engine.ask("POST", f"/{indexed(engine)[panel.source]}/_search", body)
        return found

    assert engine_answers.rows(ask, panel) == evaluate(panel, held[panel.source])
    assert len(asked) > 2


def test_one_search_counts_groups_of_like_size_in_bounded_memory() -> None:
    pages = [
        ("huge", 990_000),
        ("large", 4000),
        ("as large", 4000),
        ("too many", 4000),
        ("small", 90),
        ("like it", 80),
        ("rare", 5),
        ("next page", 7000),
    ]
    parts = engine_answers._parts  # noqa: SLF001
    assert [[*part] for part in parts(pages)] == [
        ["huge", "large", "as large"],
        ["too many"],
        ["small", "like it"],
        ["rare"],
        ["next page"],
    ]

    many = ((f"v1-{number}", max(1, 10**6 // (number + 1))) for number in range(100_000))
    searches = [[*part.values()] for part in parts(many)]
    assert sum(map(len, searches)) == 100_000
    assert all(len(counted) * min(counted[0], 3000) <= 3_000_000 for counted in searches)
    assert all(len(counted) == 1 or sum(counted) <= 10**6 for counted in searches)
    assert len(searches) < 25


def test_a_dashboard_of_one_signature_is_the_same_from_both(
    engine: Engine, indexed: Indexed, documents: list[dict[str, Any]]
) -> None:
    signature = summarise(gather(documents, NAMES))["signatures"][0]["key"]
    chosen = [one for one in documents if first(one, "kernel.panic.signature.id") == signature]
    for panel in DASHBOARDS[1].panels:
        body = query(panel, [Term("kernel.panic.signature.id", signature)], HOUR)
        rows = read(panel, engine.ask("POST", f"/{indexed(engine)['panics']}/_search", body))
        assert rows == evaluate(panel, chosen, HOUR), panel.id


def test_the_summary_is_the_engines_terms_by_incident(
    engine: Engine, indexed: Indexed, documents: list[dict[str, Any]]
) -> None:
    summary = summarise(gather(documents, NAMES))
    count = {"incidents": {"cardinality": {"field": "event.id", "precision_threshold": 40_000}}}
    for name, field in COUNTED.items():
        groups = {"groups": {"terms": {"field": field, "size": 1000}, "aggs": count}}
        answer = engine.ask("POST", f"/{indexed(engine)['panics']}/_search", {"size": 0, "aggs": groups})
        found = {
            group["key"]: group["incidents"]["value"] for group in answer["aggregations"]["groups"]["buckets"]
        }
        assert found == {row["key"]: row["incidents"] for row in summary[name]}, name
        assert found


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel.where], ids=lambda panel: panel.id)
def test_the_words_for_people_select_what_the_query_selects(
    panel: Panel, engine: Engine, indexed: Indexed
) -> None:
    index = indexed(engine)[panel.source]
    words = {"query": {"query_string": {"query": lucene(panel.where)}}}
    assert (
        engine.ask("POST", f"/{index}/_count", words)["count"]
        == engine.ask("POST", f"/{index}/_count", {"query": query(panel)["query"]})["count"]
        > 0
    )


def test_one_crash_by_two_ways_counts_once(documents: list[dict[str, Any]]) -> None:
    summary = summarise(gather(documents, NAMES))
    assert summary["incidents"] * 2 <= len(documents)
    assert summarise(gather(documents + documents, NAMES)) == summary


def test_nothing_counts_as_nothing() -> None:
    assert summarise(gather([], NAMES)) == {
        "incidents": 0,
        "panics": 0,
        "kernels": [],
        "rips": [],
        "causes": [],
        "hosts": [],
        "signatures": [],
    }
    assert [row.values for row in evaluate(PANELS[0], [])] == [(0,)]
