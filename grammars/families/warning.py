"""The forms of WARN() (kernel/panic.c, lib/bug.c), and warnings with a title of their own.

::

    WARNING: CPU: 0 PID: 1 at lib/refcount.c:25 refcount_warn_saturate+0x74/0x110        until 6.17
    WARNING: at kernel/sched/core.c:1234 f+0x1/0x2 [module]()                            2.6.32 to 4.x
    WARNING: [cond] file.c:39 at boom_warn+0x10/0x20 [boom], CPU#0: init/1               since 2025
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.data import reasons
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

TOPS: Final = (
    *("arch/", "block/", "certs/", "crypto/", "drivers/", "fs/", "include/", "init/", "io_uring/", "ipc/"),
    *("kernel/", "lib/", "mm/", "net/", "rust/", "security/", "sound/", "virt/", "samples/", "./", "../"),
)
"""Beginnings of the paths of kernel source files."""
COUNTS: Final = ("^refcount_|^__refcount", "counts references for its callers")
COUNTS_REFERENCES: Final = ("^kref_", "counts references for its callers")

warning = Family("warning")
_form = partial(warning.form, kind="warning", cause="warning")


def _condition() -> ParserElement:
    """Return the condition in brackets before the place; it may contain brackets."""
    end = "] " + k.FollowedBy(k.Regex(r"(?:at |CPU: |[^\s:]+:[0-9]+ )"))
    return "[" + k.UpTo(end, most=200) + end


def _where() -> ParserElement:
    """Return the header up to the file."""
    cpu = "CPU: " + k.number + " PID: " + k.number + " "
    file = k.FollowedBy(k.one_of(*TOPS))
    return "WARNING: " + (_condition() + k.Opt(cpu) | cpu | k.FollowedBy("at ") | file) + k.Opt("at ")


def _at(file: str, function: str) -> ParserElement:
    """Return a warning with patterns for its file and its function."""
    return (
        _where()
        + k.Regex(rf"[\w./-]*{file}:[0-9]+ ")
        + k.Opt("at ")
        + k.Regex(function)("function")
        + k.suffix
        + "+0x"
    )


def _place() -> ParserElement:
    """Return any file, and the line."""
    return k.Regex(r"[^\s:]+:[0-9]+ ") + k.Opt("at ")


@warning.form(
    title="WARNING: ODEBUG bug in {function}",
    kind="warning",
    cause="use-after-free",
    skip=(
        ("^debug_|^__debug_", "checks objects (debugobjects)"),
        ("^(?:kfree|vfree|vunmap|kvfree|slab_free|kmem_cache_free|__free_)", "frees memory for its callers"),
        ("rcu|timer_|work_|percpu_", "is the interface of the checked object"),
    ),
)
def debug_object() -> ParserElement:
    """WARNING: CPU: 1 PID: 12 at lib/debugobjects.c:502 debug_print_object+0x16e/0x250"""
    return _at(r"lib/debugobjects\.c", r"debug_(?:print|check|object)\w*")


@warning.form(
    title="WARNING: bad usercopy in {function}",
    kind="warning",
    cause="usercopy",
    skip=(("usercopy|check_(?:heap|object|copy)", "checks the copy"),),
)
def usercopy() -> ParserElement:
    """WARNING: CPU: 1 PID: 12 at mm/usercopy.c:78 usercopy_warn+0xe8/0x100"""
    return _at(r"mm/usercopy\.c", r"usercopy_warn\w*")


@_form(
    title="WARNING: kobject bug in {function}",
    skip=(("kobject_|^kset_", "manages kobjects for its callers"),),
)
def kobject() -> ParserElement:
    """WARNING: CPU: 1 PID: 12 at lib/kobject.c:244 kobject_add_internal+0x1/0x2"""
    return _at(r"lib/kobject\.c", r"kobject_\w*")


@_form(
    title="WARNING: proc registration bug in {function}",
    skip=(("^proc_|^_?_?proc_|remove_proc|xlate_proc", "registers entries for its callers"),),
)
def proc_registration() -> ParserElement:
    """WARNING: CPU: 1 PID: 12 at fs/proc/generic.c:369 proc_register+0x1/0x2"""
    return _at(
        r"fs/proc/generic\.c",
        r"(?:proc_register\w*|remove_proc_entry|xlate_proc_name|__xlate_proc_name|__proc_create)",
    )


@warning.form(
    title="WARNING: refcount bug in {function}",
    kind="warning",
    cause="refcount",
    skip=(COUNTS, COUNTS_REFERENCES),
)
def refcount() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at lib/refcount.c:25 refcount_warn_saturate+0x74/0x110

    WARNING: lib/refcount.c:25 at refcount_warn_saturate+0x74/0x110, CPU#0: init/1

    WARNING: CPU: 0 PID: 1 at lib/refcount.c:25 widget_get+0x60/0x6c [widget]
    """  # refcount_warn_saturate() is a tail call on arm: the header names its caller
    return _at(r"lib/refcount\.c", r"\w+")


