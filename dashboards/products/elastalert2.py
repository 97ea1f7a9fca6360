"""Rule files for ElastAlert2.

:see: https://elastalert2.readthedocs.io/en/latest/ruletypes.html
"""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products._rule_search import select
from kpanic.dashboards.products.message import fields, jinja, opening
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, Options, Rule, rules

__all__ = ["files", "stream"]

Json = dict[str, Any]


def files(options: Options = DEFAULTS) -> dict[str, str]:
    """Return ElastAlert2's rule files, by name."""
    import yaml  # noqa: PLC0415

    return {
        f"kpanic-{rule.id}.yaml": f"# {rule.meaning}\n"
        + yaml.safe_dump(
            _rule(rule, options) | dict(options.elastalert2), sort_keys=False, width=110, allow_unicode=True
        )
        for rule in rules(options)
    }


def _rule(rule: Rule, options: Options) -> Json:
    counted = {rule.per, rule.count.field} if rule.per else {rule.once} - {""}
    base = options.opensearch_dashboards_url or options.kibana_url
    return {
        "name": f"kpanic-{rule.id}",
        "index": INDEX[rule.source],
        "timestamp_field": ARRIVED,
        "use_keyword_postfix": False,
        "filter": [select(rule)],
        "include": sorted({ARRIVED, *fields(rule.source), *counted}),
        "query_delay": {"seconds": 30},
        **_type(rule),
        "alert_subject": rule.name,
        "alert_text_type": "alert_text_jinja",
        "alert_text": opening(rule) + jinja(rule.source, base),
        "alert": ["debug"],
    }


def _type(rule: Rule) -> Json:
    """Return the rule's type and its settings."""
    span = {"minutes": rule.minutes}
    if rule.growth:
        # Of all documents of two spans, the share of the newer span: it keeps nothing in memory, as the type
        # "spike" does. Documents are counted, not panics: the filters of this type hold no distinct count.
        newer = {"range": {ARRIVED: {"gte": f"now-{rule.minutes}m"}}}
        return {
            "type": "percentage_match",
            "match_bucket_filter": [newer],
            "max_percentage": round(100 * rule.growth / (rule.growth + 1), 2),
            "min_denominator": rule.above + 1,
            "query_key": rule.per,
            "buffer_time": {"minutes": 2 * rule.minutes},
            "realert": span,
        }
    if rule.per:
        return {
            "type": "cardinality",
            "query_key": rule.per,
            "cardinality_field": rule.count.field,
            "max_cardinality": rule.above,
            "timeframe": span,
            "scan_entire_timeframe": True,
            "realert": span,
        }
    if rule.once:
        return {"type": "any", "query_key": rule.once, "realert": {"days": 1}}
    return {"type": "any", "realert": {"minutes": 0}}


def stream(files: dict[str, str]) -> str:
    """Return several YAML files as one stream."""
    return "---\n".join(f"# file: {name}\n{text}" for name, text in files.items())
