"""The tasks that waited in uninterruptible sleep, grouped by where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.reading.evidence import listed
from kpanic.shipper.vmcore.answers import Answer, Finding
from kpanic.shipper.vmcore.dump import frame_lines, task_words
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["NAME", "ask"]

NAME: Final = "blocked tasks"
STACKS: Final = 2000
"""Maximum tasks whose stacks are read."""
GROUPS: Final = 10
"""Maximum groups that are shown."""
FRAMES: Final = 16
"""Frames by which tasks are grouped."""


def ask(dump: Dump) -> Answer:
    """Group the blocked tasks by their stacks, the largest group first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    count = 0
    for task in dump.blocked():
        count += 1
        if count > STACKS:
            continue
        try:
            frames = dump.stack(task).frames[:FRAMES]
        except LOST:
            continue
        stack = frame_lines(frames)
        groups.setdefault(stack, []).append(task_words(task))
    if not count:
        return Answer(NAME, (Finding("No task waited in uninterruptible sleep."),))
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))
    findings = [
        Finding(f"{len(names)} task{'s' if len(names) > 1 else ''} waited here: {listed(names)}.", stack)
        for stack, names in largest[:GROUPS]
    ]
    if len(largest) > GROUPS:
        rest = sum(len(names) for _, names in largest[GROUPS:])
        findings.append(Finding(f"{rest} more waited in {len(largest) - GROUPS} other places."))
    return Answer(NAME, tuple(findings))
