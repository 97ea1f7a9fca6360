"""Stalls, lockups and blocked tasks (kernel/rcu/tree_stall.h, kernel/watchdog.c, kernel/hung_task.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

rcu = Family("rcu", ignore=r"rcu_\w+ (?:kthread|is not)|self-detected stall on CPU.*suppressed")


@rcu.form(title="INFO: rcu detected stall in {function}", kind="stall", cause="rcu-stall", walk="stall")
def stall() -> ParserElement:
    """INFO: rcu_preempt self-detected stall on CPU

    INFO: rcu_sched detected stalls on CPUs/tasks: {

    INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-.... } 21 jiffies s: 545 root: 0x2/.
    """
    detected = k.one_of("self-detected ", "detected ")
    return "INFO: rcu_" + k.name + " " + detected + k.Opt("expedited ") + "stall" + k.rest_of_line


lockup = Family("lockup")


@lockup.form(title="BUG: soft lockup in {function}", kind="lockup", cause="soft-lockup", walk="down")
def soft() -> ParserElement:
    """BUG: soft lockup - CPU#2 stuck for 136s! [bash:4888]

    BUG: soft lockup detected on CPU#2!
    """  # the last before 2.6.24
    stuck = "stuck for " + k.number + "s! ["
    task = k.UpTo(stuck) + stuck + k.task("comm", until="]")
    return "BUG: soft lockup" + k.Opt(task) + k.rest_of_line


@lockup.form(title="BUG: workqueue lockup", kind="lockup", cause="soft-lockup", walk="none", traceless=True)
def workqueue() -> ParserElement:
    """BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 33s!"""
    return "BUG: workqueue lockup" + k.rest_of_line


@lockup.form(title="BUG: hard lockup in {function}", kind="lockup", cause="hard-lockup", walk="down")
def hard() -> ParserElement:
    """Watchdog detected hard LOCKUP on cpu 1

    Watchdog CPU:0 Hard LOCKUP

    Watchdog CPU:3 detected Hard LOCKUP other CPUS:0

    self-detected hard LOCKUP @ 0x1234
    """  # the second and the third on powerpc
    powerpc = "Watchdog CPU:" + k.number + " " + k.one_of("Hard LOCKUP", "detected Hard LOCKUP")
    others = k.one_of("Watchdog detected hard LOCKUP", "self-detected hard LOCKUP", "detected hard LOCKUP")
    return (powerpc | others) + k.rest_of_line


hung = Family("hung", ignore=r" is blocked on an? ")  # since 6.15: names the task that holds the lock


def _task(then: str) -> ParserElement:
    """Return a task's name and PID, or any text in their place, up to and including ``then``."""
    return (k.task("comm", until=then) | k.UpTo(then, least=1, most=80)) + then


@hung.form(title="INFO: task hung in {function}", kind="hang", cause="hung-task", walk="hung")
def blocked() -> ParserElement:
    """INFO: task bash:1 blocked for more than 120 seconds.

    INFO: task jbd2/sda1-8:312 blocked in I/O wait for more than 120 seconds.
    """
    return (
        "INFO: task "
        + (_task(" blocked for more than") | _task(" blocked in I/O wait for more than"))
        + k.Opt(" " + k.number("seconds"))
        + k.rest_of_line
    )


@hung.form(
    title="INFO: task can't die in {function}",
    kind="hang",
    cause="hung-task",
    skip=(("schedule", "sleeps for its callers"),),
)
def cannot_die() -> ParserElement:
    """INFO: task bash:1 can't die for more than 143 seconds."""
    return "INFO: task " + _task(" can't die for more than") + k.rest_of_line
