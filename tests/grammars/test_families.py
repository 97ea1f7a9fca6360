"""Every family, with short reports of the kernel and the expected answers in front."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpanic.grammars import parse
from kpanic.grammars.suspect import passed_over

REPORTS = sorted((Path(__file__).parent / "reports").glob("*.txt"))


def read(path: Path) -> tuple[dict[str, str], str]:
    head, _, text = path.read_text(encoding="utf-8").partition("\n\n")
    return dict(line.split(": ", 1) for line in head.splitlines()), text


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_report_is_read_as_written_on_top(path: Path) -> None:
    expected, text = read(path)
    (crash,) = parse(text)
    assert {
        "title": crash.title,
        "cause": crash.cause,
        "kind": crash.kind,
        "status": crash.status,
    } == expected
    assert crash.blame.function in {"", *crash.title.split()} or crash.blame.function in text


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_only_a_report_that_can_be_trusted_is_signed(path: Path) -> None:
    expected, text = read(path)
    (crash,) = parse(text)
    trusted = expected["status"] != "corrupted"
    assert trusted or crash.signature is None or crash.signature.quality == "weak"
    assert not trusted or crash.signature is not None


@pytest.mark.parametrize(
    "line",
    [
        "traps: bash[77] general protection fault ip:7f0 sp:7ff error:0 in libc.so[7f0+1000]",
        "bash[77]: segfault at 0 ip 000055d0 sp 00007ffd error 4 in bash[55d0+1000]",
        "Out of memory: Killed process 77 (worker) total-vm:1kB, anon-rss:1kB",
        "NMI: Dazed and confused, but trying to continue",
        "Uhhuh. NMI received for unknown reason 30 on CPU 0.",
        "sysrq: Show backtrace of all active CPUs",
        "INFO: lockdep is turned off.",
        "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.1 msecs",
        "Alignment trap: a.out (77) PC=0x00010438 Instr=0xe5933000 Address=0x00000001 FSR 0x001",
        "INFO: task worker:77 is blocked on a mutex likely owned by task other:78.",
        "mce: [Hardware Error]: Machine check events logged",
        "workqueue: widget_work hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
        "watchdog: watchdog0: watchdog did not stop!",
        "kmemleak: 12 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "FAULT_INJECTION: forcing a failure.",
        "Spectre V2 : WARNING: Unprivileged eBPF is enabled, data leaks possible via Spectre v2 BHB attacks!",
    ],
)
def test_non_fatal_reports_do_not_alert(line: str) -> None:
    assert list(parse(f"[   10.000001] {line}\n")) == []


@pytest.mark.parametrize(
    ("report", "release", "process"),
    [
        ("null-i386-el5", "2.6.18-194.el5", "worker"),
        ("oops-powerpc-el6", "2.6.32-358.el6.ppc64", "worker"),
        ("bug-filesystem-el5", "2.6.18-308.el5", "worker"),
        ("null-x86-el5", "2.6.18-194.el5", "worker"),
    ],
)
def test_the_running_task_in_formats_before_the_combined_line(
    report: str, release: str, process: str
) -> None:
    (crash,) = parse(read(Path(__file__).parent / "reports" / f"{report}.txt")[1])
    assert (crash.kernel.release, crash.process.name, crash.process.pid) == (release, process, 77)


def test_an_arm_says_in_its_oops_which_it_is() -> None:
    (crash,) = parse(read(Path(__file__).parent / "reports" / "decoded-arm.txt")[1])
    assert crash.kernel.architecture == "armv7l"


@pytest.mark.parametrize("helper", ["__kthread_cancel_work_sync", "kthread_create_on_node", "show_registers"])
def test_functions_that_run_threads_or_print_are_not_suspect(helper: str) -> None:
    assert passed_over(helper)


def test_the_number_of_an_oops_had_no_mark_once() -> None:
    (crash,) = parse(read(Path(__file__).parent / "reports" / "null-x86-el5.txt")[1])
    assert crash.oops is not None
    assert (crash.oops.number, crash.oops.error_code, crash.oops.flags) == (1, 2, ("SMP",))
    assert crash.ip is not None
    assert (crash.ip.symbol, crash.ip.module) == ("widget_write", "widget")
    assert "write" in crash.cause_detail


def test_a_kernel_without_symbols_names_modules_alone_and_is_signed_weakly() -> None:
    (crash,) = parse(read(Path(__file__).parent / "reports" / "symbolless.txt")[1])
    assert [frame.module for frame in crash.call_trace] == ["", "widget", ""]
    assert crash.signature is not None
    assert crash.signature.quality == "weak"
    assert crash.analysis is not None
    said = {step.name: step.finding for step in crash.analysis.steps}
    assert "for which the kernel printed no symbol" in said["where"]
    assert "3 addresses without symbols, some of them in the module widget: " in said["through what"]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        (
            "kasan: GPF could be caused by user memory accessgeneral protection fault: 0000 [#1] SMP",
            "general protection fault in boom_read",
        ),
        (
            "usb 1-1: new deviceBUG: unable to handle page fault for address: ffffc90000010000",
            "BUG: unable to handle kernel paging request in boom_read",
        ),
    ],
)
def test_a_header_that_a_console_glued_to_another_line_is_read(line: str, title: str) -> None:
    report = f"{line}\nRIP: 0010:boom_read+0x1/0x2\nCall Trace:\n boom_read+0x1/0x2\n vfs_read+0x1/0x2\n"
    (crash,) = parse("".join(f"[    1.000001] {text}\n" for text in report.splitlines()))
    assert (crash.title, crash.status) == (title, "complete")


@pytest.mark.parametrize("line", ["app: print3: 0000", "app: DEBUG: using cache", "app: ALARMoops: 1"])
def test_a_short_text_inside_a_word_is_no_header(line: str) -> None:
    assert list(parse(f"[    1.000001] {line}\n")) == []


def test_registers_without_a_header_are_a_report_only_where_the_kernel_died() -> None:
    registers = (
        "PC is at boom_write+0xd0/0x1b4\nLR is at boom_write+0xc8/0x1b4\n"
        "pc : [<c0058220>]    lr : [<c005821c>]    psr: 60000013\n"
    )
    died = "Process bash (pid: 1014, stack limit = 0xf4e0c2f8)\n"
    frames = "[<c0058220>] (boom_write+0x20/0x2c) from [<c0183678>] (vfs_write+0xdc/0x1bc)\n"
    (crash,) = parse(registers + died + frames)
    assert (crash.title, crash.blame.function, crash.process.name) == (
        "Oops in boom_write",
        "boom_write",
        "bash",
    )
    assert list(parse("SysRq : Show Regs\n" + registers + frames)) == []
