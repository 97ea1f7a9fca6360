"""Fields are found in the places where different kernels print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import parse
from kpanic.grammars.fact import lines_of
from kpanic.grammars.parser import died

if TYPE_CHECKING:
    from kpanic.grammars import CrashReport


def read(text: str) -> CrashReport:
    (crash,) = parse(text)
    return crash


def test_a_process_line_before_the_owner_hides_neither_kernel_nor_cpu_nor_taints() -> None:
    crash = read(
        """\
[   10.000001] Internal error: Oops: 96000004 [#1] PREEMPT SMP
[   10.000002] Modules linked in: widget
[   10.000003] Process sh (pid: 77, stack limit = 0x00000000b0f2a333)
[   10.000004] CPU: 1 PID: 77 Comm: sh Tainted: G    B      O      4.19.75 #1
[   10.000005] Hardware name: Widget Board (DT)
[   10.000006] pc : widget_write+0x10/0x40 [widget]
[   10.000007] Call trace:
[   10.000008]  vfs_write+0x90/0x1c0
"""
    )
    assert (crash.process.name, crash.process.pid, crash.process.cpu) == ("sh", 77, 1)
    assert crash.kernel.release == "4.19.75"
    assert crash.taint
    assert crash.taint.flags == ("B", "O")


def test_registers_give_the_instruction_pointer_where_no_line_names_its_function() -> None:
    crash = read(
        """\
[  227.653112] Oops: Kernel access of bad area, sig: 11 [#12]
[  227.653170] LE SMP NR_CPUS=2048 NUMA PowerNV
[  227.653782] NIP:  c000000000ac0ce8 LR: c00000000016b260 CTR: c000000000ac0cd0
"""
    )
    assert crash.analysis
    (where,) = (step for step in crash.analysis.steps if step.name == "where")
    assert [(one.text, one.evidence[0].number) for one in where.sentences] == [
        ("The kernel printed the instruction pointer as c000000000ac0ce8.", 3)
    ]


GLUED = """\
[   10.000001] WARNING: CPU: 2 PID: 0 at kernel/widget.c:30 widget_check+0x4c/0x54
[   10.000002] Modules linked in: widget
[   10.000003] (AND OS)CPU: 2 PID: 0 Comm: swapper/2 Tainted: P        W  O      5.4.61-android11 #1
[   10.000004] pc : widget_check+0x4c/0x54
"""


def test_the_running_task_is_found_after_a_console_s_prefix() -> None:
    crash = read(GLUED)
    assert (crash.process.name, crash.kernel.release) == ("swapper/2", "5.4.61-android11")
    assert [line.number for line in lines_of(crash.facts_of("owner"))] == [3]


def test_the_task_after_a_trace_is_another_one() -> None:
    lines = GLUED.splitlines()
    trace = ["[   10.000002] Call trace:", "[   10.000002]  widget_poll+0x4/0x54"]
    crash = read("\n".join([*lines[:2], *trace, *lines[2:]]))
    assert (crash.process.name, crash.kernel.release) == ("", "")


def test_another_tasks_line_says_nothing_of_this_one() -> None:
    crash = read(
        """\
[   10.000001] BUG: unable to handle page fault for address: ffffc90000010000
[   10.000002] Process sh (pid: 77, stack limit = 0x00000000b0f2a333)
[   10.000003] CPU: 1 PID: 78 Comm: other Not tainted 4.19.75 #1
[   10.000004] RIP: 0010:widget_write+0x10/0x40
[   10.000005] Call Trace:
[   10.000006]  vfs_write+0x90/0x1c0
"""
    )
    assert (crash.process.name, crash.process.pid, crash.process.cpu) == ("sh", 77, None)


def test_the_machine_stands_at_the_end_of_the_line_of_the_task_in_old_kernels() -> None:
    crash = read(
        """\
BUG: unable to handle kernel paging request at ffffffffffffffe0
IP: [<ffffffff81167060>] widget_purge+0x70/0x1e0
Oops: 0000 [#1] SMP
Pid: 84647, comm: qemu Not tainted 2.6.32-642.el6.x86_64 #1 Dell Inc. PowerEdge R730xd/0WCJNT
Call Trace:
 [<ffffffff81167230>] widget_free+0x60/0x70
"""
    )
    assert crash.hardware
    assert (crash.hardware.vendor, crash.hardware.product) == ("Dell Inc.", "PowerEdge R730xd/0WCJNT")


def test_a_machine_without_a_dmi_table_has_no_name() -> None:
    assert read("DMI: not present or invalid.\nKernel panic - not syncing: widget").hardware is None


def test_a_panic_of_a_kernel_that_prints_no_trace_is_complete() -> None:
    mips = """\
[    6.751881] Kernel panic - not syncing: widget
[    6.751919] Kernel relocated by 0x56eed09a
[    6.751964]  .text @ 0xdea9c59b
[    6.752033]  .bss  @ 0x1ee052d5
"""
    end = "[    6.752076] ---[ end Kernel panic - not syncing: widget ]---\n"
    assert read(mips + end).status == "complete"
    assert read(mips + "[    6.752040] CPU: 0 PID: 1 Comm: init\n" + end).doubt == "there is no call trace"


def test_a_leak_names_the_task_that_allocated_it() -> None:
    crash = read(
        """\
BUG: memory leak
unreferenced object 0xffff888120320240 (size 192):
  comm "worker 1", pid 5087, jiffies 4294976980 (age 8.630s)
  backtrace:
    [<ffffffff815748bb>] widget_prepare+0x4b/0x150
    [<ffffffff812deb3b>] vfs_write+0x2b/0x460
"""
    )
    assert (crash.process.name, crash.process.pid) == ("worker 1", 5087)
    assert crash.analysis
    assert "Task worker 1 (PID 5087) allocated the memory." in crash.analysis.steps[3].finding


def test_a_stall_names_the_task_whose_stack_it_shows() -> None:
    crash = read(
        """\
[  100.000001] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:
[  100.000002] rcu: \t2-...!: (1 GPs behind) idle=0b6/1/0x4000000000000000 softirq=9/9 fqs=0
[  100.000003] Sending NMI from CPU 1 to CPUs 2:
[  100.000004] task:widgetd         state:R  running task     stack: 0 pid: 411 ppid: 1 flags:0x8
[  100.000005] Call Trace:
[  100.000006]  widget_spin+0x10/0x40
[  100.000007]  do_syscall_64+0x33/0x40
"""
    )
    assert (crash.process.name, crash.process.pid) == ("widgetd", 411)
    assert crash.analysis
    assert "The stack is that of task widgetd (PID 411)." in crash.analysis.steps[3].finding


@pytest.mark.parametrize(
    ("code", "cause"), [("(e7f001f2)", "bug"), ("(de02)", "bug"), ("(e7f000f0)", "invalid-opcode")]
)
def test_the_instruction_of_bug_makes_an_undefined_instruction_of_arm_a_bug(code: str, cause: str) -> None:
    crash = read(
        f"""\
[   10.000001] Internal error: Oops - undefined instruction: 0 [#1] THUMB2
[   10.000002] CPU: 0 PID: 1142 Comm: mount Not tainted 6.6.2 #1
[   10.000003] PC is at widget_link+0xe/0xe2
[   10.000004]  widget_link from widget_scan+0x1a5/0x320
[   10.000005] Code: 6a63 b085 990a b903 {code} 6ae5
"""
    )
    assert crash.cause == cause


def test_the_registers_say_the_machine_better_than_a_boards_name_in_the_release() -> None:
    crash = read(
        """\
[   10.000001] Internal error: Oops: 0000000096000005 [#2] PREEMPT SMP
[   10.000002] CPU: 3 UID: 0 PID: 2266 Comm: worker Tainted: G      D            6.12.20+rpt-rpi-2712 #1
[   10.000003] pc : widget_copy+0xd8/0x240
[   10.000004] lr : widget_read+0xf4/0x6a8
[   10.000005] x29: ffffc00084d4bb60 x28: ffff800100da51b8 x27: 000000000000005b
[   10.000006] Call trace:
[   10.000007]  widget_read+0x300/0x960
"""
    )
    assert crash.kernel.architecture == "aarch64"
    assert crash.oops
    assert crash.oops.error == "read from a non-present page by the kernel"


def test_a_line_that_the_kernel_prints_alone_borrows_nothing_from_the_next_report() -> None:
    crash, *_ = parse(
        """\
[ 1477.000001] widget 0000:02:00.0 eno1: NETDEV WATCHDOG: CPU: 9: transmit queue 0 timed out 9665 ms
[ 1495.000002] task:kworker/u24:4   state:D stack:0     pid:91    ppid:2      flags:0x00004000
[ 1495.000003] Call Trace:
[ 1495.000004]  widget_wait+0x10/0x40
"""
    )
    assert crash.call_trace == ()
    assert crash.process.pid is None


RECORD = """\
[  100.000001] {1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0
[  100.000002] {1}[Hardware Error]: event severity: fatal
[  100.000003] {1}[Hardware Error]:  Error 0, type: fatal
[  100.000004] {1}[Hardware Error]:   section_type: PCIe error
[  100.000005] {2}[Hardware Error]: event severity: corrected
"""


def test_a_record_of_ghes_is_one_complaint() -> None:
    crash = read(f"{RECORD}[  100.000006] Kernel panic - not syncing: Fatal hardware error!\n")
    assert [[line.number for line in fact.lines] for fact in crash.hardware_errors] == [[1, 2, 3, 4], [5]]


def test_lines_of_a_record_that_come_after_the_header_are_not_before_the_crash() -> None:
    head, *rest = RECORD.splitlines(keepends=True)
    crash = read(head + "[  100.000001] Kernel panic - not syncing: Fatal hardware error!\n" + "".join(rest))
    assert [line.number for line in lines_of(crash.hardware_errors)] == [1]


@pytest.mark.parametrize(
    ("line", "machine"),
    [
        ("PGD 290e01067 P4D 290e01067 PUD 46da41067 PMD 46d8f8067 PTE 800ffffed6f54060", "x86_64"),
        ("PGD 1c11067 PUD 0 ", "x86_64"),
        ("*pde = 00000000", "i686"),
    ],
)
def test_page_tables_name_the_machine_where_registers_are_missing(line: str, machine: str) -> None:
    (crash,) = parse(
        f"BUG: unable to handle kernel paging request at 1234567c\n{line}\nOops: 0000 [#1] SMP\n"
    )
    assert crash.kernel.architecture == machine


def test_the_bits_of_its_status_name_parisc() -> None:
    (crash,) = parse(
        "Kernel Fault: Code=26 (Data memory access rights trap) at addr 00000000\n"
        "CPU: 1 PID: 21 Comm: widgetd Not tainted 6.8.0 #1\n\n"
        "     YZrvWESTHLNXBCVMcbcbcbcbOGFRQPDI\nPSW: 00000000000001001111111100001111 Not tainted\n"
    )
    assert crash.kernel.architecture == "parisc"


def test_kasan_names_the_task_where_it_does_not_know_the_size() -> None:
    (crash,) = parse(
        "BUG: KASAN: slab-out-of-bounds in widget_read+0x48/0x3b8\n"
        "Read at addr fcff19f30000d91c by task widgetd/0/12\n"
        "Pointer tag: [fc], memory tag: [f4]\n"
    )
    assert (crash.process.name, crash.process.pid) == ("widgetd/0", 12)
    assert "It was a read at fcff19f30000d91c." in str(died(crash).analysis)


def test_a_release_ends_before_the_full_stop_of_a_sentence() -> None:
    (crash,) = parse("We use Linux version 3.12.19.\n\nKernel panic - not syncing: widget\n")
    assert crash.kernel.release == "3.12.19"


def test_a_program_check_of_s390_without_a_name() -> None:
    (crash,) = parse(
        "Unknown program exception: 0028 [#1] SMP \n"
        "CPU: 1 PID: 3323 Comm: widgetd Not tainted 3.10.0-1062.el7.s390x #1\n"
        "Krnl PSW : 0704f00180000000 00000000001067ae (widget_read+0x1e/0x20)\n"
    )
    assert crash.title == "Unknown program exception in widget_read"
    assert crash.oops is not None
    assert (crash.oops.number, crash.oops.error_code) == (1, 0x28)


@pytest.mark.parametrize("end", ["", " ", " \n"])
def test_a_dumped_task_is_named_where_a_page_folded_its_blanks(end: str) -> None:
    crash = read(
        "INFO: rcu_sched detected stalls on CPUs/tasks: { 0} (detected by 1, t=5252 jiffies, g=825)\n"
        f"Task dump for CPU 0:{end}\nreboot R running 0 2642 2641 0x00000000{end}\nCall Trace:{end}\n"
        "[c7363c70] [c0631338] schedule+0x30/0xbc (unreliable)\n"
        "[c7363e10] [c0065178] kernel_restart+0x74/0x8c\n"
    )
    assert (crash.process.name, crash.process.pid) == ("reboot", 2642)


PANICKED = """\
{header}
[   10.000003] CPU: 1 PID: 44 Comm: kworker/1:2 Not tainted 4.9.33-rt23 #1
[   10.000004] Hardware name: Widget Board, BIOS 1.10 04/01/2014
[   10.000005] Call Trace:
[   10.000006]  dump_stack+0x5c/0x78
[   10.000007]  panic+0xd5/0x21e
[   10.000008]  widget_stop+0x10/0x20 [widget]
[   10.000009]  process_one_work+0x184/0x400
"""


@pytest.mark.parametrize("end", ["", " "])
def test_a_panic_may_have_its_reason_on_the_next_line(end: str) -> None:
    # vpanic() prints "…syncing: %s": a reason that begins with a newline is on the record's second line
    header = f"[   10.000001] Kernel panic - not syncing:{end}\n[   10.000001] widget: it stopped"
    crash = read(PANICKED.format(header=header))

    assert (crash.title, crash.blame.function) == ("kernel panic: widget: it stopped", "widget_stop")
    assert crash.reason == "Kernel panic - not syncing: widget: it stopped"
    for kind in ("header", "panic"):
        assert [line.number for line in lines_of(crash.facts_of(kind))] == [1, 2]
    (panic,) = (fact for fact in crash.facts if fact.kind == "panic")
    assert panic.value == "widget: it stopped"


def test_a_later_panic_may_have_its_reason_on_the_next_line_too() -> None:
    crash = read(
        """\
[    9.000001] Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB, file-rss:0kB
[    9.000002] BUG: unable to handle kernel NULL pointer dereference at 0000000000000008
[    9.000003] Oops: 0000 [#1] PREEMPT SMP
[    9.000004] CPU: 1 PID: 44 Comm: worker Not tainted 4.9.33-rt23 #1
[    9.000005] RIP: 0010:widget_write+0x10/0x40
[    9.000006] ---[ end trace 0000000000000002 ]---
[    9.000007] Kernel panic - not syncing:
[    9.000007] Fatal exception in interrupt
"""
    )
    assert crash.reason.startswith("BUG: unable to handle")
    (panic,) = (fact for fact in crash.facts if fact.kind == "panic")
    assert (panic.value, [line.number for line in panic.lines]) == ("Fatal exception in interrupt", [7, 8])


def test_a_panic_whose_reason_is_missing_does_not_take_the_task_for_it() -> None:
    crash = read(PANICKED.format(header="[   10.000001] Kernel panic - not syncing: "))

    assert (crash.title, crash.cause, crash.fatal) == ("kernel panic", "unknown", True)
    assert (crash.status, crash.blame.function) == ("partial", "widget_stop")
    assert [line.number for line in lines_of(crash.facts_of("panic"))] == [1]
    assert crash.process.name == "kworker/1:2"
