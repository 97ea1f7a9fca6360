"""A step of the reading: the rack of the machine, by the site's names of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Claim, step_sentences

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport

RACKS = {"web-1": "row 3, rack 7"}
PLACE = Claim("The machine stands in {place}.", "header", derived=("place",))


def read(report: CrashReport) -> Step | None:
    """Name the rack of a machine with a known name."""
    place = RACKS.get(report.host)
    return Step("rack", step_sentences(PLACE.say(report, place=place))) if place else None
