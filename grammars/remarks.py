"""Single lines of a report: error codes and addresses of faults, work queues, accesses, locks, other dumps.

Each is a fact of its own kind; its value maps the names of the sentence's fields to their text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.element import Element
from kpanic.grammars.machines import Rule
from kpanic.grammars.sentence import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyparsing import ParserElement

    Build = Callable[[], ParserElement]

__all__ = ["RULES", "SENTENCES", "Remark"]


class Remark(dict[str, str]):
    """The fields of a remark; ``kind`` is the kind of its fact."""

    __slots__ = ("kind",)

    def __init__(self, kind: str, fields: dict[str, str | None]) -> None:
        super().__init__({name: text for name, text in fields.items() if text})
        self.kind = kind


SENTENCES: Final[dict[str, Sentence]] = {}
"""The remarks by their names."""
RULES: Final[list[Rule]] = []


def _remark(kind: str, lead: str = "") -> Callable[[Build], Build]:
    """Register the sentence that a function builds.

    :param lead: a regular expression for what the line begins with, if it is not one of a few texts.
    """

    def register(build: Build) -> Build:
        name = build.__name__
        sentence = SENTENCES[name] = Sentence(f"remarks.{name}", build)
        start = lead or f"(?:{'|'.join(map(re.escape, sentence.literals))})"
        RULES.append(
            Rule(name, start, Element(name, sentence.pattern, lambda match: Remark(kind, match.groupdict())))
        )
        return build

    return register


@_remark("error code")
def page_fault_code() -> ParserElement:
    """#PF: error_code(0x0002) - not-present page"""  # arch/x86/mm/fault.c, since 5.1
    return "#PF: error_code(0x" + k.hex_number("code") + ")" + k.rest_of_line


@_remark("error code")
def syndrome() -> ParserElement:
    """ESR = 0x96000004"""  # arch/arm64/mm/fault.c, below "Mem abort info:"
    return k.one_of("  ESR = 0x", "ESR = 0x") + k.hex_number("code") + k.rest_of_line


@_remark("fault address")
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


@_remark("fault address")
def failing_address() -> ParserElement:
    """Failing address: 0000000000000000 TEID: 0000000000000483"""  # arch/s390/mm/fault.c
    return "Failing address: " + k.hex_number("address") + k.rest_of_line


@_remark("fault address")
def faulting_instruction_address() -> ParserElement:
    """Faulting instruction address: 0xc0000000008e5c68"""  # arch/powerpc/mm/fault.c
    return "Faulting instruction address: 0x" + k.hex_number("address") + k.rest_of_line


@_remark("stack overrun")
def overran() -> ParserElement:
    """Thread overran stack, or stack corrupted"""  # arch/x86/mm/fault.c, before 4.9
    return "Thread overran stack" + k.rest_of_line


@_remark("range")
def kasan_range() -> ParserElement:
    """KASAN: null-ptr-deref in range [0x0000000000000010-0x0000000000000017]

    KASAN: maybe wild-memory-access in range [0x00badbeefbadbee8-0x00badbeefbadbeef]
    """  # arch/x86/mm/kasan_init_64.c, mm/kasan/report.c: kasan_non_canonical_hook
    what = k.Combine(k.Opt(k.one_of("maybe ", "probably ")) + k.Regex(r"[\w-]+"))
    ends = k.hex_number("address") + "-0x" + k.hex_number + "]"
    return "KASAN: " + what("what") + " in range [0x" + ends + k.rest_of_line


@_remark("work queue")
def workqueue() -> ParserElement:
    """Workqueue: events_unbound async_run_entry_fn"""  # kernel/workqueue.c: print_worker_info
    return "Workqueue: " + k.any_text("name")


@_remark("no stack")
def no_stack() -> ParserElement:
    """(stack is not available)"""  # mm/kasan/report.c
    return k.Literal("(stack is not available)")


@_remark("access")
def access() -> ParserElement:
    """Read of size 8 at addr ffff888011a4f010 by task worker/123"""  # mm/kasan/report.c
    deed = k.one_of("Read of size ", "Write of size ") + k.number("size")
    return deed + " at addr " + k.hex_number("address") + k.rest_of_line


@_remark("lock")
def held_lock() -> ParserElement:
    """But task is already holding lock:"""  # kernel/locking/lockdep.c
    return "but task is already holding lock" + k.rest_of_line


@_remark("lock", lead=r"\S{1,48}/\d+ is trying to ")
def wanted_lock() -> ParserElement:
    """worker/123 is trying to acquire lock:"""  # kernel/locking/lockdep.c
    return k.word("task") + k.Literal(" is trying to ") + k.rest_of_line


@_remark("other dump")
def injected_failure() -> ParserElement:
    """FAULT_INJECTION: forcing a failure."""  # lib/fault-inject.c
    return "FAULT_INJECTION: forcing a failure" + k.rest_of_line


@_remark("other dump")
def no_retry() -> ParserElement:
    """FAULT_FLAG_ALLOW_RETRY missing 30"""  # fs/userfaultfd.c
    return "FAULT_FLAG_ALLOW_RETRY missing" + k.rest_of_line


@_remark("other dump", lead=r"[^\s:]{1,32}: vmalloc: allocation failure: ")
def vmalloc_failure() -> ParserElement:
    """worker: vmalloc: allocation failure: 0 bytes, mode:0xdc0(GFP_KERNEL|__GFP_ZERO)"""  # mm/vmalloc.c
    return k.UpTo(": vmalloc: ")("task") + ": vmalloc: allocation failure: " + k.rest_of_line
