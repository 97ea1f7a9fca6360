"""The trigger of the crash, and why the kernel did not continue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.data.complaints import KILLER
from kpanic.grammars.fact import lines_of, once
from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import frame, header

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.fact import Fact
    from kpanic.grammars.model import CrashReport, Line, Sentence

NAME: Final = "trigger"
KUNIT: Final = "kunit_try_catch"
"""The task that runs the tests (lib/kunit/try-catch.c)."""
WRITTEN: Final = Claim(
    "The crash was triggered on purpose, by a write to /proc/sysrq-trigger.", "trigger", "frames"
)
SYSRQ: Final = Claim("The crash was triggered on purpose, through SysRq.", "trigger", "header", "frames")
SOFT_LOCKUP: Final = Claim("The soft lockup watchdog reported it.", "header")
HARD_LOCKUP: Final = Claim("The hard lockup watchdog reported it.", "header")
STALL: Final = Claim("RCU's stall detector reported it.", "header")
BLOCKED: Final = Claim(
    "khungtaskd reported it: task {name} (PID {pid}) had been blocked for more than {seconds} seconds.",
    "header",
)
STATE: Final = Claim("The task was {state}.", "task", derived=("state",))
UNCLAIMED: Final = Claim("No handler claimed an NMI.", "trigger")
STARVED: Final = Claim("Task {task} asked for memory when none was left.", "trigger")
ASKED: Final = Claim("The OOM killer was called on purpose, through SysRq.", "request", "trigger")
INIT: Final = Claim("PID 1 ended, and the kernel cannot run without it.", "header")
RUNNING: Final = Claim(
    "Task {task} (PID {pid}){user} was running{cpu}.",
    *("owner", "lock", "access", "header"),
    derived=("user", "cpu"),
)
ALLOCATED: Final = Claim("Task {task} (PID {pid}) allocated the memory.", "owner")
SHOWN: Final = Claim("The stack is that of task {task} (PID {pid}).", "task")
TESTED: Final = Claim(
    "The task is one of KUnit, whose tests may provoke such a report on purpose.", "owner", "header"
)
IDLE: Final = Claim("The idle task (swapper, PID 0) was running{cpu}.", "owner", "header", derived=("cpu",))
NOBODY: Final = Absence(
    "No line that was read says which task was running.", lambda report: report.process.pid is None
)
POLICY: Final = Claim("The kernel did not continue: {policy}.", "panic", derived=("policy",))

_POLICIES: Final = (
    ("panic_on_warn", "panic_on_warn is set"),
    ("softlockup: hung tasks", "softlockup_panic is set"),
    ("hung_task: blocked tasks", "hung_task_panic is set"),
    ("RCU Stall", "panic_on_rcu_stall is set"),
    ("system-wide panic_on_oom", "vm.panic_on_oom is 1"),
    ("compulsory panic_on_oom", "vm.panic_on_oom is 2"),
    ("panic_on_oops", "panic_on_oops is set"),
    ("Fatal exception in interrupt", "the exception happened in an interrupt"),
    ("Fatal exception", "panic_on_oops is set"),
)
"""Reasons of panics, and what they mean (kernel/panic.c, watchdog.c, hung_task.c, rcu/, mm/oom_kill.c)."""
_STATES: Final = {"D": "in uninterruptible sleep (D)", "R": "runnable (R)", "S": "asleep (S)"}
"""Letters of task states (include/linux/sched.h: task_state_to_char)."""


def read(report: CrashReport) -> Step:
    """Name the trigger, and why the kernel did not continue."""
    tell = _CAUSES.get(report.cause)
    said = tuple(filter(None, tell(report))) if tell else ()
    blocked = report.cause == "hung-task" and bool(said)  # the task that was running is khungtaskd
    owner = () if blocked else (_running(report), NOBODY.say(report))
    return Step(NAME, step_sentences(*said, *owner, _tested(report), _policy(report)))


def _sysrq(report: CrashReport) -> tuple[Sentence | None, ...]:
    trigger = lines_of(report.facts_of("trigger"))
    written = frame(report, "write_sysrq_trigger")
    if written:
        return (WRITTEN.say(report, once(trigger, written)),)
    return (SYSRQ.say(report, once(trigger, frame(report, "sysrq_handle_crash")) or header(report)),)


def _blocked(report: CrashReport) -> tuple[Sentence | None, ...]:
    fields = _header(report)
    if not {"comm", "pid", "seconds"} <= set(fields):
        return ()
    state = next((fact for fact in report.facts_of("task") if fact.value.state[:1] in _STATES), None)
    return (
        BLOCKED.say(report, name=fields["comm"], pid=fields["pid"], seconds=fields["seconds"]),
        STATE.say(report, state.lines, state=_STATES[state.value.state[:1]]) if state else None,
    )


def _header(report: CrashReport) -> dict[str, str]:
    """Return the fields of the header."""
    return next((fact.value for fact in report.facts_of("header")), {})


def _trigger(report: CrashReport, what: str) -> Fact | None:
    return next((fact for fact in report.facts_of("trigger") if fact.value["what"] == what), None)


def _unclaimed(report: CrashReport) -> tuple[Sentence | None, ...]:
    found = _trigger(report, "an NMI")
    return (UNCLAIMED.say(report, found.lines),) if found else ()


def _starved(report: CrashReport) -> tuple[Sentence | None, ...]:
    found = _trigger(report, KILLER)
    asked = found if found and "asked" in found.value else None
    asked = next(iter(report.facts_of("request")), asked)
    if asked:
        return (ASKED.say(report, asked.lines[:1]),)
    return (STARVED.say(report, found.lines, task=found.value["task"]),) if found else ()


_CAUSES: Final[dict[str, Callable[[CrashReport], tuple[Sentence | None, ...]]]] = {
    "sysrq": _sysrq,
    "hung-task": _blocked,
    "soft-lockup": lambda report: (SOFT_LOCKUP.say(report),),
    "hard-lockup": lambda report: (HARD_LOCKUP.say(report),),
    "rcu-stall": lambda report: (STALL.say(report),),
    "nmi": _unclaimed,
    "out-of-memory": _starved,
    "init-died": lambda report: (INIT.say(report),),
}
"""Causes with their own sentences about the trigger."""


def _did(report: CrashReport) -> tuple[Line, ...]:
    """Return the lines of lockdep or KASAN that name the task."""
    return lines_of(
        [fact for fact in report.facts if fact.kind in {"lock", "access"} and "task" in fact.value]
    )


def _running(report: CrashReport) -> Sentence | None:
    """Name the running task and its CPU."""
    process = report.process
    cpu = f" on CPU {process.cpu}" if process.cpu is not None else ""
    if process.pid == 0:
        return IDLE.say(report, cpu=cpu)
    owners = [fact for fact in report.facts_of("owner") if fact.value.process.pid is not None]
    lines = lines_of(owners) or _did(report) or header(report)
    if process.pid is None:
        return None
    if report.cause == "memory-leak":
        return ALLOCATED.say(report, lines, task=process.name, pid=process.pid)
    if not owners and (shown := lines_of(report.facts_of("task"))) and process.name in shown[0].text:
        return SHOWN.say(report, shown[:1], task=process.name, pid=process.pid)
    return RUNNING.say(
        report,
        lines,
        task=process.name,
        pid=process.pid,
        user=f" of user {process.uid}" if process.uid else "",
        cpu=cpu,
    )


def _tested(report: CrashReport) -> Sentence | None:
    """Say that a test of the kernel was running."""
    if report.process.name != KUNIT:
        return None
    return TESTED.say(report, lines_of(report.facts_of("owner")) or header(report))


def _policy(report: CrashReport) -> Sentence | None:
    for fact in report.facts_of("panic"):
        for reason, policy in _POLICIES:
            if reason in fact.value:
                return POLICY.say(report, fact.lines, policy=policy)
    return None
