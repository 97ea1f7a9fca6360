"""Finds the alert rules that a document fires, from the store's earlier documents.

The answer depends on the store alone, so that it is the same after a restart or an outage. A rule fires

- for the first document of a signature (*new signature*),
- for the first document of an incident that matches the rule (*watched cause*, *unparsed*),
- for the document with which a group exceeds its count (*outbreak*, *regression*, *repeating host*).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from kpanic.dashboards.embedded import first, matches
from kpanic.dashboards.products.notification import Fired
from kpanic.shipper.signature_document import outline, signature_document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.dashboards.rules import Rule
    from kpanic.shipper.api import Stored
    from kpanic.shipper.store import Store
    from kpanic.shipper.triage import Triage

__all__ = ["Notices"]

MINUTE: Final = 60.0


class Notices:
    """The rules of one target."""

    def __init__(self, store: Store, rules: Iterable[Rule], triage: Triage) -> None:
        self._store = store
        self._rules = tuple(rules)
        self._triage = triage

    def fired(self, stored: Stored) -> list[Fired]:
        """Return the rules that a document fires.

        :param stored: the document, with its triage (:meth:`Triage.stamp`).
        """
        document = msgspec.json.decode(stored.body, type=dict[str, Any])
        found = (self._fired(rule, stored, document) for rule in self._rules)
        return [one for one in found if one is not None]

    def _fired(self, rule: Rule, stored: Stored, document: dict[str, Any]) -> Fired | None:
        if rule.source == "signatures":
            return self._new(rule, stored)
        if not _applies(rule, document):
            return None
        if rule.per:
            return self._exceeded(rule, stored, document)
        before = self._store.of_incident_before(stored.seq, document["event"]["id"])
        return None if any(self._about(rule, before)) else Fired(rule, document)

    def _new(self, rule: Rule, stored: Stored) -> Fired | None:
        """Return a rule about signatures if the document is the first of its signature."""
        known = outline(stored.body)
        identity, made = signature_document(known, "", seeded=False)
        panic = known.kernel.panic
        if not identity or not _applies(rule, made):
            return None
        first_one = self._store.is_first_of_signature(stored.seq, panic.signature.id, fatal=panic.fatal)
        return Fired(rule, made) if first_one else None

    def _exceeded(self, rule: Rule, stored: Stored, document: dict[str, Any]) -> Fired | None:
        """Return a rule about groups if the document makes its group exceed the count."""
        key, counted = first(document, rule.per), first(document, rule.count.field)
        if not key or not counted:
            return None
        since = self._store.added(stored.seq) - rule.minutes * MINUTE
        before = self._store.of_group_before(stored.seq, (rule.per, key), rule.count.field, since)
        seen: set[str] = set()
        for earlier in self._about(rule, before):
            seen.add(first(earlier, rule.count.field))
            if len(seen) > rule.above:
                return None
        seen.add(counted)
        return Fired(rule, document, key, len(seen)) if len(seen) > rule.above else None

    def _about(self, rule: Rule, seqs: Iterable[int]) -> Iterable[dict[str, Any]]:
        """Yield the documents that match a rule."""
        for stored in self._store.stored(seqs):
            document = msgspec.json.decode(self._triage.stamp(stored).body, type=dict[str, Any])
            if _applies(rule, document):
                yield document


def _applies(rule: Rule, document: dict[str, Any]) -> bool:
    return any(matches(document, terms) for terms in rule.where)
