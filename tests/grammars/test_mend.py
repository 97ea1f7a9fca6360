"""Lines that a mail program, a terminal or a transfer encoding broke are read as the kernel printed them."""

from __future__ import annotations

import quopri
import re
import textwrap
from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars import CrashReport

REPORT = """\
BUG: unable to handle page fault for address: ffffc90000010000
#PF: supervisor read access in kernel mode
#PF: error_code(0x0000) - not-present page
PGD 100000067 P4D 100000067 PUD 1001b0067 PMD 1001b1067 PTE 0
Oops: 0000 [#1] PREEMPT SMP NOPTI
CPU: 37 PID: 4425 Comm: kworker/u98:1 Kdump: loaded Tainted: G        W  OE     6.1.0-18-amd64 #1 Debian
Hardware name: Gigabyte Technology Co., Ltd. Z87X-UD4H/Z87X-UD4H-CF, BIOS F9 03/18/2014
Workqueue: widget_wq widget_work_function_with_a_long_name [widget]
RIP: 0010:widget_select_next_device_state+0x64/0x180 [widget]
Code: 48 89 e5 41 57 41 56 41 55 41 54 53 48 83 ec 18 48 8b 5f 10 48 85 db 74 2c <48> 8b 03 48 89 45
RSP: 0018:ffffbd004652f680 EFLAGS: 00010202
RAX: 0000000000000000 RBX: ffffc90000010000 RCX: 0000000000000000
FS:  0000000000000000(0000) GS:ffff9d1b6f840000(0000) knlGS:0000000000000000
CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
CR2: ffffc90000010000 CR3: 000000010a40a001 CR4: 00000000003706e0
Call Trace:
 <TASK>
 widget_process_one_request_of_the_queue+0x5c/0x80 [widget]
 process_one_work+0x1a7/0x3b0
 worker_thread+0x30/0x390
 kthread+0x11b/0x140
 ret_from_fork+0x22/0x30
 </TASK>
Modules linked in: widget(OE) rpcsec_gss_krb5 auth_rpcgss nfsv4 dns_resolver nfs lockd grace fscache netfs
---[ end trace 0000000000000000 ]---
"""
STAMPS: dict[str, Callable[[int, str], str]] = {
    "printk": lambda n, line: f"[95480.{28000 + n:06}] {line}",
    "printk, caller": lambda n, line: f"[95480.{28000 + n:06}][ T4425] {line}",
    "dmesg -T": lambda _, line: f"[Fri Sep  3 02:14:38 2021] {line}",
    "dmesg -T, another language": lambda _, line: f"[Пт сен  3 02:14:38 2021] {line}",
    "syslog": lambda _, line: f"Sep  3 02:14:38 web1 kernel: {line}",
    "ISO syslog": lambda _, line: f"2021-09-03T02:14:38.5+02:00 web1 kernel: {line}",
    "level": lambda _, line: f"<4>{line}",
}


def stamped(stamp: str) -> list[str]:
    return [STAMPS[stamp](n, line) for n, line in enumerate(REPORT.splitlines())]


def filled(lines: list[str], width: int, *, flowed: bool = False, indent: str = "") -> list[str]:
    """Break lines at spaces as a mail program does; consecutive spaces stay on one of the two lines."""
    broken = []
    for line in lines:
        parts = textwrap.wrap(
            line,
            width,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            subsequent_indent=indent,
        ) or [""]
        broken += [part + " " for part in parts[:-1]] + [parts[-1]] if flowed else parts
    return broken


def terminal(lines: list[str], width: int) -> list[str]:
    return [line[at : at + width] for line in lines for at in range(0, max(len(line), 1), width)]


def read(lines: list[str]) -> CrashReport:
    (crash,) = parse("".join(f"{line}\n" for line in lines))
    return crash


def known(crash: CrashReport) -> tuple[object, ...]:
    return (
        crash.title,
        crash.status,
        crash.cause,
        crash.blame.function,
        crash.kernel.release,
        crash.process.name,
        crash.hardware and crash.hardware.name,
        crash.ip and (crash.ip.symbol, crash.ip.module),
        [frame.symbol for frame in crash.call_trace],
        crash.modules,
        crash.code,
        crash.fault_address,
    )


WHOLE = known(read(stamped("printk")))


def test_the_report_is_one_that_says_all() -> None:
    assert str(WHOLE[0]).startswith("BUG: unable to handle kernel paging request in widget_")
    assert WHOLE[1] == "complete"
    assert all(WHOLE)
    assert not read(stamped("printk")).repaired


@pytest.mark.parametrize("width", [66, 70, 72, 74, 76, 78, 80, 100])
@pytest.mark.parametrize("stamp", STAMPS)
def test_a_report_that_a_mail_program_broke(stamp: str, width: int) -> None:
    crash = read(filled(stamped(stamp), width))
    assert known(crash) == WHOLE
    assert crash.repaired


