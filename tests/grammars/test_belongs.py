"""Which lines belong together: by clocks, boots, copies, floods, and severity of a report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import parse
from kpanic.grammars.incident import LINES

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars import CrashReport

WARNING = """\
WARNING: CPU: 3 PID: 371 at drivers/widget/main.c:725 widget_check+0x47/0xaa0
CPU: 3 PID: 371 Comm: worker Not tainted 5.10.0-8-amd64 #1 Debian 5.10.46-4
RIP: 0010:widget_check+0x47/0xaa0
Call Trace:
 widget_poll+0x11b/0x140
---[ end trace 5cc209277d97aabe ]---
"""
OOPS = """\
BUG: unable to handle page fault for address: ffffc90000010000
Oops: 0000 [#1] SMP PTI
CPU: 7 PID: 284 Comm: gadget Not tainted 5.10.0-8-amd64 #1 Debian 5.10.46-4
RIP: 0010:gadget_read+0x4e/0x55
Call Trace:
 gadget_ioctl+0x1b/0xa0
---[ end trace 5cc209277d97aabf ]---
"""
LOCKUP = """\
watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [worker:371]
CPU: 3 PID: 371 Comm: worker Not tainted 5.10.0-8-amd64 #1 Debian 5.10.46-4
RIP: 0010:widget_spin+0x47/0xaa0
Call Trace:
 widget_spin+0x11b/0x140
 vfs_read+0x11b/0x140
 do_syscall_64+0x33/0x40
"""
MACHINE_CHECK = """\
Kernel panic - not syncing: Fatal machine check
CPU: 7 PID: 0 Comm: swapper/7 Tainted: G   M    W  5.10.0-8-amd64 #1 Debian 5.10.46-4
Call Trace:
 panic+0x10c/0x2a0
"""
FATAL_EXCEPTION = "Kernel panic - not syncing: Fatal exception\n"
FIRST = datetime(2026, 11, 22, 18, 53, 41, tzinfo=UTC).timestamp()


def at(seconds: float, form: str) -> str:
    moment = datetime.fromtimestamp(FIRST + seconds, UTC)
    return moment.strftime(form)


CLOCKS: dict[str, Callable[[float], str]] = {
    "printk": lambda seconds: f"[{100 + seconds:12.6f}] ",
    "dmesg -T": lambda seconds: at(seconds, "[%a %b %d %H:%M:%S %Y] "),
    "dmesg -T, another language": lambda seconds: at(seconds, "[Вс ноя %d %H:%M:%S %Y] "),  # noqa: RUF001
    "syslog": lambda seconds: at(seconds, "%b %d %H:%M:%S web1 kernel: "),
    "ISO syslog": lambda seconds: at(seconds, "%Y-%m-%dT%H:%M:%S+00:00 web1 kernel: "),
    "ISO syslog without a zone": lambda seconds: at(seconds, "%Y-%m-%dT%H:%M:%S web1 kernel: "),
}


def printed(text: str, seconds: float, clock: str = "printk") -> str:
    return "".join(f"{CLOCKS[clock](seconds)}{line}\n" for line in text.splitlines())


def titles(*texts: str) -> list[str]:
    return [crash.title for crash in parse("".join(texts))]


WARNED = "WARNING in widget_check"
FAULTED = "BUG: unable to handle kernel paging request in gadget_read"
LOCKED = "BUG: soft lockup in widget_spin"


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("hours", [0.05, 1, 7])
def test_reports_far_apart_are_two_by_any_clock(clock: str, hours: float) -> None:
    assert titles(printed(WARNING, 0, clock), printed(OOPS, hours * 3600, clock)) == [WARNED, FAULTED]
    assert titles(printed(OOPS, 0, clock), printed(OOPS, hours * 3600, clock)) == [FAULTED, FAULTED]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_report_that_comes_at_once_follows_from_the_first_by_any_clock(clock: str) -> None:
    (crash,) = parse(printed(WARNING, 0, clock) + printed(OOPS, 1, clock))
    assert (crash.title, crash.consequences) == (WARNED, (FAULTED,))


@pytest.mark.parametrize(
    ("first", "then", "seconds", "expected"),
    [
        (WARNING, MACHINE_CHECK, 10, [WARNED, "kernel panic: Fatal machine check"]),
        (LOCKUP, OOPS, 10, [LOCKED, FAULTED]),
        (WARNING, LOCKUP, 18, [WARNED, LOCKED]),
        (LOCKUP, LOCKUP, 28, [LOCKED]),
        (OOPS, FATAL_EXCEPTION, 8, [FAULTED]),
        (OOPS, WARNING, 10, [FAULTED]),
        (WARNING, WARNING, 10, [WARNED]),
    ],
)
def test_a_graver_report_is_not_the_consequence_of_one_that_did_no_harm(
    first: str, then: str, seconds: float, expected: list[str]
) -> None:
    assert titles(printed(first, 0), printed(then, seconds)) == expected


def test_a_division_by_zero_that_arms_kernel_survives_is_a_warning() -> None:
    division, oops = parse(
        """\
[    0.621481] Division by zero in kernel.
[    0.621487] CPU: 0 PID: 1 Comm: swapper Not tainted 6.1.0-50-rpi #1  Debian 6.1.176-1
[    0.621526]  unwind_backtrace from show_stack+0x18/0x1c
[    0.621570]  show_stack from dump_stack_lvl+0x24/0x2c
[    0.621614]  dump_stack_lvl from Ldiv0+0x8/0x10
[    0.621666]  Ldiv0 from clk_bcm2835_i2c_recalc_rate+0x30/0x34
[    0.621714]  clk_bcm2835_i2c_recalc_rate from __clk_register+0x5a0/0x924
[    5.838174] Unhandled fault: page domain fault (0x01b) at 0x00000010
[    5.838267] Internal error: : 1b [#1] ARM
[    5.838410] PC is at widget_read+0x10/0x24 [widget]
[    5.840014]  widget_read [widget] from vfs_write+0xb8/0x380
[    5.840527] Kernel panic - not syncing: Fatal exception
"""
    )
    assert (division.kind, division.fatal, division.blame.function) == (
        "warning",
        False,
        "clk_bcm2835_i2c_recalc_rate",
    )
    assert (oops.cause, oops.fatal, oops.blame.function) == ("null-dereference", True, "widget_read")


def test_without_a_clock_an_oops_does_not_follow_from_a_lockup() -> None:
    assert titles(LOCKUP, "br0: port 83(vnet162) entered forwarding state\n", OOPS) == [LOCKED, FAULTED]
    assert titles(WARNING, OOPS) == [WARNED]


@pytest.mark.parametrize("clock", [None, *CLOCKS])
def test_a_flood_does_not_hide_the_oops_that_ended_it(clock: str | None) -> None:
    count = LINES // len(WARNING.splitlines()) + 10
    if clock is None:
        found = list(parse(WARNING * count + OOPS + FATAL_EXCEPTION))
    else:
        flood = [printed(WARNING, 0.5 * number, clock) for number in range(count)]
        found = list(parse("".join(flood) + printed(OOPS + FATAL_EXCEPTION, 0.5 * count, clock)))
    assert (found[-1].title, found[-1].fatal) == (FAULTED, True)
    assert len(found) == 2
    assert found[0].truncated


def test_a_panic_and_a_clock_that_goes_back_a_little_is_another_boot() -> None:
    panic = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00\n"
    text = printed(panic, -97.6) + printed("vda: vda1", -98.3) + printed(panic, -96.4)
    assert titles(text) == ["kernel panic: Attempted to kill init!"] * 2


def test_clocks_of_two_processors_are_a_little_apart() -> None:
    assert titles(printed(LOCKUP, 1.4), printed("NMI backtrace for cpu 1", 0), printed(LOCKUP, 1.5)) == [
        LOCKED
    ]


BANNER = "Linux version 6.18.0 (builder@host) (gcc 12) #1 SMP"


def test_the_banner_behind_a_crash_is_of_the_next_boot() -> None:
    (crash,) = parse(OOPS.replace("Not tainted 5.10.0-8-amd64 #1 Debian 5.10.46-4", "") + f"{BANNER}\n")
    assert crash.kernel.banner == ""
    (crash,) = parse(printed(OOPS, 0) + f"[    0.000000] {BANNER}\n")
    assert (crash.kernel.release, crash.fatal) == ("5.10.0-8-amd64", False)


def test_a_boot_that_begins_in_the_midst_of_a_line_proves_that_the_one_before_died() -> None:
    (crash,) = parse(printed(OOPS, 0) + f"[12[    0.117676] {BANNER}\n")
    assert crash.fatal
    (crash,) = parse(printed(OOPS, 0) + f"web1 login: [    0.117676] {BANNER}\n")
    assert not crash.fatal


def test_a_copy_of_the_first_lines_and_then_the_whole_is_one_crash() -> None:
    whole = printed(OOPS, 0)
    head = "".join(whole.splitlines(keepends=True)[:3])
    for text in (head + whole, whole + head, head + "and the whole log:\n\n" + whole):
        (crash,) = parse(text)
        assert (crash.title, crash.status) == (FAULTED, "complete")
        assert len(crash.lines) >= len(OOPS.splitlines())
    older = printed("EXT4-fs (dm-2): mounted filesystem", -90)
    (crash,) = parse(head + older + whole)
    assert crash.kernel.release == "5.10.0-8-amd64"


def test_output_of_the_crash_utility_is_not_the_kernel_s() -> None:
    said = (
        "crash> sys | grep -e RELEASE -e PANIC\n"
        "     RELEASE: 5.10.0-8-amd64\n"
        '       PANIC: "BUG: unable to handle page fault for address: ffffc90000010000"\n'
        "  STATE: TASK_RUNNING (PANIC)\n"
    )
    (crash,) = parse(printed(OOPS, 0) + said)
    assert (crash.title, crash.fatal, crash.consequences) == (FAULTED, True, ())
    assert not any("PANIC" in line.text for line in crash.lines)
    first, last = parse(printed(WARNING, 0) + printed(OOPS, 100) + said)
    assert (first.fatal, last.fatal) == (False, True)


BROADCAST = """\
Message from syslogd@server2 at Jan 27 12:46:38 ...
 kernel:NMI watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [api:102738]

Message from syslogd@server2 at Jan 27 19:26:19 ...
 kernel:NMI watchdog: BUG: soft lockup - CPU#5 stuck for 26s! [swapper/5:0]
"""


def test_broadcasts_are_reports_of_one_line() -> None:
    crashes: list[CrashReport] = list(parse(BROADCAST))
    assert [(crash.cause, crash.host) for crash in crashes] == [("soft-lockup", "server2")] * 2


def test_a_broadcast_that_a_mail_program_broke_is_one_line() -> None:
    crashes = list(parse(BROADCAST.replace("22s! [api", "22s!\n[api")))
    assert crashes[0].reason.endswith("[api:102738]")
    assert crashes[0].repaired


def test_a_broadcast_beside_the_log_is_no_second_crash() -> None:
    assert titles(BROADCAST, printed(LOCKUP, 0)) == [LOCKED]
    assert titles(printed(LOCKUP, 0), BROADCAST) == [LOCKED]


def test_the_journals_broadcast() -> None:
    text = (
        "Broadcast message from systemd-journald@web1 (Sun 2026-11-22 18:53:41 UTC):\n\n"
        "kernel[77]: [   12.345678] Kernel panic - not syncing: Fatal machine check\n"
    )
    (crash,) = parse(text)
    assert (crash.title, crash.host) == ("kernel panic: Fatal machine check", "web1")


QUOTED = """\
```
[    1.100000] BUG: kernel NULL pointer dereference, address: 0000000000000010
[    1.100001] Oops: 0002 [#1] SMP
[    1.100002] RIP: 0010:widget_read+0x1/0x20
```
and then
```
[    1.100003] Call Trace:
[    1.100004]  widget_poll+0x1/0x20
[    1.100005] ---[ end trace 0000000000000000 ]---
[    1.200000] Kernel panic - not syncing: Fatal exception
```
"""


def test_a_crash_that_is_quoted_in_parts_is_one() -> None:
    (crash,) = parse(QUOTED)
    assert (crash.title.rpartition(" ")[2], crash.fatal) == ("widget_read", True)


def test_crashes_that_are_quoted_apart_are_two() -> None:
    other = QUOTED.replace("1.1", "1.3").replace("1.2", "1.4").replace("widget_read", "gadget_read")
    assert [crash.blame.function for crash in parse(QUOTED + other)] == ["widget_read", "gadget_read"]


def test_an_earlier_report_that_is_quoted_below_a_crash_is_its_own() -> None:
    warning = """\
above it I found
```
[    1.050000] ------------[ cut here ]------------
[    1.050001] WARNING: CPU: 0 PID: 7 at mm/widget.c:14 widget_free+0xb8/0xdc
```
"""
    crashes = list(parse(QUOTED + warning))
    assert [crash.blame.function for crash in crashes] == ["widget_read", "widget_free"]
    assert [crash.fatal for crash in crashes] == [True, False]
    assert [fact.value for fact in crashes[0].followed_by] == ["kernel panic: Fatal exception"]


def test_a_log_with_the_newest_line_first_is_turned_round() -> None:
    lines = [line for line in QUOTED.splitlines() if line.startswith("[")]
    (crash,) = parse("\n".join(reversed(lines)))
    assert (crash.blame.function, crash.fatal, crash.status) == ("widget_read", True, "complete")


def test_a_second_crash_of_a_kernel_that_panics_is_not_where_the_first_one_was() -> None:
    (crash,) = parse(
        "[    2.000000] Kernel panic - not syncing: sysrq triggered crash\n"
        "[    2.100000] Internal error: synchronous external abort: 96000210 [#1] SMP\n"
        "[    2.100001] pc : widget_mask+0x50/0x80\n"
    )
    assert (crash.ip, crash.oops, crash.kernel.architecture) == (None, None, "aarch64")
    assert [fact.value for fact in crash.followed_by] == ["Internal error in widget_mask"]


@pytest.mark.parametrize("oops", [OOPS, "the screen says " + OOPS.replace("Oops: 0000 [#1] SMP PTI\n", "")])
@pytest.mark.parametrize("between", ["", "and above it I see this:\n\n" + "…\n" * 4])
def test_a_panic_that_is_typed_off_before_its_oops_follows_it_all_the_same(between: str, oops: str) -> None:
    (turned,) = parse(FATAL_EXCEPTION + between + oops)
    (right,) = parse(oops + FATAL_EXCEPTION)

    assert (turned.title, turned.reason) == (right.title, right.reason)
    assert (turned.status, turned.fatal) == (right.status, right.fatal)
    assert [fact.value for fact in turned.followed_by] == ["kernel panic: Fatal exception"]
    assert turned.followed_by[0].lines[0].number == 1
