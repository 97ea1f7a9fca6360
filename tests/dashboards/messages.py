"""Prints the messages of rules as products render them: ``python -m tests.dashboards.messages [PRODUCT]``.

Of a real crash of the lab: the title, trace and reading are those of its document.
"""

# ruff: noqa: T201

from __future__ import annotations

import json
import sys
from typing import Any

from kpanic import grammars
from kpanic.dashboards.rules import RULES
from kpanic.shipper.document import Origin, build
from kpanic.shipper.triage import Entry, Triage
from tests.dashboards.conftest import LAB
from tests.dashboards.test_alert_messages import MUSTACHE, elastalert2_text, rendered

LOG = LAB / "6.1.0-56-amd64-x86_64-null_write.log"


def crash(host: str) -> dict[str, Any]:
    """Return the document of the crash, on a kernel that has the fix according to the triage file."""
    report = next(report for report in grammars.parse(LOG.read_bytes()) if report.fatal)
    document: dict[str, Any] = json.loads(json.dumps(build(report, Origin("kdump"))))
    document["host"]["name"] = host
    title = document["kernel"]["panic"]["title"]
    Triage([Entry(title=title, status="fixed", fixed_in=["6.1.0-40"], ticket="OPS-7")]).stamp_document(
        document
    )
    return document


def signature(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document of the crash's signature."""
    panic = document["kernel"]["panic"]
    return {
        "id": panic["signature"]["id"],
        "title": panic["title"],
        "cause": panic["cause"],
        "host": document["host"],
        "machine": panic["hardware"]["product"],
        "summary": panic["analysis"]["summary"],
        "why": panic["analysis"]["why"],
        "next": "\n".join(panic["analysis"]["next"][:3]),
        "trace": panic["trace_head"],
    }


def main() -> int:
    """Print the messages of all rules, of all products or of one."""
    wanted = sys.argv[1:] or [*MUSTACHE, "elastalert2"]
    found = crash("node7")
    of = {rule.id: signature(found) if rule.source == "signatures" else found for rule in RULES}
    each = [(rule, [of[rule.id]]) for rule in RULES]
    texts = {product: rendered(product, each) for product in MUSTACHE}
    texts["elastalert2"] = {rule.id: elastalert2_text(rule, of[rule.id]) for rule in RULES}
    for product in wanted:
        for rule in RULES:
            print(f"=== {product}: {rule.id}\n{texts[product][rule.id]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
