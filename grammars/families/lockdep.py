"""Lockdep and other checks of locking and context (kernel/locking/lockdep.c, lib/spinlock_debug.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.data import reasons
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

LOCKS: Final = (
    ("^_?lock_|lockdep", reasons.LOCKS),
    (
        "^process_one_work|^flush_workqueue|^drain_workqueue|^destroy_workqueue|^__flush_work",
        "is part of the workqueue core",
    ),
)


def _at(field: str = "function") -> ParserElement:
    """Return ``at: f+0x1/0x2``, with an optional address or line break before f, which is not inlined."""
    inlined = k.Regex(r"[^\n]*\[inline\]")
    address = k.Regex(r"\[<?[0-9a-f]*>?\] *")
    return "at:" + ~inlined + k.Regex(r"\s{0,3}") + k.Opt(address) + k.function(field) + k.suffix


def _place() -> ParserElement:
    """Return the place where a lock was taken: on this line, or below the lines of inlined functions."""
    return k.UpTo(_at()) + _at() | k.rest_of_line + k.Later(_at(), within=10) + _at()


def _held() -> ParserElement:
    """Return the place of the lock that the task is ``already holding``, if the next lines name one."""
    holding = k.rest_of_line + k.Later("already holding", within=2) + k.rest_of_line
    return k.Opt(holding + k.Later(_at("holding"), within=9) + _at("holding"))


def _task_is(then: str) -> ParserElement:
    """Return the lines up to the task's action on a lock, and the place of the action."""
    return k.later(then, within=13) + _place() + _held()


def _levels(*words: str) -> ParserElement:
    return k.one_of(*words)("word") + ": "


lockdep = Family("lockdep")
_form = partial(lockdep.form, kind="lockdep", cause="lock-misuse")
_chain = partial(_form, walk="chain", skip=LOCKS)


@_chain(title="possible deadlock in {function}")
def circular() -> ParserElement:
    """WARNING: possible circular locking dependency detected
    6.1.0 #1 Not tainted
    ------------------------------------------------------
    bash/1 is trying to acquire lock:
    ffff888012345678 (&sb->s_type->i_mutex_key){+.+.}-{3:3}, at: f+0x1/0x2
    but task is already holding lock:
    ffff888012345679 (rtnl_mutex){+.+.}-{3:3}, at: g+0x1/0x2
    """
    what = k.one_of("possible circular locking dependency detected", "possible recursive locking detected")
    return _levels("WARNING", "INFO") + what + _task_is("is trying to acquire lock")


@_chain(title="possible deadlock in {function}")
def inversion() -> ParserElement:
    """WARNING: possible irq lock inversion dependency detected
    6.1.0 #1 Not tainted
    --------------------------------------------------------
    bash/1 just changed the state of lock:
    ffff888012345678 (&lock){-.-.}-{2:2}, at: f+0x1/0x2
    """
    what = "possible irq lock inversion dependency detected"
    return _levels("WARNING", "INFO") + what + _task_is("just changed the state of lock")


@_chain(title="possible deadlock in {function}")
def unsafe_order() -> ParserElement:
    """WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected
    6.1.0 #1 Not tainted
    which became HARDIRQ-irq-safe at:
    """
    return _order() + k.later("which became " + k.name + "-irq-safe at:", within=21)


def _order() -> ParserElement:
    context = k.one_of("HARDIRQ", "SOFTIRQ", "RECLAIM_FS")
    return _levels("WARNING", "INFO") + context + "-safe -> " + context + "-unsafe lock order detected"


@_form(
    title="WARNING: possible circular locking dependency detected",
    corrupted="the report does not say where the lock was taken",
)
def order_cut_off() -> ParserElement:
    """WARNING: possible recursive locking detected"""
    what = k.one_of(
        "possible circular locking dependency detected",
        "possible recursive locking detected",
        "possible irq lock inversion dependency detected",
    )
    return (_levels("WARNING", "INFO") + what | _order()) + k.rest_of_line


@_chain(title="inconsistent lock state in {function}")
def inconsistent() -> ParserElement:
    """WARNING: inconsistent lock state
    6.1.0 #1 Not tainted
    inconsistent {HARDIRQ-ON-W} -> {IN-HARDIRQ-W} usage.
    bash/1 [HC1[1]:SC0[0]:HE0:SE1] takes:
    ffff888012345678 (&lock){?.+.}-{2:2}, at: f+0x1/0x2
    """
    return _levels("WARNING", "INFO") + "inconsistent lock state" + _task_is("takes:")


