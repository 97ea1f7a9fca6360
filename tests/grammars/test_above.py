"""Reports without a header: the lines above the line that ends the report."""

from __future__ import annotations

from kpanic.grammars import Parser, parse
from kpanic.grammars.parser import ALL_CHARACTERS, ALL_LINES
from kpanic.grammars.report import FAULT

LEFT = """\
[   28.042400] CPU: 4 PID: 630 Comm: widgetd Tainted: G        W  OE     5.10.120-board #1
[   28.051233] Hardware name: Widget Board (DT)
[   28.069071] pc : widget_sync+0x40/0x70
[   28.071586] lr : widget_work+0x10/0x20
[   28.161107] Call trace:
[   28.163620]  widget_sync+0x40/0x70
"""
CODE = "[   28.167000] Code: 910922c2 9117e021 95ff0398 b4000294 (b9400a61)\n"
END = "[   28.168911] ---[ end trace 62dc42c98ec427ca ]---\n"
PANIC = "[   28.183964] Kernel panic - not syncing: Oops: Fatal exception\n"


def test_a_panic_that_only_an_oops_comes_to_tells_of_the_lines_above() -> None:
    (crash,) = parse(LEFT + END + PANIC)
    assert (crash.title, crash.fatal, crash.status) == ("Oops in widget_sync", True, "partial")
    assert (crash.kernel.release, crash.process.name, crash.kernel.architecture) == (
        "5.10.120-board",
        "widgetd",
        "aarch64",
    )
    assert crash.reason == "Kernel panic - not syncing: Oops: Fatal exception"


def test_the_code_of_a_dying_kernel_tells_too() -> None:
    (crash,) = parse(LEFT + CODE + END)
    assert (crash.title, crash.fatal) == ("Oops in widget_sync", False)


PROCESS = """\
Pid: 491, comm: widget_eh_0 Tainted: G        W  ----------------   2.6.32-220.el6.x86_64 #1 Widget
RIP: 0010:[<ffffffff8124e424>]  [<ffffffff8124e424>] widget_requeue+0x94/0xa0
RAX: ffff881d99e3e8a8 RBX: ffff881d99e3e780 RCX: ffff881d99e3e8a8
Process widget_eh_0 (pid: 491, threadinfo ffff881057eee000, task ffff881057e29540)
Call Trace:
 [<ffffffff81362323>] __widget_queue+0xa3/0x150
"""


STOPPING = """\
[   28.190000] CPU3: stopping
[   28.190001] CPU: 3 PID: 24 Comm: gadgetd/3 Tainted: G      D         4.14.37-v7 #1
[   28.190002] [<8010ffe0>] (unwind_backtrace) from [<8010c21c>] (show_stack+0x20/0x24)
[   28.190003] [<8078669c>] (dump_stack) from [<8010e49c>] (handle_IPI+0x2b4/0x334)
"""


def test_another_cpu_that_a_panic_stops_did_not_crash() -> None:
    (crash,) = parse(CODE + END + PANIC + STOPPING)
    assert (crash.title, crash.blame.function) == ("kernel panic: Oops: Fatal exception", "")
    assert (crash.process.name, crash.call_trace) == ("", ())
    assert (crash.kernel.release, crash.kernel.architecture) == ("4.14.37-v7", "armv7l")


def test_the_rest_of_a_report_ends_at_the_panic() -> None:
    (crash,) = parse("".join(LEFT.splitlines(keepends=True)[:2]) + END + PANIC + STOPPING)
    assert (crash.process.name, crash.call_trace, crash.kernel.release) == ("widgetd", (), "5.10.120-board")


def test_the_end_of_another_report_is_none_of_the_lines_of_the_next_one() -> None:
    (crash,) = parse(CODE + END + "[   28.170000] Internal error: Oops: 0000000096000005 [#2] SMP\n" + LEFT)
    assert crash.lines[0].text.startswith("Internal error")


def test_an_old_kernel_names_the_process_of_an_oops() -> None:
    (crash,) = parse(PROCESS)
    assert (crash.title, crash.process.name, crash.kernel.architecture) == (
        "Oops in widget_requeue",
        "widget_eh_0",
        "x86_64",
    )


def test_a_cpu_that_only_shows_its_registers_did_not_crash() -> None:
    assert list(parse("NMI backtrace for cpu 3\n" + PROCESS)) == []


def test_the_end_of_a_warning_is_no_crash() -> None:
    assert list(parse(LEFT + END)) == []


def test_much_earlier_lines_are_unrelated() -> None:
    (crash,) = parse(LEFT + PANIC.replace("28.183964", "98.183964"))
    assert (crash.title, crash.kernel.release) == ("kernel panic: Oops: Fatal exception", "")


def test_the_lines_before_are_bounded_over_all_hosts() -> None:
    parser = Parser()
    for host in range(500):
        said = f"Jan  1 10:00:00 host{host} kernel: "
        parser.feed(f"{said}---[ end Kernel panic - not syncing: known ]---\n".encode())
        parser.feed("".join(f"{said}{'x' * 500} {line}\n" for line in range(40)).encode())
    kept = [stream.kept() for stream in parser._streams.values()]  # noqa: SLF001 - there is no other way to know
    assert 0 < sum(lines for lines, _ in kept) <= ALL_LINES
    assert sum(characters for _, characters in kept) <= 1.2 * ALL_CHARACTERS


def test_a_function_with_a_derived_name_is_proved_by_where_the_cpu_was() -> None:
    system_call = "".join(LEFT.replace("widget_sync", "__arm64_sys_mremap").splitlines(keepends=True)[:4])
    (crash,) = parse(system_call + PANIC)
    assert crash.analysis
    said = [one for step in crash.analysis.steps for one in step.sentences if "suspect" in one.text]
    assert [(one.text, [line.number for line in one.evidence]) for one in said] == [
        ("sys_mremap is the suspect function: the instruction pointer is in it.", [3])
    ]


def test_an_end_and_a_list_of_modules_tell_less_than_the_panic_below() -> None:
    modules = "[   28.170000] Modules linked in: widget gadget\n"
    owner = "[   28.184100] CPU: 0 PID: 286 Comm: widgetd Tainted: G      D           5.10.113-board #1\n"
    (crash,) = parse(END + modules + PANIC + owner)
    assert crash.title == "kernel panic: Oops: Fatal exception"
    assert (crash.kernel.release, crash.process.name) == ("5.10.113-board", "widgetd")


def test_a_report_that_lost_its_beginning_is_read_behind_its_panic() -> None:
    (crash,) = parse(
        "[   49.309924] ---[ end trace 0000000000000000 ]---\n"
        "[   49.310301] Kernel panic - not syncing: Fatal exception\n"
        " Modules linked in:\n"
        " Process swapper (pid: 1, threadinfo=980000000032c000, task=9800000000331788)\n"
    )
    assert not crash.doubt.startswith(FAULT)
    assert crash.fatal
