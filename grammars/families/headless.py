"""Reports without a header, recognised by the lines below it.

The header is lost where a login prompt shares its line, the ring buffer wrapped, or a datagram went missing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.data import reasons
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

FIRST: Final = frozenset({*range(1, 30, 2), *range(2, 30, 3)})
"""Register numbers that begin a line of two or three registers on arm64."""
LEFT: Final = (
    *("Modules linked in", "CPU: ", "Pid: ", "PID: ", "Hardware name: ", "Process ", "task: ", "Workqueue: "),
    *(
        "RIP: ",
        "RIP:",
        "RIP  [",
        "RIP [<",
        "RIP[<",
        "EIP: ",
        "NIP: ",
        "NIP [",
        "pc : ",
        "PC is at ",
        "epc : ",
        "epc   : ",
        "Krnl PSW : ",
    ),
    *("RSP: ", "RAX: ", "RDX: ", "EAX: ", "GPR00: ", "$ 0   : ", "sp : ", "r10: ", "Code: "),
    *(f"x{number}: " for number in range(29, 9, -1) if number in FIRST),
    *(f"x{number} : " for number in range(9, -1, -1) if number in FIRST),
    *("ra    : ", "Status: ", "BadVA : "),  # mips
    *("Call Trace:", "Call trace:", "Backtrace:", "Stack:"),
)
"""Beginnings of the lines that may follow a missing header."""

headless = Family("headless", last=True, before=96)
summary = Family("summary", last=True, before=96, inner=True)
ended = Family("ended", last=True, before=96, inner=True)
remains = Family("remains", scanned=False)


@headless.form(
    title="INFO: trying to register non-static key in {function}",
    kind="lockdep",
    cause="lock-misuse",
    skip=(("stack|lock|IRQ", reasons.LOCKS),),
)
def lockdep_annotation() -> ParserElement:
    """the code is fine but needs lockdep annotation, or maybe"""
    return "the code is fine but needs lockdep annotation" + k.rest_of_line


@headless.form(
    title="BUG: using smp_processor_id() in preemptible code in {function}",
    kind="lockdep",
    cause="lock-misuse",
    skip=(("dump|preempt|smp_processor_id|this_cpu", "is a debug check"),),
)
def caller() -> ParserElement:
    """caller is debug_smp_processor_id+0x1c/0x1e
    CPU: 0 PID: 1 Comm: init Not tainted 4.4.0 #1
    """
    checks = k.Regex(r"\w*(?:this_cpu|smp_processor_id)\w*")
    return "caller is " + checks + "+0x" + k.rest_of_line + "\n" + k.FollowedBy("CPU: ")


@headless.form(title="INFO: rcu detected stall in {function}", kind="stall", cause="rcu-stall", walk="stall")
def stalled() -> ParserElement:
    """ticks this GP) idle=12e/140000000000001/0 softirq=123/123 fqs=5250

    (detected by 1, t=21002 jiffies, g=1, c=0, q=5)
    """
    detected = "(detected by " + k.number + ", t=" + k.number + " jiffies"
    return ("ticks this GP) idle=" | detected) + k.rest_of_line


_die = partial(headless.form, title="Oops in {function}", kind="oops", cause="unknown", walk="ip")


@_die()
def arm_registers() -> ParserElement:
    """PC is at write_breakme+0xd0/0x1b4
    LR is at write_breakme+0xc8/0x1b4
    Process bash (pid: 1014, stack limit = 0xf4e0c2f8)
    """  # arch/arm/kernel/traps.c: only die() prints a process with its stack limit
    limit = k.UpTo(", stack limit = ") + ", stack limit = "
    return "PC is at " + k.symbol + k.later("Process " + limit, within=24)


@headless.form(
    title="BUG: unable to handle kernel NULL pointer dereference in {function}",
    kind="oops",
    cause="null-dereference",
    walk="ip",
)
def debugger_null() -> ParserElement:
    """cpu 0x0: Vector: 300 (Data Access) at [c00000000111f7d0]
    dar: 0
    """
    page = k.Regex("[0-9a-f]{1,3}(?![0-9a-f])")("address")
    return _debugger(k.one_of("300", "380")) + k.later("dar: " + page, within=6)


@headless.form(
    title="BUG: unable to handle kernel paging request in {function}",
    kind="oops",
    cause="bad-pointer",
    walk="ip",
)
def debugger_access() -> ParserElement:
    """cpu 0x0: Vector: 300 (Data Access) at [c00000000111f7d0]
    dar: c0080000003500a0
    """
    return _debugger(k.one_of("300", "380")) + k.later("dar: " + k.address, within=6)


@_die(detail="{what}")
def debugger() -> ParserElement:
    """cpu 0x13: Vector: 700 (Program Check) at [c000000f1c0f3a10]"""
    return _debugger(k.hex_number) + k.rest_of_line


def _debugger(vector: ParserElement) -> ParserElement:
    """Return the line that xmon prints for an exception (arch/powerpc/xmon/xmon.c: excprint())."""
    what = k.Regex(r" +\(") + k.Regex(r"[^)\n]*")("what") + ")"
    return "cpu 0x" + k.hex_number + ": Vector: " + vector + what


@_die()
def mips_process() -> ParserElement:
    """Process kworker/0:0 (pid: 4, threadinfo=84042000, task=8402d440, tls=00000000)"""  # show_registers()
    task = k.Regex(r" \(pid: \d+, threadinfo=")
    return "Process " + k.UpTo(task, least=1, most=64) + task


@remains.form(title="Oops in {function}", kind="oops", cause="unknown", walk="ip")
def left() -> ParserElement:
    """CPU: 4 PID: 630 Comm: NetworkManager Tainted: G        W  OE     5.10.120-tegra #1"""
    return k.one_of(*LEFT) + k.rest_of_line