@_form(
    title="INFO: suspicious RCU usage in {function}",
    skip=(("rcu", "is a debug check"),),
)
def suspicious_rcu_info() -> ParserElement:
    """INFO: suspicious RCU usage. ]

    INFO: suspicious rcu_dereference_check() usage. ]
    """  # before 4.12
    what = k.one_of("suspicious RCU usage", "suspicious rcu_dereference_check")
    return "INFO: " + what + k.rest_of_line


@_form(title="WARNING: suspicious RCU usage in {function}", skip=(("rcu", "is a debug check"),))
def suspicious_rcu() -> ParserElement:
    """WARNING: suspicious RCU usage"""
    return "WARNING: suspicious RCU usage" + k.rest_of_line


@_form(
    title="INFO: trying to register non-static key in {function}",
    skip=(("stack|lock|IRQ", reasons.LOCKS),),
)
def non_static_key() -> ParserElement:
    """INFO: trying to register non-static key."""
    return "INFO: trying to register non-static key" + k.rest_of_line


@_form(title="{word}: bad unlock balance in {function}", walk="named")
def unlock_balance() -> ParserElement:
    """WARNING: bad unlock balance detected!
    6.1.0 #1 Not tainted
    -------------------------------------
    bash/1 is trying to release lock (rtnl) at:
    [<ffffffff81234567>] f+0x1/0x2
    """
    return (
        _levels("WARNING", "INFO", "BUG")
        + "bad unlock balance detected"
        + k.later("is trying to release lock", within=13)
        + _place()
    )


@_form(title="{word}: held lock freed in {function}", walk="named")
def lock_freed_at() -> ParserElement:
    """WARNING: held lock freed!
    6.1.0 #1 Not tainted
    -------------------------
    bash/1 is freeing memory ffff888012345600-ffff8880123456ff, with a lock still held there!
    ffff888012345678 (&lock){+.+.}-{2:2}, at: f+0x1/0x2
    """
    return _levels("WARNING", "INFO", "BUG") + "held lock freed" + k.later(_at(), within=9)


@_form(title="{word}: held lock freed in {function}")
def lock_freed() -> ParserElement:
    """WARNING: held lock freed!"""
    return _levels("WARNING", "INFO", "BUG") + "held lock freed" + k.rest_of_line


@_form(title="{word}: nested lock was not taken in {function}")
def nested_lock() -> ParserElement:
    """WARNING: Nested lock was not taken"""
    return _levels("WARNING", "INFO", "BUG") + k.sentence("nested lock was not taken") + k.rest_of_line


@_form(
    title="{word}: lock held when returning to user space in {function}",
    walk="only-named",
    traceless=True,
)
def returning_to_user() -> ParserElement:
    """WARNING: lock held when returning to user space!
    6.1.0 #1 Not tainted
    ------------------------------------------------
    bash/1 is leaving the kernel with locks still held!
    1 lock held by bash/1:
    #0: ffff888012345678 (&lock){+.+.}-{2:2}, at: f+0x1/0x2
    """
    what = "lock held when returning to user space"
    return _levels("WARNING", "INFO", "BUG") + what + k.later(_at(), within=13)


@_form(title="WARNING: locking bug in {function}")
def wait_context() -> ParserElement:
    """BUG: Invalid wait context ]"""
    return "BUG: Invalid wait context" + k.rest_of_line


@_form(title="{word}: bad unlock balance in {function}")
def contention() -> ParserElement:
    """WARNING: bad contention detected!

    WARNING: bad unlock balance detected!
    """
    what = k.one_of("bad unlock balance detected", "bad contention detected")
    return _levels("WARNING", "INFO", "BUG") + what + k.rest_of_line


@_form(title="{word}: possible bad bit-spinlock in {function}")
def bit_spinlock() -> ParserElement:
    """WARNING: possible bad bit-spinlock"""
    return _levels("WARNING", "INFO") + "possible bad bit-spinlock" + k.rest_of_line


@_form(title="inconsistent lock state in {function}")
def inconsistent_cut_off() -> ParserElement:
    """WARNING: inconsistent lock state

    [ INFO: inconsistent lock state ]
    """
    return k.one_of("WARNING: ", "INFO: ", "[ INFO: ") + "inconsistent lock state" + k.rest_of_line


held = Family("held")
_held_form = partial(held.form, kind="lockdep")