@pytest.mark.parametrize("stamp", ["printk", "dmesg -T"])
@pytest.mark.parametrize(
    "how",
    [
        lambda lines: filled(lines, 72, flowed=True),
        lambda lines: filled(lines, 72, indent="    "),
        lambda lines: [f"    {line}" for line in filled(lines, 72)],
        lambda lines: [f"> {line}" for line in filled(lines, 72)],
        lambda lines: filled([f"> {line}" for line in lines], 72),
        lambda lines: [f"| {line}" for line in filled(lines, 72)],
        lambda lines: quopri.encodestring("\n".join(lines).encode()).decode().splitlines(),
        lambda lines: [line.replace(" ", "\N{NO-BREAK SPACE}") for line in filled(lines, 72)],
        lambda lines: [f"{line}^M" for line in filled(lines, 72)],
        lambda lines: [f"{number:4} {line}" for number, line in enumerate(filled(lines, 72), 1)],
    ],
    ids=[
        "format flowed",
        "continued with spaces",
        "indented",
        "quoted",
        "broken while quoted",
        "marked",
        "quoted-printable",
        "no-break spaces",
        "carriage returns as two characters",
        "numbered",
    ],
)
def test_other_changes_by_mails_and_pages(how: Callable[[list[str]], list[str]], stamp: str) -> None:
    assert known(read(how(stamped(stamp)))) == WHOLE


@pytest.mark.parametrize("stamp", ["printk", "dmesg -T", "syslog"])
@pytest.mark.parametrize("width", [80, 100])
def test_a_report_that_a_terminal_broke(width: int, stamp: str) -> None:
    assert known(read(terminal(stamped(stamp), width)))[:8] == WHOLE[:8]


def test_a_report_without_stamps_that_a_mail_program_broke() -> None:
    crash = read(filled(REPORT.splitlines(), 72))
    assert known(crash)[:8] == WHOLE[:8]


def test_lines_of_programs_between_those_of_the_kernel_stay_alone() -> None:
    said = ["Starting widget daemon...", "executing program 0:", "mount: /mnt: wrong fs type", "done", "$ ls"]
    lines = [
        line
        for n, kernel in enumerate(stamped("printk"))
        for line in ([kernel, said[n % len(said)]] if n % 3 else [kernel])
    ]
    crash = read(lines)
    assert known(crash) == WHOLE
    assert not crash.repaired


def test_a_line_that_was_joined_keeps_what_stood_in_the_input() -> None:
    lines = filled(stamped("printk"), 72)
    crash = read(lines)
    assert "\n".join(line.raw for line in crash.lines) == "\n".join(lines)
    numbers = [line.number for line in crash.lines]
    assert numbers == sorted(numbers)
    assert all(re.match(r"\[95480\.", line.raw) for line in crash.lines)


@pytest.mark.parametrize("joint", [" ", ""])
def test_records_on_one_line_are_the_lines_that_they_were(joint: str) -> None:
    assert known(read([joint.join(stamped("printk"))])) == WHOLE
    assert known(read([joint.join(stamped("printk, caller"))])) == WHOLE
    other = [f"[95490.{number:06}] nothing of note" for number in range(400)]
    assert known(read([joint.join(stamped("printk") + other)])) == WHOLE


def test_a_stamp_of_long_ago_in_a_line_is_quoted() -> None:
    line = "[95480.000000] Kernel panic - not syncing: widget said [    1.000001] gone"
    (crash,) = parse(line)
    assert crash.reason == "Kernel panic - not syncing: widget said [    1.000001] gone"


@pytest.mark.parametrize(
    "prefix", [" (1)[4425:kworker/u98:1]", "-(1)[4425:kworker/u98:1]", "(1)[4425:kworker/u98:1]"]
)
def test_a_vendor_that_puts_the_task_before_each_line(prefix: str) -> None:
    lines = [f"[95480.{28000 + n:06}] {prefix}{line}" for n, line in enumerate(REPORT.splitlines())]
    assert known(read(lines)) == WHOLE


def test_frames_with_their_sources_are_lines_of_their_own() -> None:
    frames = """\
    widget_alloc_recursive include/linux/widget.h:44 [inline]
    widget_post_alloc_hook mm/widget.c:4951 [inline]
    widget_make+0x20/0x40 lib/widget.c:7
"""
    head = """\
BUG: memory leak
unreferenced object 0xffff888120320240 (size 192):
  comm "worker", pid 77, jiffies 4294976980
  backtrace:
"""
    crash = read((head + frames * 3).splitlines())
    assert [line.raw for line in crash.lines if "\n" in line.raw] == []
