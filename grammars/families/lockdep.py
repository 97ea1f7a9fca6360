r"""Lockdep, and whatever else watches how locks are used (kernel/locking/lockdep.c, kernel/rcu/update.c).

::

    WARNING: possible circular locking dependency detected           INFO: possible … before 4.12
    bash/1 is trying to acquire lock:
    ffff888012345678 (&sb->s_type->i_mutex_key){+.+.}-{3:3}, at: f+0x1/0x2
    WARNING: inconsistent lock state          …          takes: … at: f+0x1/0x2
    WARNING: bad unlock balance detected!     …          is trying to release lock (rtnl) at:\n[<…>] f+0x1/0x2
    WARNING: suspicious RCU usage             BUG: sleeping function called from invalid context at file.c:12
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.family import FUNCTION, Family, Form, head, later

if TYPE_CHECKING:
    import pyparsing as pp

_AT: Final = (
    r"at: ?(?![^\n]*\[inline\])\s{0,2}(?:\[<?[0-9a-f]*>?\] *)?"
    rf"(?P<function>{FUNCTION})(?:\.[\w.]+)?(?:\+0x|\b)"
)
_HOLDING: Final = (
    r"(?:[^\n]*\n{1,2}[^\n]*already holding[^\n]*\n(?:[^\n]*\[inline\]\n){0,8}[^\n]*?at: "
    rf"?\s{{0,2}}(?:\[<?[0-9a-f]*>?\] *)?(?P<holding>{FUNCTION}))?"
)
_WORD: Final = r"(?:WARNING|INFO|BUG): "


def _after(what: str, then: str) -> pp.ParserElement:
    """Match a header, a line that says what was tried, and the place behind ``at:``."""
    return head(rf"(?P<word>\w+): {what}[^\n]*") + later(
        rf"{then}(?:[^\n]*\n){{0,2}}?(?:[^\n]*\[inline\]\n){{0,8}}[^\n]*?{_AT}{_HOLDING}", within=12
    )


_SKIP: Final = (
    ("^_?lock_|lockdep", "locks for others"),
    (
        "^process_one_work|^flush_workqueue|^drain_workqueue|^destroy_workqueue|^__flush_work",
        "is what work queues are made of",
    ),
)

LOCKDEP = Family(
    name="lockdep",
    literals=(
        *tuple(
            f"{word}: {what}"
            for word in ("WARNING", "INFO")
            for what in (
                "possible circular locking dependency detected",
                "possible irq lock inversion dependency detected",
                "possible recursive locking detected",
                "HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
                "SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",
                "RECLAIM_FS-safe -> RECLAIM_FS-unsafe lock order detected",
                "inconsistent lock state",
                "suspicious RCU usage",
                "trying to register non-static key",
                "bad unlock balance detected",
                "held lock freed",
                "nested lock was not taken",
                "Nested lock was not taken",
                "lock held when returning to user space",
                "bad contention detected",
                "possible bad bit-spinlock",
            )
        ),
        "BUG: bad unlock balance detected",
        "BUG: held lock freed",
        "BUG: nested lock was not taken",
        "BUG: bad contention detected",
        "BUG: lock held when returning to user space",
        "BUG: Invalid wait context",
        "INFO: suspicious rcu_dereference_check",
        "[ INFO: inconsistent lock state",
    ),
    forms=(
        Form(
            _after(r"(?:possible circular|possible recursive) locking", "is trying to acquire lock"),
            title="possible deadlock in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="chain",
            skip=_SKIP,
        ),
        Form(
            _after(r"possible irq lock inversion", "just changed the state of lock"),
            title="possible deadlock in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="chain",
            skip=_SKIP,
        ),
        Form(
            head(r"\w+: \w+-safe -> \w+-unsafe lock order[^\n]*")
            + later(r"which became \w+-irq-safe at:", within=20),
            title="possible deadlock in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="chain",
            skip=_SKIP,
        ),
        Form(
            head(rf"{_WORD}(?:possible (?:circular|recursive|irq)|\w+-safe ->)[^\n]*"),
            title="WARNING: possible circular locking dependency detected",
            kind="lockdep",
            cause="lock-misuse",
            corrupted="the report does not say where the lock was taken",
        ),
        Form(
            _after("inconsistent lock state", "takes:"),
            title="inconsistent lock state in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="chain",
            skip=_SKIP,
        ),
        Form(
            head(r"INFO: (?:suspicious RCU usage|suspicious rcu_dereference_check)[^\n]*"),
            title="INFO: suspicious RCU usage in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("rcu", "checks for others"),),
        ),
        Form(
            head(r"WARNING: suspicious RCU usage[^\n]*"),
            title="WARNING: suspicious RCU usage in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("rcu", "checks for others"),),
        ),
        Form(
            head(r"INFO: trying to register non-static key[^\n]*"),
            title="INFO: trying to register non-static key in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("stack|lock|IRQ", "locks for others"),),
        ),
        Form(
            _after("bad unlock balance detected", "is trying to release lock"),
            title="{word}: bad unlock balance in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="named",
        ),
        Form(
            head(r"(?P<word>\w+): held lock freed[^\n]*") + later(_AT, within=8),
            title="{word}: held lock freed in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="named",
        ),
        Form(
            head(r"(?P<word>\w+): held lock freed[^\n]*"),
            title="{word}: held lock freed in {function}",
            kind="lockdep",
            cause="lock-misuse",
        ),
        Form(
            head(r"(?P<word>\w+): [nN]ested lock was not taken[^\n]*"),
            title="{word}: nested lock was not taken in {function}",
            kind="lockdep",
            cause="lock-misuse",
        ),
        Form(
            head(r"(?P<word>\w+): lock held when returning to user space[^\n]*") + later(_AT, within=12),
            title="{word}: lock held when returning to user space in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="only-named",
            traceless=True,
        ),
        Form(
            head(r"BUG: Invalid wait context[^\n]*"),
            title="WARNING: locking bug in {function}",
            kind="lockdep",
            cause="lock-misuse",
        ),
        Form(
            head(r"(?P<word>\w+): bad (?:unlock balance|contention) detected[^\n]*"),
            title="{word}: bad unlock balance in {function}",
            kind="lockdep",
            cause="lock-misuse",
        ),
        Form(
            head(r"(?:\[ )?(?:WARNING|INFO): inconsistent lock state[^\n]*"),
            title="inconsistent lock state in {function}",
            kind="lockdep",
            cause="lock-misuse",
        ),
    ),
)

HELD = Family(
    name="held",
    literals=("still has locks held!", "BUG: workqueue leaked lock", "BUG: workqueue leaked atomic"),
    forms=(
        Form(
            head(r"still has locks held![^\n]*") + later(_AT, within=8),
            title="{prefix}: still has locks held in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="only-named",
        ),
        Form(
            head(r"still has locks held![^\n]*"),
            title="{prefix}: still has locks held in {function}",
            kind="lockdep",
            cause="lock-misuse",
        ),
        Form(
            head(r"BUG: workqueue leaked [^\n]*")
            + later(rf"(?:last function: |workfn=)(?P<function>{FUNCTION})", within=5),
            title="BUG: workqueue leaked lock or atomic in {function}",
            kind="lockdep",
            cause="atomic-sleep",
            walk="only-named",
        ),
        Form(
            head(r"BUG: workqueue leaked [^\n]*"),
            title="BUG: workqueue leaked lock or atomic in {function}",
            kind="lockdep",
            cause="atomic-sleep",
        ),
    ),
)

SPIN = Family(
    name="spinlock",
    literals=(
        "BUG: spinlock ",
        "BUG: rwlock ",
        "BUG: write-lock lockup",
        "BUG: using ",
        "BUG: sleeping function called from",
        "BUG: scheduling while atomic",
    ),
    forms=(
        Form(
            head(
                "BUG: spinlock (?P<what>already unlocked|bad magic|cpu recursion|recursion|lockup "
                r"suspected|lockup|wrong CPU|wrong owner|trylock failure on UP)[^\n]*"
            ),
            title="BUG: spinlock {what} in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("spin_|_lock|_unlock", "locks for others"),),
        ),
        Form(
            head(
                "BUG: rwlock (?P<what>bad magic|recursion|wrong CPU|wrong owner|already unlocked|lockup|"
                r"cpu recursion)[^\n]*"
            ),
            title="BUG: rwlock {what} in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("rwlock_|_lock|_unlock", "locks for others"),),
        ),
        Form(
            head(r"BUG: using (?P<what>\w+)\(\) in preemptible[^\n]*"),
            title="BUG: using {what}() in preemptible code in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("dump|preempt|smp_processor_id|this_cpu", "checks for others"),),
        ),
        Form(
            head(r"BUG: sleeping function called from invalid context[^\n]*"),
            title="BUG: sleeping function called from invalid context in {function}",
            kind="bug",
            cause="atomic-sleep",
        ),
        Form(
            head(r"BUG: scheduling while atomic[^\n]*"),
            title="BUG: scheduling while atomic in {function}",
            kind="bug",
            cause="atomic-sleep",
            skip=(
                (
                    "schedule|^(?:__)?(?:cond_)?resched|^wait_for|^[msf]sleep|^usleep_",
                    "sleeps for others",
                ),
            ),
        ),
    ),
)
