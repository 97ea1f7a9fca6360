"""The state of the machine: uptime, load, tasks that could run, modules with their versions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from drgn.helpers.linux.module import for_each_module
from drgn.helpers.linux.sched import loadavg, task_state_to_char
from drgn.helpers.linux.timekeeping import uptime

from kpanic.grammars.reading.evidence import span
from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drgn import Object

    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["NAME", "ask"]

NAME: Final = "system"
MODULES: Final = 300
"""Maximum modules that are listed."""


def ask(dump: Dump) -> Answer:
    """Describe how long the machine ran, how busy it was, and which modules it had."""
    findings = [Finding(words) for words in (_uptime(dump), _load(dump), _states(dump)) if words]
    modules = tuple(_modules(dump))
    if modules:
        findings.append(
            Finding(
                f"{len(modules)} modules were loaded." if len(modules) > 1 else "One module was loaded.",
                modules,
            )
        )
    return Answer(NAME, tuple(findings), skipped="" if findings else "the dump lacks what would say it")


def _uptime(dump: Dump) -> str:
    try:
        return f"The machine had been up for {span(uptime(dump.prog))}."
    except LOST:
        return ""


def _load(dump: Dump) -> str:
    try:
        return "The load averages were {:.2f}, {:.2f} and {:.2f}.".format(*loadavg(dump.prog))
    except LOST:
        return ""


def _states(dump: Dump) -> str:
    states: Counter[str] = Counter()
    try:
        for task in dump.tasks():
            states[task_state_to_char(task)] += 1
    except LOST:
        pass
    if not states:
        return ""
    return (
        f"Of {states.total()} tasks {states['R']} could run"
        f" and {states['D']} waited in uninterruptible sleep."
    )


def _modules(dump: Dump) -> Iterator[str]:
    try:
        for number, module in enumerate(for_each_module(dump.prog)):
            if number == MODULES:
                return
            yield _module(module)
    except LOST:
        return


def _module(module: Object) -> str:
    name = module.name.string_().decode("utf-8", "replace")
    try:
        version = module.version.string_().decode("utf-8", "replace") if module.version else ""
    except LOST:
        version = ""
    return f"{name} {version}".strip()[:LONGEST]
