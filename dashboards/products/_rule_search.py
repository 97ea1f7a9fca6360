"""A rule as a search: which documents it is about, and which of them arrived since the last check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpanic.dashboards.query import clause, lucene
from kpanic.dashboards.rules import ARRIVED

if TYPE_CHECKING:
    from kpanic.dashboards.rules import Rule

__all__ = ["arrived", "select", "select_lucene", "window"]

Json = dict[str, Any]


def select(rule: Rule) -> Json:
    alternatives = [clause(terms) for terms in rule.where]
    if len(alternatives) == 1:
        return alternatives[0]
    return {"bool": {"should": alternatives, "minimum_should_match": 1}}


def select_lucene(rule: Rule) -> str:
    return " OR ".join(f"({lucene(terms)})" for terms in rule.where)


def arrived(rule: Rule, start: str, end: str) -> Json:
    """Return the rule's documents that arrived from one date to just before another."""
    window = {"gte": start, "lt": end, "format": "strict_date_optional_time||epoch_millis"}
    return {"bool": {"filter": [{"range": {ARRIVED: window}}, select(rule)]}}


def window(rule: Rule, now: str) -> Json:
    """Return the documents of one check, in an engine's date words.

    Checks are a minute apart and each document is to be in one of them: the minute ends a minute ago, when
    what arrived in it can be found. A group's hour is looked at as a whole.
    """
    return arrived(rule, f"{now}||-{rule.minutes if rule.per else 2}m", f"{now}||-{0 if rule.per else 1}m")