@remains.form(title="Oops in {function}", kind="oops", cause="unknown", walk="ip")
def frames() -> ParserElement:
    """drm_modeset_lock_all_ctx+0x1b0/0x3d0"""  # the last frames of a backtrace
    address = k.Regex(r"(?:\[<[0-9a-f]{8,16}>\] )?(?:\? )?")
    return address + k.symbol_name + k.Regex(r"\+0x[0-9a-f]+/0x[0-9a-f]+") + k.rest_of_line


@summary.form(title="Oops in {function}", kind="oops", cause="unknown", walk="ip")
def executive_summary() -> ParserElement:
    """---[ end trace 0000000000000000 ]---
    RIP: 0010:boom_read+0x1/0x2
    """  # x86 repeats the registers of an oops that may have scrolled away (arch/x86/kernel/dumpstack.c)
    return "---[ end trace " + k.later("RIP: ", within=1)


@ended.form(title="Oops in {function}", kind="oops", cause="unknown", walk="ip")
def end() -> ParserElement:
    """---[ end trace 566410ba90b50e8b ]---"""
    return "---[ end trace " + k.rest_of_line


@ended.form(title="Oops in {function}", kind="oops", cause="unknown", walk="ip")
def x86_64_process() -> ParserElement:
    """Process scsi_eh_0 (pid: 491, threadinfo ffff881057eee000, task ffff881057e29540)"""
    # show_registers() of arch/x86/kernel/dumpstack_64.c, before 3.11
    task = k.Regex(r" \(pid: \d+, threadinfo ffff")
    return "Process " + k.UpTo(task, least=1, most=64) + task + k.rest_of_line


@_die()
def i386_end() -> ParserElement:
    """EIP: [<c0123456>] boom_read+0x1/0x2 SS:ESP 0068:c0a80000"""  # die() repeats EIP at its end
    return "EIP: [<" + k.hex_number + ">] " + k.symbol + k.UpTo(" SS:ESP ") + " SS:ESP "


@_die()
def x86_64_end() -> ParserElement:
    """RIP  [<ffffffff81234567>] boom_read+0x1/0x2
    RSP <ffff880012345678>
    """  # die(), before 4.18
    return "RIP  [<" + k.hex_number + ">] " + k.symbol + k.later("RSP <", within=1)
