"""Groups the lines of one host into its boot and its open incident, by its clock."""

from __future__ import annotations

import re
from collections import deque
from operator import le
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from kpanic.grammars.above import REMEMBERED
from kpanic.grammars.boot import Boot
from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.family import Family
    from kpanic.grammars.incident import Incident
    from kpanic.grammars.model import Line

__all__ = ["Ended", "Stream", "gap", "over"]

QUIET: Final = 30.0
"""Seconds after a report that is not fatal, within which the next report follows from it."""
LASTING: Final = 200.0
"""Maximum seconds between reports of a persistent hang: 63 or 183 s for stalls, 120 for hung tasks."""
APART: Final = 5.0
"""Seconds after a report of :data:`PASSING`, within which a report of another kind follows from it."""
AT_ONCE: Final = 1.0
"""The same after a report of a single line."""
HANGS: Final = frozenset({"stall", "lockup", "hang"})
"""Report kinds that repeat while the hang persists."""
PASSING: Final = HANGS | {"warning", "lockdep", "leak", "unknown"}
"""Kinds of reports after which the kernel continues unharmed."""
SILENT: Final = 600.0
"""Seconds after a panic, after which a report is of another boot."""
BACK: Final = 5.0
"""Minimum seconds by which printk's clock goes back at another boot; clocks of CPUs differ by less."""
BACK_DEAD: Final = 0.5
"""The same after a panic, when only one CPU prints."""
NEAR: Final = 4
"""Number of lines after a header that belong to its report, if lines have no time."""
_FOLLOWS: Final = regex(
    r"not syncing: *(?:Fatal exception|hung_task: |softlockup: |RCU Stall|[hH]ard LOCKUP|Watchdog detected"
    r"|[^\n]{0,64}panic_on_)"
)
"""A panic that a setting causes after a report (kernel/panic.c, watchdog.c, hung_task.c)."""
_FENCE: Final = regex(r"\s*(?:```|~~~|\[code\b|<pre\b|<code\b)", re.IGNORECASE)
"""Text above a quoted log in Markdown, BBCode and HTML."""
_TRACE: Final = regex(r"\s*(?:[Cc]all [Tt]race|Backtrace|---\[ end )")


class Ended(Struct, frozen=True):
    """An incident that another boot ended; the boot's command line will show whether it is a crash kernel."""

    boot: Boot
    incident: Incident
    cut: bool
    """Whether the other boot began inside a line, so that the machine was not shut down."""


class Stream(Struct):
    """One host: its boot, its open incident, its clock."""

    boot: Boot = field(default_factory=Boot)
    incident: Incident | None = None
    time: float | None = None
    previous: str = ""
    """Text of the line before."""
    recent: deque[Line] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """The last lines outside of incidents."""
    ended: Ended | None = None
    """The incident that the next boot ended."""

    def follows(self, times: Sequence[float]) -> bool:
        """Tell whether a line is of the same boot: printk's clock did not go back."""
        if not times:
            return True
        forward = len(times) == 1 or all(map(le, times, times[1:]))
        back = BACK_DEAD if self.incident is not None and self.incident.fatal else BACK
        return forward and (self.time is None or times[0] >= self.time - back)

    def kept(self) -> tuple[int, int]:
        """Return the number of lines of incidents and before them, and of all kept characters."""
        boots, incidents = [self.boot], [self.incident]
        if self.ended is not None:
            boots.append(self.ended.boot)
            incidents.append(self.ended.incident)
        open_ = [incident for incident in incidents if incident is not None]
        above = [*self.recent, *(line for incident in open_ for line in incident.above)]
        return (
            sum(len(incident.lines) for incident in open_) + len(above),
            sum(incident.size for incident in open_)
            + sum(boot.size for boot in boots)
            + sum(len(line.text) + len(line.raw) for line in above),
        )


def gap(incident: Incident, line: Line) -> float | None:
    """Return the seconds since the incident's last header; None if lines have no time."""
    last = incident.newest
    if last is None:
        return None
    for one, other in ((last.time, line.time), (last.epoch, line.epoch), (last.clock, line.clock)):
        if one is not None and other is not None:
            return other - one
    return None


def _traced(incident: Incident) -> bool:
    """Tell whether an incident contains a backtrace."""
    return any(_TRACE.match(line.text) for line in incident.lines)


def over(incident: Incident, line: Line, family: Family, previous: str = "") -> bool:
    """Tell whether a report of a family that begins on a line does not follow from the incident.

    :param previous: text of the line before.
    """
    seconds = gap(incident, line)
    first = incident.heads[0].hits[0][0]
    kinds, passed = _kinds(family), _kinds(first)
    graver = kinds.isdisjoint(PASSING) and not _FOLLOWS.search(line.text)
    if graver and _FENCE.match(previous) and _traced(incident):
        return True  # people quote each crash separately
    if seconds is not None and seconds < 0 and any(_FENCE.match(one.text) for one in incident.lines[-2:]):
        return True  # and quote earlier lines below it
    if incident.fatal:
        return seconds is not None and seconds > SILENT
    if passed.isdisjoint(PASSING):
        return seconds is not None and seconds > QUIET
    if seconds is None:
        near = len(incident.lines) <= incident.heads[-1].place + NEAR
        return graver and (incident.truncated or (passed <= HANGS and not near))
    if graver:
        alone = all(form.traceless for form in first.forms)  # its report has only this line
        return incident.truncated or not 0 <= seconds <= (AT_ONCE if alone else APART)
    if HANGS.issuperset(kinds | passed) or (passed <= HANGS and kinds == {"panic"}):
        return seconds > LASTING
    if family.name == first.name or kinds == {"panic"}:
        return seconds > QUIET
    return not 0 <= seconds <= APART


def _kinds(family: Family) -> frozenset[str]:
    return frozenset(form.kind for form in family.forms)
