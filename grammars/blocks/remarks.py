"""Single lines of a report: addresses of faults, work queues, accesses, locks, other dumps.

The value of such a fact maps the names of the sentence's fields to their text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["BLOCKS"]


@block("fault address", dict)
def page_fault_address() -> ParserElement:
    """BUG: unable to handle page fault for address: ffffc90000010000

    BUG: unable to handle kernel paging request at ffffc90000010000

    BUG: unable to handle kernel NULL pointer dereference at           (null)
    """  # arch/x86/mm/fault.c
    what = k.one_of(
        "page fault for address: ", "kernel paging request at ", "kernel NULL pointer dereference at "
    )
    where = k.spaces + (k.Literal("(null)")("null") | k.hex_number("address"))
    return k.one_of("BUG: unable to handle ", "Unable to handle ") + what + where + k.rest_of_line


@block("range", dict)
def kasan_range() -> ParserElement:
    """KASAN: null-ptr-deref in range [0x0000000000000010-0x0000000000000017]

    KASAN: maybe wild-memory-access in range [0x00badbeefbadbee8-0x00badbeefbadbeef]
    """  # arch/x86/mm/kasan_init_64.c, mm/kasan/report.c: kasan_non_canonical_hook
    what = k.Combine(k.Opt(k.one_of("maybe ", "probably ")) + k.Regex(r"[\w-]+"))
    ends = k.hex_number("address") + "-0x" + k.hex_number + "]"
    return "KASAN: " + what("what") + " in range [0x" + ends + k.rest_of_line


@block("work queue", dict)
def workqueue() -> ParserElement:
    """Workqueue: events_unbound async_run_entry_fn"""  # kernel/workqueue.c: print_worker_info
    return "Workqueue: " + k.any_text("name")


@block("no stack", dict)
def no_stack() -> ParserElement:
    """(stack is not available)"""  # mm/kasan/report.c
    return k.Literal("(stack is not available)")


@block("access", dict)
def access() -> ParserElement:
    """Read of size 8 at addr ffff888011a4f010 by task worker/123

    Write at addr f7ff000001234567 by task worker/123
    """  # mm/kasan/report.c; the second of tag-based KASAN
    deed = k.one_of("Read", "Write")("deed") + k.Opt(" of size " + k.number("size"))
    task = k.Opt(" by task " + k.any_text("task"))
    return deed + " at addr " + k.hex_number("address") + task + k.rest_of_line


@block("lock", dict)
def held_lock() -> ParserElement:
    """but task is already holding lock:"""  # kernel/locking/lockdep.c
    return "but task is already holding lock" + k.rest_of_line


@block("lock", dict)
def wanted_lock() -> ParserElement:
    """worker/123 is trying to acquire lock:"""  # kernel/locking/lockdep.c
    return k.word("task") + k.Literal(" is trying to ") + k.rest_of_line


@block("other dump", dict)
def injected_failure() -> ParserElement:
    """FAULT_INJECTION: forcing a failure."""  # lib/fault-inject.c
    return "FAULT_INJECTION: forcing a failure" + k.rest_of_line


@block("other dump", dict)
def no_retry() -> ParserElement:
    """FAULT_FLAG_ALLOW_RETRY missing 30"""  # fs/userfaultfd.c
    return "FAULT_FLAG_ALLOW_RETRY missing" + k.rest_of_line


@block("other dump", dict)
def vmalloc_failure() -> ParserElement:
    """worker: vmalloc: allocation failure: 0 bytes, mode:0xdc0(GFP_KERNEL|__GFP_ZERO)"""  # mm/vmalloc.c
    return k.Regex(r"[^\s:]{1,32}")("task") + ": vmalloc: allocation failure: " + k.rest_of_line


BLOCKS: Final = (
    page_fault_address,
    kasan_range,
    workqueue,
    no_stack,
    access,
    held_lock,
    wanted_lock,
    injected_failure,
    no_retry,
    vmalloc_failure,
)
