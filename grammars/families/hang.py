"""Stalls, lockups and blocked tasks (kernel/rcu/tree_stall.h, kernel/watchdog.c, kernel/hung_task.c).

::

    rcu: INFO: rcu_preempt self-detected stall on CPU   INFO: rcu_sched detected stalls on CPUs/tasks: {…}
    watchdog: BUG: soft lockup - CPU#2 stuck for 136s! [bash:4888]
    watchdog: Watchdog detected hard LOCKUP on cpu 1   NMI watchdog: Watchdog detected hard LOCKUP on cpu 1
    INFO: task bash:1 blocked for more than 120 seconds.     INFO: task bash:1 can't die for more than 143
    seconds.
    BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 33s!
"""

from __future__ import annotations

from typing import Final

from kpanic.grammars.family import Family, Form, head

RCU = Family(
    name="rcu",
    literals=("INFO: rcu_",),
    ignore=r"rcu_\w+ (?:kthread|is not)|self-detected stall on CPU.*suppressed",
    forms=(
        Form(
            head(r"INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls?[^\n]*"),
            title="INFO: rcu detected stall in {function}",
            kind="stall",
            cause="rcu-stall",
            walk="stall",
        ),
    ),
)

LOCKUP = Family(
    name="lockup",
    literals=(
        "BUG: soft lockup",
        "BUG: workqueue lockup",
        "detected hard LOCKUP",
        "Watchdog CPU:",
        "Watchdog detected hard LOCKUP",
        "self-detected hard LOCKUP",
    ),
    forms=(
        Form(
            head(r"BUG: soft lockup[^\n]*"),
            title="BUG: soft lockup in {function}",
            kind="lockup",
            cause="soft-lockup",
            walk="down",
        ),
        Form(
            head(r"BUG: workqueue lockup[^\n]*"),
            title="BUG: workqueue lockup",
            kind="lockup",
            cause="soft-lockup",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"(?:Watchdog CPU:\d+ )?(?:Hard LOCKUP|(?:Watchdog |self-)?detected hard LOCKUP)[^\n]*"),
            title="BUG: hard lockup in {function}",
            kind="lockup",
            cause="hard-lockup",
            walk="down",
        ),
    ),
)

_TASK: Final = r"(?:(?P<comm>[^\n]{1,64}?):(?P<pid>\d+)|[^\n]{1,80}?)"
HUNG = Family(
    name="hung",
    literals=("INFO: task ",),
    ignore=r" is blocked on an? ",  # whom the one above waits for, since 6.15
    forms=(
        Form(
            head(rf"INFO: task {_TASK} blocked (?:in I/O wait )?for more than[^\n]*"),
            title="INFO: task hung in {function}",
            kind="hang",
            cause="hung-task",
            walk="hung",
        ),
        Form(
            head(rf"INFO: task {_TASK} can't die for more than[^\n]*"),
            title="INFO: task can't die in {function}",
            kind="hang",
            cause="hung-task",
            skip=(("schedule", "sleeps for others"),),
        ),
    ),
)
