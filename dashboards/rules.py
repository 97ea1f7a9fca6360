"""Alert rules, written once; each file of :mod:`kpanic.dashboards.products` says them to one product.

A rule asks about documents that arrived lately, by ``event.ingested``: a crash is older than its arrival,
by days where a host stayed down. A signature is *new* when its document arrives in the signatures' index:
the engine lets exactly one shipper create it, so no rule keeps a memory, and deleting the document re-arms
the rule. Crashes of a backfill alert nobody, and only *regression* speaks of signatures that the triage file
ignores.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.panels import HOSTS, INCIDENTS, Metric, Source, Term

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ARRIVED", "DEFAULTS", "RULES", "SIGNATURE_ID", "Options", "Rule", "rules"]

ARRIVED = "event.ingested"
SIGNATURE_ID = "kernel.panic.signature.id"


@dataclass(frozen=True, slots=True)
class Rule:
    """Fires for each document that matches, or each group of them whose ``count`` exceeds ``above``."""

    id: str
    name: str
    meaning: str
    source: Source
    where: tuple[tuple[Term, ...], ...]
    """Alternatives, each a conjunction of terms."""
    minutes: int
    """How far back from now a check looks."""
    per: str = ""
    count: Metric = INCIDENTS
    above: int = 0
    once: str = ""
    """Field of which one value pages once a day, where the product can remember."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a site decides."""

    watched_causes: tuple[str, ...] = ("machine-check", "out-of-memory")
    """Values of ``kernel.panic.cause`` of which every panic pages."""
    outbreak_hosts: int = 3
    """On how many hosts within an hour one signature is an outbreak."""
    opensearch_channel: str = ""
    """Id of the notification channel that OpenSearch's monitors write to; without one they only show."""
    kibana_connector: str = ""
    """Id of the connector that Kibana's rules write to, likewise."""
    kibana_connector_type: str = ".server-log"
    elastalert2: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keys of ElastAlert2 for every rule: the way out, such as ``alert`` and its settings."""
    fleet: int = 0
    """Hosts there are in all, for the dashboards' panics per 1,000 hosts a day; 0 where nobody says."""


DEFAULTS = Options()
"""What a site that says nothing gets."""
TRIAGE = "kernel.panic.triage.status"
NEWS = (Term("kernel.panic.backfill", value=True, negate=True), Term(TRIAGE, "ignored", negate=True))
DIED = Term("kernel.panic.fatal", value=True)


def rules(options: Options = DEFAULTS) -> tuple[Rule, ...]:
    """Return the rules as a site wants them."""
    handled = (
        Term("triage.status", status, negate=True) for status in ("known", "fixed", "ignored", "regressed")
    )
    watched = " or ".join(options.watched_causes)
    made = (
        Rule(
            "new-signature",
            "New kernel-panic signature",
            "A fault that nobody has reported before.",
            "signatures",
            (
                (
                    Term("fatal", value=True),
                    Term("seeded", value=False),
                    Term("quality", "weak", negate=True),
                    *handled,
                ),
            ),
            minutes=15,
        ),
        Rule(
            "regression",
            "Kernel panic is back after its fix",
            "A fault on a kernel that, by the triage file, has it fixed.",
            "panics",
            ((Term(TRIAGE, "regressed"), NEWS[0]),),
            minutes=60,
            per=SIGNATURE_ID,
        ),
        Rule(
            "outbreak",
            "One kernel panic on many hosts",
            f"The same fault on {options.outbreak_hosts} hosts or more within an hour.",
            "panics",
            ((DIED, *NEWS),),
            minutes=60,
            per=SIGNATURE_ID,
            count=HOSTS,
            above=options.outbreak_hosts - 1,
        ),
        Rule(
            "watched-cause",
            "Kernel panic of a watched cause",
            f"A kernel died of {watched}.",
            "panics",
            tuple((Term("kernel.panic.cause", cause), DIED, *NEWS) for cause in options.watched_causes),
            minutes=15,
            once="event.id",
        ),
        Rule(
            "unparsed",
            "Kernel panic not fully understood",
            "A report that no grammar understands in full: new words of a kernel, or damaged text.",
            "panics",
            ((Term("kernel.panic.parse.status", "complete", negate=True), *NEWS),),
            minutes=15,
            once="event.id",
        ),
    )
    return tuple(rule for rule in made if rule.where)


RULES = rules()
