"""Which lines belong together: the boot and the open incident of one host, by its clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import le
from typing import TYPE_CHECKING, Final

from kpanic.grammars.boot import Boot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.family import Family
    from kpanic.grammars.incident import Incident
    from kpanic.grammars.model import Line

__all__ = ["QUIET", "Stream", "gap", "over"]

QUIET: Final = 30.0
"""Seconds after a report that did not kill, within which the next one follows from it."""
LASTING: Final = 200.0
"""Seconds between reports of a hang that lasts: stalls come every 63 or 183 s, hung tasks every 120."""
HANGS: Final = frozenset({"stall", "lockup", "hang"})
"""Report kinds that repeat while the hang persists."""
SILENT: Final = 600.0
"""Seconds after a panic, whatever the dead kernel may still print: a later report is of another boot."""
BACK: Final = 5.0
"""Seconds that printk's clock goes back by at another boot: the clocks of two CPUs differ by less."""


@dataclass(slots=True)
class Stream:
    """One host: its boot, its open incident, its clock."""

    boot: Boot = field(default_factory=Boot)
    incident: Incident | None = None
    time: float | None = None
    previous: str = ""
    """Text of the line before."""
    ended: tuple[Boot, Incident] | None = None
    """The incident that the next boot ended: its command line will say whether it is a crash kernel's."""

    def follows(self, times: Sequence[float]) -> bool:
        """Tell whether printk's clock did not go back: if it did, this is another boot."""
        if not times:
            return True
        forward = len(times) == 1 or all(map(le, times, times[1:]))
        return forward and (self.time is None or times[0] >= self.time - BACK)

    def kept(self) -> tuple[int, int]:
        """Lines of incidents, and characters of all that is kept."""
        boots, incidents = [self.boot], [self.incident]
        if self.ended is not None:
            boots.append(self.ended[0])
            incidents.append(self.ended[1])
        open_ = [incident for incident in incidents if incident is not None]
        return (
            sum(len(incident.lines) for incident in open_),
            sum(incident.size for incident in open_) + sum(boot.size for boot in boots),
        )


def gap(incident: Incident, line: Line) -> float:
    """Return the seconds since the incident's last header; 0.0 where nothing tells them."""
    last = incident.lines[incident.heads[-1].place]
    if last.time is not None and line.time is not None:
        return line.time - last.time
    if last.epoch is not None and line.epoch is not None:
        return line.epoch - last.epoch
    return 0.0


def over(incident: Incident, line: Line, family: Family) -> bool:
    """Tell whether a report of a family is too late to follow from the incident."""
    seconds = gap(incident, line)
    if incident.fatal:
        return seconds > SILENT
    lasts = HANGS.issuperset((family.forms[0].kind, incident.heads[0].hits[0][0].forms[0].kind))
    return seconds > (LASTING if lasts else QUIET)
