"""A rule as a search: the documents that match it, and those that arrived since the last check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpanic.dashboards.query import EXACT, clause, lucene
from kpanic.dashboards.rules import ARRIVED

if TYPE_CHECKING:
    from kpanic.dashboards.rules import Rule

__all__ = ["arrived", "counts", "select", "select_lucene", "window"]

Json = dict[str, Any]


def select(rule: Rule) -> Json:
    """Return the query of all documents that match a rule, whenever they arrived."""
    alternatives = [clause(terms) for terms in rule.where]
    if len(alternatives) == 1:
        return alternatives[0]
    return {"bool": {"should": alternatives, "minimum_should_match": 1}}


def select_lucene(rule: Rule) -> str:
    """Return the same query in Lucene's syntax."""
    return " OR ".join(f"({lucene(terms)})" for terms in rule.where)


def arrived(start: str, end: str) -> Json:
    """Return the query of documents that arrived from one date to just before another."""
    window = {"gte": start, "lt": end, "format": "strict_date_optional_time||epoch_millis"}
    return {"range": {ARRIVED: window}}


def window(rule: Rule, now: str) -> Json:
    """Return the query of the documents that a check at ``now`` (a date in an engine's syntax) covers."""
    minutes = rule.minutes * (2 if rule.growth else 1)
    return {"bool": {"filter": [arrived(f"{now}||-{minutes}m", now), select(rule)]}}


def counts(rule: Rule, now: str) -> Json:
    """Return the aggregations that count a group: ``count``, or ``recent>count`` and ``before>count``."""
    count = {"count": {"cardinality": {"field": rule.count.field, "precision_threshold": EXACT}}}
    if not rule.growth:
        return count
    middle = f"{now}||-{rule.minutes}m"
    return {
        "recent": {"filter": arrived(middle, now), "aggregations": count},
        "before": {"filter": arrived(f"{now}||-{2 * rule.minutes}m", middle), "aggregations": count},
    }
