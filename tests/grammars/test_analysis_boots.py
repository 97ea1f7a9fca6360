"""Logs with several crashes and boots: which reports belong together."""

from __future__ import annotations

from pathlib import Path

from kpanic.grammars import CrashReport, parse
from kpanic.grammars.fact import lines_of

LAB = Path(__file__).parent.parent / "logs" / "lab"


def console(kind: str, kernel: str = "6.1.0-56-amd64-x86_64") -> bytes:
    return (LAB / f"{kernel}-{kind}.log").read_bytes()


def titles(text: bytes) -> list[str]:
    return [report.title for report in parse(text)]


def crash(kind: str) -> CrashReport:
    (report,) = parse(console(kind))
    return report


def body(kind: str) -> bytes:
    """Return a console's lines from the crash on, without its boot."""
    report = crash(kind)
    return b"\n".join(line.raw.encode() for line in report.lines) + b"\n"


def test_three_boots_and_two_crashes_are_two_documents_each_with_its_kernel() -> None:
    text = console("bug") + console("nmi-nopanic") + console("sysrq-c", "6.18.15+deb13-amd64-x86_64")
    reports = list(parse(text))
    assert [(report.title, report.kernel.release) for report in reports] == [
        ("kernel BUG in boom_bug", "6.1.0-56-amd64"),
        ("kernel panic: sysrq triggered crash", "6.18.15+deb13-amd64"),
    ]
    assert [report.preceded_by for report in reports] == [(), ()]


def test_the_same_crash_in_each_of_two_boots_is_two_documents() -> None:
    reports = list(parse(console("bug") + console("bug")))
    assert [report.title for report in reports] == ["kernel BUG in boom_bug"] * 2
    assert reports[0].signature == reports[1].signature


def test_a_crash_in_the_first_seconds_of_a_boot_after_one_in_the_first_seconds() -> None:
    early, earlier = console("noinit"), console("vfs-noroot")
    assert titles(early + earlier) == [
        "kernel panic: No working init found",
        "kernel panic: VFS: Unable to mount root fs on unknown-block(NUM,NUM)",
    ]


def test_oops_then_panic_is_one_crash() -> None:
    report = crash("null_read")
    assert report.fatal
    assert report.consequences == ("kernel panic: Fatal exception",)


def test_warning_then_panic_on_warn_is_one_crash() -> None:
    report = crash("warn")
    assert report.fatal
    assert report.title == "WARNING in boom_warn"
    assert report.consequences == ("kernel panic: panic_on_warn set",)


def later(text: bytes, seconds: int) -> bytes:
    """Return the same lines, a number of seconds later."""
    lines = []
    for line in text.split(b"\n"):
        if line.startswith(b"[") and b"]" in line:
            time, _, rest = line[1:].partition(b"]")
            lines.append(b"[%12.6f]" % (float(time) + seconds) + rest)
        else:
            lines.append(line)
    return b"\n".join(lines)


def test_a_crash_long_after_a_warning_says_that_it_was_preceded() -> None:
    warning, fault = list(parse(console("refcount_sat") + later(body("null_read"), 4000)))
    assert (warning.title, warning.fatal) == ("WARNING: refcount bug in set_kind", False)
    assert fault.title == "BUG: unable to handle kernel NULL pointer dereference in boom_null_read"
    assert [line.text for line in lines_of(fault.preceded_by)] == [warning.reason]
    assert warning.preceded_by == ()
    assert fault.kernel == warning.kernel
    assert fault.analysis
    assert warning.reason in {line.text for step in fault.analysis.steps for line in step.evidence}


def test_an_oom_kill_before_a_crash_is_reported_and_is_not_a_crash() -> None:
    (fault,) = parse(console("oom-kill") + later(body("null_read"), 4000))
    assert fault.title.endswith("boom_null_read")
    assert ["Out of memory: Killed" in line.text for line in lines_of(fault.preceded_by)] == [True]
    assert fault.analysis
    before = next(step for step in fault.analysis.steps if step.name == "what came before")
    assert "the OOM killer killed a process" in before.finding


def test_earlier_hardware_errors_are_reported() -> None:
    complaints = (
        b"[    1.000000] EDAC MC: Ver: 3.0.0\n"
        b"[    1.500000] pcieport 0000:00:1c.0: AER: enabled with IRQ 24\n"
        b"[  100.000000] EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (slot:0)\n"
        b"[  101.000000] blk_update_request: I/O error, dev sda, sector 2048\n"
    )
    (fault,) = parse(complaints + later(body("null_read"), 4000))
    assert [line.number for line in lines_of(fault.hardware_errors)] == [3, 4]
    assert fault.analysis
    hardware = next(step for step in fault.analysis.steps if step.name == "hardware")
    assert "Before the crash the log has 2 hardware errors about memory (EDAC) and a disk" in hardware.finding
    assert {3, 4} <= {line.number for line in hardware.evidence}


def test_hardware_that_complained_afterwards_is_not() -> None:
    (fault,) = parse(console("null_read") + b"[    9.000000] EDAC MC0: 1 CE memory read error on DIMM_A1\n")
    assert fault.hardware_errors == ()


def test_seventeen_reports_at_once_are_one_crash() -> None:
    one, other, last = body("bad_page"), body("refcount_sat"), body("null_write")
    many = b"".join(later(one if n % 2 else other, 2 + n) for n in range(15))
    (report,) = parse(console("uaf_write") + many + later(last, 20))
    assert report.title == "BUG: Poison overwritten"
    assert report.fatal
    assert report.consequences == (
        "WARNING: refcount bug in set_kind",
        "BUG: Bad page state in set_kind",
        "BUG: unable to handle kernel NULL pointer dereference in boom_null_write",
        "kernel panic: Fatal exception",
    )


def test_a_stall_that_lasts_is_one_report() -> None:
    (stall,) = parse(console("hardlockup-smp2"))
    reports = list(parse(console("softlockup-nopanic") + later(body("softlockup-nopanic"), 90)))
    assert len(reports) == 1
    assert stall.title == "INFO: rcu detected stall in boom_hardlockup"


def test_the_boot_of_a_crash_kernel_proves_that_the_one_before_died() -> None:
    oops = console("kdump-null")
    (report,) = parse(oops)
    assert report.fatal
    before, banner, _ = oops.partition(b"Linux version")
    survived = (
        before + banner + oops.partition(b"\r\n[    0.000000] Linux version")[0][len(before + banner) :]
    )
    (report,) = parse(survived)
    assert not report.fatal


def test_the_boot_instant_and_the_machine_are_the_boots_own() -> None:
    report = crash("null_read")
    assert report.boot_epoch is not None
    clock = next(iter(lines_of(report.facts_of("clock"))))
    assert clock.time is not None
    assert f"({round(report.boot_epoch + clock.time)})" in clock.text
    assert report.hardware
    assert (report.hardware.vendor, report.hardware.bios_date) == ("QEMU", "04/01/2014")
