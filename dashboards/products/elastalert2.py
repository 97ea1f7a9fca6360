"""Rule files for ElastAlert2.

:see: https://elastalert2.readthedocs.io/en/latest/ruletypes.html
"""

from __future__ import annotations

from typing import Any

from kpanic.dashboards.panels import INDEX
from kpanic.dashboards.products._message import jinja, opening, shown
from kpanic.dashboards.products._rule_search import select
from kpanic.dashboards.rules import ARRIVED, DEFAULTS, Options, Rule, rules

Json = dict[str, Any]


def files(options: Options = DEFAULTS) -> dict[str, str]:
    """Return ElastAlert2's rule files, by name."""
    import yaml  # noqa: PLC0415

    return {
        f"kpanic-{rule.id}.yaml": f"# {rule.meaning}\n"
        + yaml.safe_dump(
            _rule(rule) | dict(options.elastalert2), sort_keys=False, width=110, allow_unicode=True
        )
        for rule in rules(options)
    }


def _counted(rule: Rule) -> set[str]:
    """Return the fields that the rule itself looks at."""
    return {rule.per, rule.count.field} if rule.per else {rule.once} - {""}


def _rule(rule: Rule) -> Json:
    made: Json = {
        "name": f"kpanic-{rule.id}",
        "index": INDEX[rule.source],
        "timestamp_field": ARRIVED,
        "use_keyword_postfix": False,
        "filter": [select(rule)],
        "include": sorted({ARRIVED, *shown(rule.source).values(), *_counted(rule)}),
        "query_delay": {"seconds": 30},
    }
    if rule.per:
        made |= {
            "type": "cardinality",
            "query_key": rule.per,
            "cardinality_field": rule.count.field,
            "max_cardinality": rule.above,
            "timeframe": {"minutes": rule.minutes},
            "scan_entire_timeframe": True,
            "realert": {"minutes": rule.minutes},
        }
    elif rule.once:
        made |= {"type": "any", "query_key": rule.once, "realert": {"days": 1}}
    else:
        made |= {"type": "any", "realert": {"minutes": 0}}
    made |= {
        "alert_subject": rule.name,
        "alert_text_type": "alert_text_jinja",
        "alert_text": opening(rule) + jinja(rule.source),
        "alert": ["debug"],
    }
    return made


def stream(files: dict[str, str]) -> str:
    """Return several YAML files as one stream."""
    return "---\n".join(f"# file: {name}\n{text}" for name, text in files.items())
