"""Who or what set the crash off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grammars.data.complaints import TRIGGERS
from grammars.model import Step

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from grammars.reading.marks import Marks

_WATCHDOGS: Final = {
    "soft-lockup": "The soft lockup watchdog noticed it",
    "hard-lockup": "The NMI watchdog noticed it",
    "hung-task": "khungtaskd noticed it",
    "rcu-stall": "RCU noticed it",
}
_POLICIES: Final = (
    ("panic_on_warn", "the kernel was told to panic on warnings (panic_on_warn)"),
    ("softlockup: hung tasks", "the kernel was told to panic on soft lockups (softlockup_panic)"),
    ("hung_task: blocked tasks", "the kernel was told to panic on hung tasks (hung_task_panic)"),
    ("RCU Stall", "the kernel was told to panic on RCU stalls (panic_on_rcu_stall)"),
    ("system-wide panic_on_oom", "the kernel was told to panic when memory runs out (vm.panic_on_oom=1)"),
    ("compulsory panic_on_oom", "the kernel was told to panic when memory runs out (vm.panic_on_oom=2)"),
    ("Fatal exception in interrupt", "an exception in an interrupt leaves nothing to go on with"),
    (
        "Fatal exception",
        "the kernel was told to panic on an oops (panic_on_oops), or the task could not be ended",
    ),
)
_INVOKED: Final = re.compile(r"^(.{1,64}?) invoked oom-killer")


def read(report: CrashReport, marks: Marks) -> Step:
    """Say who set it off, and why the kernel did not go on."""
    triggers = [line for line in report.evidence if any(item.literal in line.text for item in TRIGGERS)]
    process = report.process
    task = f"task {process.name} (PID {process.pid})" if process.pid is not None else ""
    where = f" on CPU {process.cpu}" if process.cpu is not None else ""
    proof = (*triggers, *marks.get("owner"))
    if report.cause == "sysrq":
        written = any(frame.symbol.startswith("write_sysrq_trigger") for frame in report.call_trace)
        how = "by writing c to /proc/sysrq-trigger" if written else "with SysRq and the key c"
        by = f"; it was {task}{where}" if task else "; the text does not say which task"
        said = f"Somebody triggered the crash {how}{by}."
        proof += marks.holding("write_sysrq_trigger") if written else ()
    elif report.cause in _WATCHDOGS:
        said = f"{_WATCHDOGS[report.cause]}" + (f"; {task}{where} was running." if task else ".")
    elif report.cause == "nmi":
        said = "An NMI came that no driver claimed" + (f", while {task} ran{where}." if task else ".")
    elif report.cause == "out-of-memory" and triggers and (match := _INVOKED.match(triggers[-1].text)):
        said = f"{match[1]} asked for memory and there was none to give."
    elif task:
        said = f"{task[0].upper()}{task[1:]} was running{where}."
    else:
        said = "The text does not say which task was running."
    panic = marks.panic
    if panic is not None:
        for words, policy in _POLICIES:
            if words in panic.text:
                return Step("trigger", f"{said} The kernel did not go on: {policy}.", (*proof, panic))
    return Step("trigger", said, proof)
