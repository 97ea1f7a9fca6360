"""Alert rules, written once; each file of :mod:`kpanic.dashboards.products` translates them for one product.

A rule covers documents that arrived lately, by ``event.ingested``: a crash is older than its arrival, by days
if a host stayed down. A signature is *new* when its document arrives in the signatures' index. The engine
lets exactly one shipper create that document, so that no rule keeps a memory, and deleting the document
re-arms the rule. Crashes of a backfill do not alert. Only *regression* covers signatures that the triage file
ignores. The document of a crash's log alerts; the second document, which its dump adds, fires only
*explained*.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.panels import ANSWERED, HOSTS, INCIDENTS, Metric, Source, Term

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ARRIVED", "DEFAULTS", "RULES", "SIGNATURE_ID", "Options", "Rule", "rules"]

ARRIVED = "event.ingested"
SIGNATURE_ID = "kernel.panic.signature.id"
DAY = 24 * 60
"""Minutes of a day."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Fires for each document that matches, or for each group of them whose ``count`` exceeds ``above``."""

    id: str
    name: str
    meaning: str
    source: Source
    where: tuple[tuple[Term, ...], ...]
    """Alternatives, each a conjunction of terms."""
    minutes: int
    """Minutes before now that a check covers."""
    per: str = ""
    """Field that documents are grouped by."""
    count: Metric = INCIDENTS
    above: int = 0
    growth: int = 0
    """With ``growth``, the count also exceeds that many times the count of the ``minutes`` before."""
    once: str = ""
    """Field whose value alerts once, if the product can remember it: several transports report one crash."""

    @property
    def of_dumps(self) -> bool:
        """Whether the rule is about answers of dumps."""
        return ANSWERED in {term for terms in self.where for term in terms}

    @property
    def group(self) -> str:
        """Field that documents are grouped by if the product alerts by group instead of by document."""
        return self.per or self.once


@dataclass(frozen=True, slots=True)
class Options:
    """A site's options for dashboards and rules."""

    watched_causes: tuple[str, ...] = ("machine-check", "out-of-memory")
    """Values of ``kernel.panic.cause`` that alert for each panic."""
    outbreak_hosts: int = 3
    """Number of hosts with the same signature within an hour that count as an outbreak."""
    opensearch_channel: str = ""
    """Id of the notification channel of OpenSearch's monitors; without one, they send no messages."""
    kibana_connector: str = ""
    """Id of the connector of Kibana's rules; without one, they send no messages."""
    kibana_connector_type: str = ".server-log"
    kibana_url: str = ""
    """Address of Kibana for browsers, including its space; without one, messages hold no link."""
    opensearch_dashboards_url: str = ""
    """Address of OpenSearch Dashboards for browsers."""
    elastalert2: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keys for each ElastAlert2 rule, such as ``alert`` and the settings of that alerter."""
    fleet: int = 0
    """Number of all hosts, for panics per 1,000 hosts a day; 0 if unknown."""


DEFAULTS = Options()
"""The options of a site that configures nothing."""
TRIAGE = "kernel.panic.triage.status"
FRESH = Term("kernel.panic.backfill", value=True, negate=True)
OF_LOG = Term("event.provider", "vmcore", negate=True)
"""Excludes the documents of dumps: a dump may be opened long after its crash was reported."""
WANTED = Term(TRIAGE, "ignored", negate=True)
NEWS = (FRESH, OF_LOG, WANTED)
DIED = Term("kernel.panic.fatal", value=True)


def rules(options: Options = DEFAULTS) -> tuple[Rule, ...]:
    """Return the rules for a site's options; rules that cannot match are left out."""
    handled = (
        Term("triage.status", status, negate=True) for status in ("known", "fixed", "ignored", "regressed")
    )
    watched = " or ".join(options.watched_causes)
    made = (
        Rule(
            "new-signature",
            "New kernel-panic signature",
            "A signature that no host has reported before.",
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
            "The triage file says that this kernel has the fix.",
            "panics",
            ((Term(TRIAGE, "regressed"), FRESH, OF_LOG),),
            minutes=60,
            per=SIGNATURE_ID,
        ),
        Rule(
            "outbreak",
            "One kernel panic on many hosts",
            f"The same signature on {options.outbreak_hosts} hosts or more within an hour.",
            "panics",
            ((DIED, *NEWS),),
            minutes=60,
            per=SIGNATURE_ID,
            count=HOSTS,
            above=options.outbreak_hosts - 1,
        ),
        Rule(
            "repeating-host",
            "A host keeps crashing",
            "Three panics of one host or more within a day.",
            "panics",
            ((DIED, *NEWS),),
            minutes=DAY,
            per="host.name",
            above=2,
        ),
        Rule(
            "kernel-worse",
            "A kernel version crashes more than before",
            "Three panics of one kernel version or more within a day, over twice those of the day before.",
            "panics",
            ((DIED, *NEWS),),
            minutes=DAY,
            per="host.os.kernel",
            above=2,
            growth=2,
        ),
        Rule(
            "watched-cause",
            "Kernel panic of a watched cause",
            f"A panic with the cause {watched}.",
            "panics",
            tuple((Term("kernel.panic.cause", cause), DIED, *NEWS) for cause in options.watched_causes),
            minutes=60,
            once="event.id",
        ),
        Rule(
            "unparsed",
            "Kernel panic not fully parsed",
            "A report that the grammar does not fully understand: a new kernel message, or damaged text.",
            "panics",
            ((Term("kernel.panic.parse.status", "complete", negate=True), *NEWS),),
            minutes=60,
            once="event.id",
        ),
        Rule(
            "explained",
            "Kernel panic explained by its vmcore",
            "The vmcore was opened, and it answers what the log leaves open.",
            "panics",
            ((ANSWERED, FRESH, WANTED),),
            minutes=60,
            once="event.id",
        ),
    )
    return tuple(rule for rule in made if rule.where)


RULES = rules()
