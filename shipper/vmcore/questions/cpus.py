"""The activity of every CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.shipper.vmcore.answers import Answer, Finding
from kpanic.shipper.vmcore.dump import task_words
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["NAME", "ask"]

NAME: Final = "CPUs"
SHOWN: Final = 64
"""Maximum CPUs whose backtraces are shown."""


def ask(dump: Dump) -> Answer:
    """Show the backtrace of each CPU except the trap's, which is shown elsewhere; count idle CPUs."""
    findings: list[Finding] = []
    idle = left = 0
    shown = _trapped(dump)
    for cpu, task in dump.running():
        try:
            if not task.pid.value_():
                idle += 1
                continue
            if len(findings) == SHOWN:
                left += 1
                continue
            lines = () if task.value_() == shown else dump.stack_lines(dump.stack(task))
            words = f"CPU {cpu} ran {task_words(task)}."
        except LOST as error:
            lines, words = (), f"What CPU {cpu} ran cannot be read: {error}."[:200]
        findings.append(Finding(words, lines))
    if idle:
        findings.append(Finding(f"{idle} CPU{'s' if idle > 1 else ''} idled."))
    if left:
        findings.append(Finding(f"{left} more CPUs were busy."))
    return Answer(NAME, tuple(findings), skipped="" if findings else "the dump lacks which CPUs there are")


def _trapped(dump: Dump) -> int:
    """Return the address of the task whose trap is shown with its backtrace; 0 if there was none."""
    try:
        stack = dump.crashed
    except LOST:
        return 0
    return int(stack.task.value_()) if stack.trapped else 0
