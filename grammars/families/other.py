"""Reports that no other family covers, and generic BUG and Oops headers as the last resort."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

net = Family("net")
_net = partial(net.form, cause="driver")


@_net(title="unregister_netdevice: waiting for DEV to become free", kind="hang", walk="none", traceless=True)
def device_in_use() -> ParserElement:
    """unregister_netdevice: waiting for lo to become free. Usage count = 5"""
    free = " to become free"
    return "unregister_netdevice: waiting for " + k.UpTo(free, least=1, most=64) + free + k.rest_of_line


@_net(title="WARNING in {function}", kind="warning", walk="only-named")
def transmit_queue_warned() -> ParserElement:
    """NETDEV WATCHDOG: eth0 (r8169): transmit queue 0 timed out
    WARNING: CPU: 0 PID: 0 at net/sched/sch_generic.c:525 dev_watchdog+0x1/0x2
    """  # before 6.6 and since
    watchdog = " " + k.Literal("dev_watchdog")("function") + "+0x"
    return "NETDEV WATCHDOG: " + k.later("WARNING: " + k.UpTo(watchdog) + watchdog, within=3)


@_net(title="NETDEV WATCHDOG: transmit queue timed out", kind="warning", walk="none", traceless=True)
def transmit_queue() -> ParserElement:
    """NETDEV WATCHDOG: eth0 (r8169): transmit queue 0 timed out 5008 ms"""
    return "NETDEV WATCHDOG: " + k.UpTo("timed out") + "timed out" + k.rest_of_line


irq = Family("irq")


@irq.form(title="irq NUM: nobody cared", kind="warning", cause="driver", walk="none")
def nobody_cared() -> ParserElement:
    """: nobody cared (try booting with the "irqpoll" option)"""  # kernel/irq/spurious.c, behind "irq 16"
    return ": nobody cared (try booting with the " + k.rest_of_line


gpu = Family("gpu")


@gpu.form(title="GPU hang", kind="hang", cause="driver", walk="none", traceless=True)
def gpu_hang() -> ParserElement:
    """GPU HANG: ecode 9:1:85dffffb, in Xorg [1234]

    timeout, signaled seq=1, emitted seq=3
    """  # i915; amdgpu, behind "*ERROR* ring gfx"
    return k.one_of("GPU HANG: ecode ", "timeout, signaled seq=") + k.rest_of_line


unwinder = Family("unwinder")
_unwinder = partial(unwinder.form, kind="warning", cause="warning", walk="none", traceless=True)


@_unwinder(title="WARNING: kernel stack regs has bad '{what}' value")
def bad_register() -> ParserElement:
    """WARNING: kernel stack regs at ffffc90000010000 in bash:1 has bad 'bp' value 0000000000000000"""
    has = " has bad '" + k.Regex(r"[^'\n]+")("what") + "' value"
    return (
        "WARNING: kernel stack regs at " + k.hex_number + " in " + k.UpTo(has, most=80) + has + k.rest_of_line
    )


@_unwinder(title="WARNING: kernel stack frame pointer has bad value")
def bad_frame_pointer() -> ParserElement:
    """WARNING: kernel stack frame pointer at ffffc90000010000 in bash:1 has bad value 0000000000000000"""
    task = k.Regex(r"\S+")
    return "WARNING: kernel stack frame pointer at " + k.hex_number + " in " + task + " has bad value"


@_unwinder(title="WARNING: kernel stack regs has bad value")
def bad_value_somewhere() -> ParserElement:
    """WARNING: kernel stack frame pointer at         (ptrval) in bash:1 has bad value         (ptrval)"""
    return (
        "WARNING: kernel stack "
        + k.one_of("regs at ", "frame pointer at ")
        + k.UpTo(" has bad", most=200)
        + " has bad"
        + k.rest_of_line
    )


harness = Family("harness")
_harness = partial(harness.form, kind="bug", cause="explicit-panic")
_message = partial(_harness, walk="none", traceless=True)


@_message(title="{what}")
def syzkaller() -> ParserElement:
    """SYZFAIL: wrong response packet"""
    return k.Combine(k.one_of("SYZFAIL: ", "SYZFATAL: ") + k.rest_of_line)("what")


def _trusty() -> ParserElement:
    return "trusty: panic (" + k.Regex(r"[^)\n]*") + "):"


@_message(title="trusty: ASSERT FAILED: {what}")
def trusty_assertion() -> ParserElement:
    """trusty: panic (caller 0xffff0000): DEBUG ASSERT FAILED at (lib/a.c:12): x != 0"""
    at = " ASSERT FAILED at (" + k.Regex(r"[^)\n]*") + "): "
    return _trusty() + k.Opt(" DEBUG") + at + k.any_text("what")


@_harness(title="trusty: ASSERT FAILED:", corrupted="the message of the secure world is incomplete")
def trusty_pieces() -> ParserElement:
    """trusty: panic (caller 0xffff0000): ASSERT FAILED"""
    return "trusty: panic" + k.UpTo("ASSERT FAILED") + "ASSERT FAILED" + k.rest_of_line


@_message(title="trusty: panic: {what}")
def trusty_panic() -> ParserElement:
    """trusty: panic (caller 0xffff0000): out of memory"""
    return _trusty() + " " + k.any_text("what")


slab_pieces = Family("slab-pieces")


@slab_pieces.form(
    title="{what}",
    kind="sanitizer",
    cause="slab-corruption",
    corrupted="the report that it belongs to is missing",
)
def piece() -> ParserElement:
    """INFO: Allocated in boom_alloc+0x1/0x2 age=1 cpu=0 pid=1"""
    piece = k.one_of("Allocated in ", "Freed in ", "Slab 0x", "Object 0x")
    return k.Combine("INFO: " + piece + k.rest_of_line)("what")


reset = Family(
    "reset",
    ignore=r"\S.*SeaBIOS",
    ignore_after=r"^\s*$|[Rr]eboot|[Rr]estart|[Pp]ower|[Hh]alt|end Kernel panic|[Ss]hut",
    last=True,
)


@reset.form(title="unexpected kernel reboot", kind="unknown", cause="unknown", walk="none", traceless=True)
def firmware() -> ParserElement:
    """SeaBIOS (version 1.16.2-debian-1.16.2-1)"""
    return "SeaBIOS (version" + k.rest_of_line


device = Family("device", ignore=r"^(?!\w[\w-]* [\w.:-]*\d: WARNING: )", last=True)


@device.form(title="{what}", kind="warning", cause="driver", walk="none", traceless=True)
def device_warning() -> ParserElement:
    """WARNING: power management is broken"""  # behind "driver 0000:00:02.0: "
    return k.Combine("WARNING: " + k.any_text)("what")


generic = Family(
    "generic",
    # word boundaries are lookbehinds: a search for patterns that begin with letters is fast
    ignore=r"BUG: KASAN|DEBUG: (?<=\bDEBUG: )|Oops: Fatal exception(?<=\bOops: Fatal exception)",
    last=True,
)
_oops = partial(generic.form, kind="oops", walk="ip")


@_oops(title="BUG: unable to handle kernel NULL pointer dereference in {function}", cause="null-dereference")
def sysrq_write() -> ParserElement:
    """Oops: 0002 [#1] SMP
    RIP: 0010:sysrq_handle_crash+0x16/0x20
    """  # before 5.1, SysRq crashes the kernel by a write to NULL
    return "Oops: 0002 [" + k.Opt("#") + k.number + "]" + k.later("sysrq_handle_crash+0x", within=26)


@_oops(title="BUG: unable to handle kernel paging request in {function}", cause="bad-pointer")
def error_code() -> ParserElement:
    """Oops: 0002 [#1] SMP"""
    return (
        "Oops: " + k.Regex(r"[0-9a-f]{4}(?= )")("code") + " [" + k.Opt("#") + k.number + "]" + k.rest_of_line
    )


@_oops(title="Oops in {function}", cause="bad-pointer", detail="{what}")
def bad_area() -> ParserElement:
    """Oops: Kernel access of bad area, sig: 11 [#1]"""  # powerpc
    sig = ", sig: 11 "
    return "Oops: " + k.UpTo(sig, least=2)("what") + sig + k.rest_of_line


@_oops(title="Oops in {function}", cause="unknown")
def oops() -> ParserElement:
    """Oops: 0000000b [#1]

    Oops[#1]:
    """
    code = k.Regex(r"[0-9a-f]{4,8}(?= )")("code")
    return k.one_of("Oops: ", "Oops[#") + k.Opt(code) + k.rest_of_line


@generic.form(title="{what}", kind="bug", cause="unknown")
def bug() -> ParserElement:
    """BUG: something that nobody knows"""
    return k.Combine("BUG: " + k.any_text)("what")
