"""WARN() in its two wordings (kernel/panic.c, lib/bug.c), and the warnings that have a name of their own.

::

    WARNING: CPU: 0 PID: 1 at lib/refcount.c:25 refcount_warn_saturate+0x74/0x110        until 6.17
    WARNING: at kernel/sched/core.c:1234 f+0x1/0x2 [module]()                            2.6.32 to 4.x
    WARNING: [cond] file.c:39 at boom_warn+0x10/0x20 [boom], CPU#0: init/1               since 2025
"""

from __future__ import annotations

from typing import Final

from kpanic.grammars.family import SYMBOL, Family, Form, head

_WHERE: Final = r"WARNING: (?:\[[^\n]{0,200}\] )?(?:CPU: \d+ PID: \d+ )?(?:at )?"


_TOPS: Final = (
    *(
        "arch/",
        "block/",
        "certs/",
        "crypto/",
        "drivers/",
        "fs/",
        "include/",
        "init/",
        "io_uring/",
        "ipc/",
        "kernel/",
    ),
    *("lib/", "mm/", "net/", "rust/", "security/", "sound/", "virt/", "samples/", "./", "../"),
)
"""Where a source file of the kernel may be."""


def _at(file: str, function: str) -> str:
    """Return the pattern of a warning in a file, both wordings."""
    return rf"{_WHERE}[\w./-]*{file}:\d+ (?:at )?(?P<function>{function})(?:\.[\w.]+)?\+0x"


_BY: Final = ("^refcount_|^__refcount", "counts what others hold")

WARNING = Family(
    name="warning",
    start="WARNING: ",
    literals=("WARNING: CPU:", ", CPU#", "WARNING: at ", "WARNING: [", *(f"WARNING: {top}" for top in _TOPS)),
    forms=(
        Form(
            head(_at(r"lib/debugobjects\.c", r"debug_print\w*|debug_check\w*|debug_object\w*")),
            title="WARNING: ODEBUG bug in {function}",
            kind="warning",
            cause="use-after-free",
            skip=(
                ("^debug_|^__debug_", "checks objects"),
                (
                    "^(?:kfree|vfree|vunmap|kvfree|slab_free|kmem_cache_free|__free_)",
                    "frees what it is told to",
                ),
                ("rcu|timer_|work_|percpu_", "keeps what the checked object is for others"),
            ),
        ),
        Form(
            head(_at(r"mm/usercopy\.c", r"usercopy_warn\w*")),
            title="WARNING: bad usercopy in {function}",
            kind="warning",
            cause="usercopy",
            skip=(("usercopy|check_(?:heap|object|copy)", "checks the copy"),),
        ),
        Form(
            head(_at(r"lib/kobject\.c", r"kobject_\w*")),
            title="WARNING: kobject bug in {function}",
            kind="warning",
            cause="warning",
            skip=(("kobject_|^kset_", "keeps kobjects for others"),),
        ),
        Form(
            head(
                _at(
                    r"fs/proc/generic\.c",
                    r"proc_register\w*|remove_proc_entry|xlate_proc_name|__xlate_proc_name|__proc_create",
                )
            ),
            title="WARNING: proc registration bug in {function}",
            kind="warning",
            cause="warning",
            skip=(("^proc_|^_?_?proc_|remove_proc|xlate_proc", "registers what it is told to"),),
        ),
        Form(
            head(_at(r"lib/refcount\.c", r"\w*refcount_\w*")),
            title="WARNING: refcount bug in {function}",
            kind="warning",
            cause="refcount",
            skip=(_BY, ("^kref_", "counts what others hold")),
        ),
        Form(
            head(_at(r"(?:kernel/locking/lockdep|kernel/lockdep)\.c", r"\w*lock_\w*")),
            title="WARNING: locking bug in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("^_*(?:lock|release)_sock|^hlock", "locks for others"),),
        ),
        Form(
            head(_at(r"(?:kernel/locking/lockdep|kernel/lockdep)\.c", r"\w*")),
            title="WARNING in {function}",
            kind="lockdep",
            cause="lock-misuse",
            walk="named",
        ),
        Form(
            head(
                _at(
                    r"mm/(?:slab_common|slub|slab|page_alloc|util|slab)\.[ch]",
                    r"_*k?v?[mzc]alloc\w*",
                )
            ),
            title="WARNING: kmalloc bug in {function}",
            kind="warning",
            cause="warning",
        ),
        Form(
            head(_at(r"mm/vmalloc\.c", r"\w*vmalloc\w*")),
            title="WARNING: zero-size vmalloc in {function}",
            kind="warning",
            cause="warning",
            skip=(("vmalloc|vzalloc", "allocates for others"),),
        ),
        Form(
            head(_at(r"lib/list_debug\.c", r"\w*list_\w*")),
            title="WARNING in {function}",
            kind="warning",
            cause="list-corruption",
            walk="named",
        ),
        Form(
            head(_at(r"net/sched/sch_generic\.c", r"dev_watchdog\w*")),
            title="WARNING in {function}",
            kind="warning",
            cause="driver",
            walk="only-named",
        ),
        Form(
            head(rf"{_WHERE}\S+:\d+ (?:at )?(?P<function>usb_submit_urb)\+0x"),
            title="WARNING in {function}/usb_submit_urb",
            kind="warning",
            cause="warning",
            skip=(
                (
                    "^usb_submit_urb|^usb_start_wait_urb|^usb_bulk_msg|^usb_interrupt_msg|^usb_control_msg|^usb_internal_control",
                    "submits what others fill in",
                ),
            ),
        ),
        Form(
            head(rf"{_WHERE}\S+:\d+ (?:at )?(?!0x|at ){SYMBOL}"),
            title="WARNING in {function}",
            kind="warning",
            cause="warning",
            walk="named",
        ),
        Form(
            head(rf"{_WHERE}[\w./-]*lib/refcount\.c:\d+ at 0x0"),
            title="WARNING: refcount bug in {function}",
            kind="warning",
            cause="refcount",
            skip=(_BY, ("^kref_", "counts what others hold")),
        ),
        Form(
            head(rf"{_WHERE}\S+:\d+ at 0x[0-9a-f]+"),
            title="WARNING in {function}",
            kind="warning",
            cause="warning",
            walk="ip",
        ),
        Form(
            head(rf"WARNING: CPU: \d+ PID: \d+ at \S+ {SYMBOL}"),
            title="WARNING in {function}",
            kind="warning",
            cause="warning",
            walk="named",
        ),
        Form(
            head(r"WARNING: CPU:[^\n]*"),
            title="WARNING in {function}",
            kind="warning",
            cause="warning",
            walk="ip",
        ),
    ),
)