@warning.form(
    title="WARNING: locking bug in {function}",
    kind="lockdep",
    cause="lock-misuse",
    skip=(("^_*(?:lock|release)_sock|^hlock", reasons.LOCKS),),
)
def lockdep() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at kernel/locking/lockdep.c:3898 __lock_acquire+0x1/0x2"""
    return _at(r"kernel/(?:locking/)?lockdep\.c", r"\w*lock_\w*")


@warning.form(title="WARNING in {function}", kind="lockdep", cause="lock-misuse", walk="named")
def lockdep_check() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at kernel/locking/lockdep.c:127 check_flags+0x1/0x2"""
    return _at(r"kernel/(?:locking/)?lockdep\.c", r"\w+")


@_form(title="WARNING: kmalloc bug in {function}")
def kmalloc() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at mm/slab_common.c:1012 kmalloc_slab+0x1/0x2"""
    return _at(r"mm/(?:slab_common|slub|slab|page_alloc|util)\.[ch]", r"_*k?v?[mzc]alloc\w*")


@_form(
    title="WARNING: zero-size vmalloc in {function}",
    skip=(("vmalloc|vzalloc", "allocates memory for its callers"),),
)
def vmalloc() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at mm/vmalloc.c:1234 __vmalloc_node_range+0x1/0x2"""
    return _at(r"mm/vmalloc\.c", r"\w*vmalloc\w*")


@warning.form(title="WARNING in {function}", kind="warning", cause="list-corruption", walk="named")
def list_debug() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at lib/list_debug.c:33 __list_add+0xac/0xc0

    WARNING: CPU: 4 PID: 0 at lib/list_debug.c:62 widget_target+0x68f/0xfd0 [widget]
    """  # or the caller of the check
    return _at(r"lib/list_debug\.c", r"\w+")


@warning.form(title="WARNING in {function}", kind="warning", cause="driver", walk="only-named")
def transmit_queue() -> ParserElement:
    """WARNING: CPU: 0 PID: 0 at net/sched/sch_generic.c:525 dev_watchdog+0x1/0x2"""
    return _at(r"net/sched/sch_generic\.c", r"dev_watchdog\w*")


@_form(
    title="WARNING in {function}/usb_submit_urb",
    skip=(
        (
            "^usb_submit_urb|^usb_start_wait_urb|^usb_bulk_msg|^usb_interrupt_msg|^usb_control_msg|^usb_internal_control",
            "submits requests of its callers",
        ),
    ),
)
def usb_submit() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at drivers/usb/core/urb.c:503 usb_submit_urb+0xed2/0x18a0"""
    return _where() + _place() + k.Literal("usb_submit_urb")("function") + "+0x"


@_form(title="WARNING in {function}", walk="named")
def in_function() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at drivers/char/boom.c:39 boom_warn+0x10/0x20 [boom]

    WARNING: at kernel/sched/core.c:1234 f+0x1/0x2()
    """
    return _where() + _place() + ~k.one_of("0x", "at ") + k.symbol


@warning.form(
    title="WARNING: refcount bug in {function}",
    kind="warning",
    cause="refcount",
    skip=(COUNTS, COUNTS_REFERENCES),
)
def refcount_nowhere() -> ParserElement:
    """WARNING: lib/refcount.c:25 at 0x0, CPU#0: init/1"""
    return _where() + k.Regex(r"[\w./-]*lib/refcount\.c:[0-9]+ at 0x0")


@_form(title="WARNING in {function}", walk="ip")
def nowhere() -> ParserElement:
    """WARNING: net/core/dev.c:25 at 0x0, CPU#0: init/1"""
    return _where() + k.Regex(r"[^\s:]+:[0-9]+ at 0x[0-9a-f]+")


@_form(title="WARNING in {function}", walk="named")
def without_line() -> ParserElement:
    """WARNING: CPU: 0 PID: 1 at boom.c boom_warn+0x10/0x20 [boom]

    WARNING: CPU: 0 PID: 1 at boom_warn+0x10/0x20 [boom]
    """  # without CONFIG_DEBUG_BUGVERBOSE no file is known (kernel/panic.c: __warn())
    file = k.FollowedBy(k.Regex(r"[^\s+]+\+0x")) | k.word + " "
    return "WARNING: CPU: " + k.number + " PID: " + k.number + " at " + file + k.symbol


@_form(title="WARNING in {function}", walk="ip")
def cut_off() -> ParserElement:
    """WARNING: CPU: 0 PID: 1"""
    return "WARNING: CPU:" + k.rest_of_line


@_form(title="WARNING in {function}", walk="named", inside=", CPU#")
def file_of_a_module() -> ParserElement:
    """WARNING: boom.c:39 at boom_warn+0x10/0x20 [boom], CPU#0: init/1"""
    return "WARNING: " + _place() + k.symbol + k.UpTo(", CPU#") + ", CPU#"


@warning.form(
    title="divide error in {function}",
    kind="warning",
    cause="divide-error",
    skip=(("^__div0|^Ldiv0|^__aeabi_", "divides for its callers"),),
)
def division_by_zero() -> ParserElement:
    """Division by zero in kernel."""  # arm: the result is 0, and the kernel continues
    return "Division by zero in kernel" + k.rest_of_line
