"""Panels use fields that documents have."""

from __future__ import annotations

import pytest

from kpanic.dashboards import templates
from kpanic.dashboards.panels import COLUMNS, FACETS, fields, of_fleet, of_stack
from kpanic.dashboards.report import SEARCHED
from kpanic.dashboards.rules import RULES

INDEXED = templates.BY_SOURCE
NOT_AGGREGATED = {"text", "object"}


@pytest.mark.parametrize(("source", "field"), sorted(fields(of_stack(None))))
def test_every_field_of_a_panel_is_indexed_and_can_be_grouped(source: str, field: str) -> None:
    mapping = INDEXED[source][field]
    assert mapping["type"] not in NOT_AGGREGATED
    assert mapping.get("doc_values", True)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_field_of_a_rule_is_indexed(rule: object) -> None:
    asked = {term.field for terms in rule.where for term in terms} | {"event.ingested"} | ({rule.per} - {""})
    assert asked <= INDEXED[rule.source].keys()


@pytest.mark.parametrize("field", [*FACETS, *SEARCHED, *COLUMNS])
def test_every_filter_of_the_report_is_a_field(field: str) -> None:
    assert field in templates.FIELDS


def test_panels_have_names_of_their_own_and_fit_the_page() -> None:
    panels = [panel for dashboard in of_stack(None) for panel in dashboard.panels]
    assert len({panel.id for panel in panels}) == len(panels)
    assert all(0 < panel.width <= 48 and panel.height > 0 for panel in panels)
    assert all(panel.question.endswith("?") for panel in panels)


def test_every_row_of_a_dashboard_is_full() -> None:
    for dashboard in (*of_stack(None), *of_fleet(1)):
        used = 0
        for panel in dashboard.panels:
            used = used % 48 + panel.width
            assert used <= 48, panel.id
        assert used == 48
