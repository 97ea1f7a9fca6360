"""Who or what set the crash off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Step
from kpanic.grammars.reading.marks import once

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import CrashReport, Line
    from kpanic.grammars.reading.marks import Marks

    Told = tuple[str, tuple[Line, ...]]

NAME: Final = "trigger"
_WATCHDOGS: Final = {
    "soft-lockup": "The soft lockup watchdog noticed it",
    "hard-lockup": "The NMI watchdog noticed it",
    "hung-task": "khungtaskd noticed it",
    "rcu-stall": "RCU noticed it",
}
_POLICIES: Final = (
    ("panic_on_warn", "was told to panic on warnings (panic_on_warn)"),
    ("softlockup: hung tasks", "was told to panic on soft lockups (softlockup_panic)"),
    ("hung_task: blocked tasks", "was told to panic on hung tasks (hung_task_panic)"),
    ("RCU Stall", "was told to panic on RCU stalls (panic_on_rcu_stall)"),
    ("system-wide panic_on_oom", "was told to panic when memory runs out (vm.panic_on_oom=1)"),
    ("compulsory panic_on_oom", "was told to panic when memory runs out (vm.panic_on_oom=2)"),
    ("panic_on_oops", "was told to panic on an oops (panic_on_oops)"),
    ("Fatal exception in interrupt", "was in an interrupt: an exception there leaves nothing to go on with"),
    ("Fatal exception", "was told to panic on an oops (panic_on_oops), or could not end the task"),
)
"""Words of a panic, and what the kernel did of it, as the predicate of a sentence about the kernel."""
_TASK: Final = re.compile(r"task:(?P<name>.{1,64}?)\s+state:(?P<state>\S).*?pid:\s*(?P<pid>\d+)")
_BLOCKED: Final = re.compile(r"task (?P<name>.{1,64}?):(?P<pid>\d+) blocked for more than (?P<time>\d+) sec")
_STATES: Final = {"D": "in uninterruptible sleep (D)", "R": "runnable (R)", "S": "asleep (S)"}


def read(report: CrashReport, marks: Marks) -> Step:
    """Say who set it off, and why the kernel did not go on."""
    triggers = lines_of(report.facts, "trigger")
    task, where, owner = _running(report, marks)
    named = f"{task} was running{where}" if task else ""
    tell = _TOLD.get(report.cause)
    told = tell(report, marks, triggers, named) if tell else None
    if told is None:
        said = f"{named[0].upper()}{named[1:]}." if named else "The text does not say which task was running."
        told = said, ()
    said, proof = told
    proof = once(triggers, owner, proof)
    panic = marks.panic
    if panic is not None:
        for words, policy in _POLICIES:
            if words in panic.text:
                return Step(NAME, f"{said} The kernel did not go on: it {policy}.", once(proof, (panic,)))
    return Step(NAME, said, proof)


def _pressed(_report: CrashReport, marks: Marks, _triggers: tuple[Line, ...], named: str) -> Told:
    written = marks.frame("write_sysrq_trigger")
    how = "by writing c to /proc/sysrq-trigger" if written else "with the key c"
    task = named.replace(" was running", "")
    by = f"; it was {task}" if task else "; the text does not say which task"
    return f"Somebody triggered the crash through SysRq, {how}{by}.", written


def _blocked(report: CrashReport, marks: Marks, _triggers: tuple[Line, ...], _named: str) -> Told | None:
    found = _BLOCKED.search(report.reason)
    if found is None:
        return _noticed(report, marks, (), "")
    owner = marks.get("owner")
    state = _TASK.search(owner[0].text) if owner else None
    asleep = f", {_STATES[state['state']]}" if state and state["state"] in _STATES else ""
    task = f"task {found['name']} (PID {found['pid']})"
    said = f"khungtaskd noticed it: {task} had been blocked for more than {found['time']} seconds{asleep}."
    return said, (*report.lines[:1], *owner)


def _noticed(report: CrashReport, _marks: Marks, _triggers: tuple[Line, ...], named: str) -> Told:
    return _WATCHDOGS[report.cause] + (f"; {named}." if named else "."), report.lines[:1]


def _interrupted(_report: CrashReport, _marks: Marks, _triggers: tuple[Line, ...], named: str) -> Told:
    return "An NMI came that no driver claimed" + (f", while {named}." if named else "."), ()


def _starved(report: CrashReport, _marks: Marks, _triggers: tuple[Line, ...], _named: str) -> Told | None:
    task = next((fact.value["task"] for fact in report.facts if fact.kind == "trigger"), "")
    return (f"{task} asked for memory and there was none to give.", ()) if task else None


def _ended(report: CrashReport, _marks: Marks, _triggers: tuple[Line, ...], _named: str) -> Told:
    return "PID 1 ended, which the kernel cannot live without.", report.lines[:1]


_TOLD: Final[dict[str, Callable[[CrashReport, Marks, tuple[Line, ...], str], Told | None]]] = {
    "sysrq": _pressed,
    "hung-task": _blocked,
    "soft-lockup": _noticed,
    "hard-lockup": _noticed,
    "rcu-stall": _noticed,
    "nmi": _interrupted,
    "out-of-memory": _starved,
    "init-died": _ended,
}
"""Causes that say themselves what set them off: a sentence, and further lines that prove it."""


def _running(report: CrashReport, marks: Marks) -> tuple[str, str, tuple[Line, ...]]:
    """Name the task that ran, and the CPU that it ran on."""
    process = report.process
    if process.pid is None:
        return "", "", ()
    task = f"task {process.name} (PID {process.pid})"
    if process.pid == 0:
        task = "the idle task (swapper, PID 0)"
    elif process.uid:
        task += f" of user {process.uid}"
    return task, f" on CPU {process.cpu}" if process.cpu is not None else "", marks.get("owner")
