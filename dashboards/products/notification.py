"""The message that a shipper itself sends about rules, in the words of the stack's rules."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kpanic.dashboards.products.message import heading, jinja, opening

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template

    from kpanic.dashboards.panels import Source
    from kpanic.dashboards.rules import Rule

__all__ = ["Fired", "notification"]


class Fired(NamedTuple):
    """A rule that fires."""

    rule: Rule
    document: Mapping[str, Any]
    """The document of the rule's source."""
    key: str = ""
    """The group, if the rule groups."""
    counted: int = 0
    """The count of the group."""


def notification(fired: Sequence[Fired], base: str = "") -> tuple[str, str]:
    """Return subject and text of one message about all rules that one crash fires.

    :param fired: at least one.
    :param base: address of Kibana or OpenSearch Dashboards; empty for no link.
    """
    first = fired[0]
    text = "".join(opening(one.rule) for one in fired)
    text += "".join(heading(one.rule, one.key, str(one.counted)) for one in fired if one.rule.per)
    text += _template(first.rule.source, base).render(first.document)
    return "; ".join(one.rule.name for one in fired), text


@lru_cache(maxsize=8)
def _template(source: Source, base: str) -> Template:
    from jinja2 import Environment  # noqa: PLC0415

    return Environment(autoescape=False).from_string(jinja(source, base))  # noqa: S701 - plain text