@_held_form(title="{prefix}: still has locks held in {function}", cause="lock-misuse", walk="only-named")
def still_held_at() -> ParserElement:
    """still has locks held!
    6.1.0 #1 Not tainted
    1 lock held by bash/1:
     #0:  (&lock){+.+.+.}, at: [<ffffffff81234567>] f+0x1/0x2
    """
    return "still has locks held!" + k.later(_at(), within=9)


@_held_form(title="{prefix}: still has locks held in {function}", cause="lock-misuse")
def still_held() -> ParserElement:
    """still has locks held!"""
    return "still has locks held!" + k.rest_of_line


@_held_form(
    title="BUG: workqueue leaked lock or atomic in {function}", cause="atomic-sleep", walk="only-named"
)
def workqueue_leak_in() -> ParserElement:
    """BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/12
         last function: boom_work

    BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[12]
         preempt=0x00000000 lock=0->1 RCU=0->0 workfn=boom_work
    """
    worker = k.one_of("last function: ", "workfn=") + k.function("function")
    return _leaked() + k.later(worker, within=6)


def _leaked() -> ParserElement:
    return k.one_of("BUG: workqueue leaked lock", "BUG: workqueue leaked atomic")


@_held_form(title="BUG: workqueue leaked lock or atomic in {function}", cause="atomic-sleep")
def workqueue_leak() -> ParserElement:
    """BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/12"""
    return _leaked() + k.rest_of_line


spin = Family("spinlock")


@spin.form(
    title="BUG: spinlock {what} in {function}",
    kind="lockdep",
    cause="lock-misuse",
    skip=(("spin_|_lock|_unlock", reasons.LOCKS),),
)
def spinlock() -> ParserElement:
    """BUG: spinlock bad magic on CPU#0, bash/1"""
    what = k.one_of(
        *("already unlocked", "bad magic", "cpu recursion", "recursion", "lockup suspected", "lockup"),
        *("wrong CPU", "wrong owner", "trylock failure on UP"),
    )
    return "BUG: spinlock " + what("what") + k.rest_of_line


@spin.form(
    title="BUG: rwlock {what} in {function}",
    kind="lockdep",
    cause="lock-misuse",
    skip=(("rwlock_|_lock|_unlock", reasons.LOCKS),),
)
def rwlock() -> ParserElement:
    """BUG: rwlock lockup on CPU#0, bash/1, ffff888012345678

    BUG: write-lock lockup on CPU#0, bash/1, ffff888012345678
    """  # lib/spinlock_debug.c before 4.0
    what = k.one_of(
        *("bad magic", "recursion", "wrong CPU", "wrong owner", "already unlocked", "lockup"),
        "cpu recursion",
    )
    return ("BUG: rwlock " + what("what") | "BUG: write-lock " + k.Literal("lockup")("what")) + k.rest_of_line


@spin.form(
    title="BUG: using {what}() in preemptible code in {function}",
    kind="lockdep",
    cause="lock-misuse",
    skip=(("dump|preempt|smp_processor_id|this_cpu", "is a debug check"),),
)
def preemptible() -> ParserElement:
    """BUG: using smp_processor_id() in preemptible [00000000] code: bash/1"""
    return "BUG: using " + k.name("what") + "() in preemptible" + k.rest_of_line


@spin.form(
    title="BUG: sleeping function called from invalid context in {function}",
    kind="bug",
    cause="atomic-sleep",
)
def sleeping() -> ParserElement:
    """BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580"""
    return "BUG: sleeping function called from invalid context" + k.rest_of_line


@spin.form(
    title="BUG: scheduling while atomic in {function}",
    kind="bug",
    cause="atomic-sleep",
    walk="chain",  # before 2.6.24 no line opens the backtrace on some machines
    skip=(
        (
            "schedule|^__sched_text_start|^(?:__)?(?:cond_)?resched|^wait_for|^[msf]sleep|^usleep_",
            "sleeps for its callers",
        ),
    ),
)
def scheduling() -> ParserElement:
    """BUG: scheduling while atomic: bash/1/0x00000002

    BUG: scheduling while atomic: ifconfig/0x00000100/2231
    """  # the second before 2.6.22
    preempted = "/0x" + k.hex_number
    task = k.UpTo("/" + k.number + preempted, least=1, most=64)("comm") + "/" + k.number("pid") + preempted
    older = k.UpTo(preempted + "/", least=1, most=64)("comm") + preempted + "/" + k.number("pid")
    return "BUG: scheduling while atomic" + k.Opt(": " + (task | older)) + k.rest_of_line
