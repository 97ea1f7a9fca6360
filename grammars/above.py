"""The rest of a report without a header, above the last line that a dying kernel prints.

A header is lost when a screen scrolls, a ring buffer wraps or a person copies only a part of the text. Then
``Kernel panic - not syncing: Fatal exception`` is the first line that is known to belong to a report, but the
task, the kernel, the registers and the backtrace are above it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kpanic.grammars.families.headless import LEFT, ended, headless, remains
from kpanic.grammars.incident import Head
from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.family import Family
    from kpanic.grammars.incident import Incident
    from kpanic.grammars.model import Line

__all__ = ["NEAR", "REMEMBERED", "adjoining", "ends", "with_rest"]

REMEMBERED: Final = 96
"""Maximum lines above that are examined."""
APART: Final = 2.0
"""Maximum seconds between two lines of one report, on a slow console."""
NEAR: Final = 3
"""Maximum lines between the list of modules and the line about the running task."""
_ENDS: Final = regex(r"not syncing: *(?:[^\n]{0,40}Fatal exception|Aiee)", re.IGNORECASE)
"""A panic that only follows an oops (die() of arch/*/kernel/traps.c, do_exit() of kernel/exit.c)."""
_DIES: Final = regex(r"\s*Code: (?:[0-9a-f]{4,8} ){2,16}\([0-9a-f]{4,8}\)")
"""The last line of die() on arm, arm64 and riscv; their warnings show no code."""
_SHOWN: Final = regex(r"\s*(?:NMI backtrace for cpu|SysRq ?: )")
"""A line above the registers of a CPU that continues."""
_OVER: Final = regex(r"---\[ (?:end trace|cut here)|-+\[ cut here|={20}|Linux version ")
"""A line that ends another report, or begins a boot."""
_OWNER: Final = regex(r"\s*(?:CPU: \d|P[Ii][Dd]: \d)")
_MODULES: Final = regex(r"\s*Modules linked in")
_CODE: Final = regex(r"\s*(?:Code: |---\[ end trace |Modules linked in)")
"""Lines that name neither a function nor a task."""
_BEHIND: Final = regex(r"\s*(?:Code: |RIP)")
"""A line after a backtrace."""
_FRAME: Final = regex(
    r"\s*(?:</?[A-Z]+>|(?:\[<[0-9a-f]{8,16}>\] )?(?:\? )?[A-Za-z_][\w.]{0,200}\+0x[0-9a-f]+/0x)"
)
_LEFT: Final = regex(r"\s*(?:" + "|".join(map(re.escape, LEFT)) + ")")


def ends(line: Line, family: Family) -> bool:
    """Tell whether the first known line of a report is inside the report or at its end."""
    return family is headless or family.inner or _ENDS.search(line.text) is not None


def adjoining(recent: Sequence[Line], number: int) -> tuple[Line, ...]:
    """Return the lines directly above line ``number``, without a gap."""
    first = len(recent)
    while first and number <= recent[first - 1].number + recent[first - 1].raw.count("\n") + NEAR:
        first -= 1
        number = recent[first].number
    return tuple(recent)[first:]


def with_rest(incident: Incident, number: int, family: Family) -> Incident | None:
    """Return an incident that begins with the rest of the report before its head; None if there is none.

    :param number: index of the head.
    :param family: the family of the head's line.
    """
    place = incident.heads[number].place
    line = incident.lines[place]
    if not ends(line, family):
        return None
    above = _own((*incident.above, *incident.lines[:place]), line)
    if family is ended and not _died(above, line):
        return None
    first = _first(above)
    if first is None:
        return None
    left = above[first:]
    last = number == len(incident.heads) - 1
    if not (family is ended and last) and all(_CODE.match(one.text) for one in left):
        return None  # the panic has more information
    blank = len(left[0].text) - len(left[0].text.lstrip())
    heads = [Head(head.place - place + len(left), head.hits) for head in incident.heads[number:]]
    return replace(
        incident,
        lines=[*left, *incident.lines[place:]],
        heads=[Head(0, ((remains, blank),)), *heads],
        above=(),
    )


def _own(recent: Sequence[Line], line: Line) -> list[Line]:
    """Return the lines directly above a line, without a gap, in order."""
    own: list[Line] = []
    last = line
    for one in reversed(recent):
        number = one.number + one.raw.count("\n")
        apart = None if one.time is None or last.time is None else last.time - one.time
        if last.number > number + NEAR or (apart is not None and not 0 <= apart <= APART):
            break
        if _OVER.match(one.text) and len(own) > NEAR:
            break
        if one.caller == line.caller or not one.caller:
            own.append(one)
        last = one
    return own[::-1]


def _died(above: Sequence[Line], line: Line) -> bool:
    """Tell whether the lines above a line of the family :data:`ended` belong to a dying kernel."""
    if line.text.lstrip().startswith("Process "):
        return not any(_SHOWN.match(one.text) for one in above)
    return bool(above) and _DIES.match(above[-1].text) is not None


def _first(above: Sequence[Line]) -> int | None:
    """Return the index of the report's first remaining line; None if there is none."""
    for index in range(len(above) - 1, -1, -1):
        if _OWNER.match(above[index].text):
            near = range(max(index - NEAR, 0), index)
            return next((at for at in near if _MODULES.match(above[at].text)), index)
    first = next((index for index, line in enumerate(above) if _LEFT.match(line.text)), len(above))
    if first == len(above) or _BEHIND.match(above[first].text):
        while first and _FRAME.match(above[first - 1].text):
            first -= 1
    return first if first < len(above) else None
