"""The reading: what each step finds in consoles of real crashes, and what it says where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grammars import CrashReport, parse
from grammars.data.verdicts import VERDICTS
from grammars.model import CrashReport as Model
from grammars.reading import analyse

LAB = Path(__file__).parent.parent / "logs" / "lab"
CAUSES = {
    *("sysrq", "null-dereference", "bad-pointer", "general-protection", "write-protected", "exec-protected"),
    *("user-memory-access", "bug", "invalid-opcode", "breakpoint", "divide-error", "stack-overflow"),
    *("stack-corruption", "double-fault", "soft-lockup", "hard-lockup", "hung-task", "rcu-stall", "nmi"),
    *("machine-check", "out-of-memory", "init-died", "no-init", "no-root-filesystem", "list-corruption"),
    *("refcount", "use-after-free", "out-of-bounds", "double-free", "uninitialized-memory"),
    *("slab-corruption", "usercopy", "fortify", "bad-page", "undefined-behavior", "atomic-sleep"),
    *("lock-misuse", "data-race", "memory-leak", "allocation-failure", "filesystem", "driver", "warning"),
    "explicit-panic",
}


def crash(kind: str, kernel: str = "6.1.0-56-amd64-x86_64") -> CrashReport:
    (report,) = parse((LAB / f"{kernel}-{kind}.log").read_bytes())
    return report


def finding(kind: str, step: str) -> str:
    report = crash(kind)
    assert report.analysis
    return next(found.finding for found in report.analysis.steps if found.name == step)


def test_every_cause_has_its_verdict() -> None:
    assert set(VERDICTS) == CAUSES


@pytest.mark.parametrize(
    ("kind", "step", "words"),
    [
        (
            "null_read",
            "kernel",
            "Linux 6.1.0-56-amd64 on x86_64, build #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2",
        ),
        ("null_read", "kernel", "it had been up for 1 second"),
        (
            "null_read",
            "hardware",
            "QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 of 04/01/2014",
        ),
        ("null_read", "hardware", "no hardware complaint"),
        ("mce", "hardware", "5 hardware complaints stood before the crash, about the platform"),
        ("null_read", "before", "a module from outside the kernel's tree was loaded (O)"),
        ("oom-panic", "before", "The kernel was not tainted"),
        ("null_read", "trigger", "Task init (PID 1) was running on CPU 0"),
        ("null_read", "trigger", "panic on an oops"),
        ("warn", "trigger", "panic_on_warn"),
        ("softlockup", "trigger", "The soft lockup watchdog noticed it"),
        ("softlockup", "trigger", "softlockup_panic"),
        ("hung", "trigger", "khungtaskd noticed it"),
        ("hung", "trigger", "hung_task_panic"),
        ("rcustall", "trigger", "panic_on_rcu_stall"),
        ("nmi-panic", "trigger", "An NMI came that no driver claimed"),
        ("oom-panic", "trigger", "crashme asked for memory"),
        ("oom-panic2", "trigger", "vm.panic_on_oom=2"),
        ("sysrq-c", "trigger", "by writing c to /proc/sysrq-trigger; it was task init (PID 1) on CPU 0"),
        ("null_read", "said", "the first oops of this boot"),
        ("null_read", "said", "read from a non-present page by the kernel"),
        ("null_read", "said", "the address 0x10 is NULL plus 0x10"),
        ("uaf_read", "said", "freed slab memory"),
        ("gpf", "said", "maybe for address 0xffffffffc0527080"),
        ("user_access", "said", "an address of user space"),
        ("null_read", "where", "at boom_null_read+0x5/0x20, in the module boom"),
        ("list_add", "where", "in the kernel itself"),
        ("user_exec", "where", "where the kernel has no code"),
        ("init-exit", "where", "gives no instruction pointer"),
        ("null_read", "path", "comes from the system call write"),
        ("wq_null", "path", "comes from a work queue's worker"),
        ("irq_null", "path", "comes from an interrupt"),
        ("kthread", "path", "comes from a kernel thread"),
        ("list_add", "path", "passed over: __list_add_valid"),
        ("nmi-idle-panic", "path", "the CPU was idle"),
        (
            "null_read",
            "consequences",
            "followed by kernel panic: Fatal exception; the kernel did not survive it",
        ),
        (
            "alloc_fail",
            "consequences",
            "No other report followed; the text does not say that the kernel died",
        ),
        ("null_read", "verdict", "The vmcore is needed to learn which object held the NULL"),
        ("alloc_fail", "verdict", "The dmesg is enough"),
        ("refcount_sat", "verdict", "The kernel went on"),
    ],
)
def test_a_step_says(kind: str, step: str, words: str) -> None:
    assert words in finding(kind, step)


@pytest.mark.parametrize(
    ("kind", "needed", "confidence"),
    [
        ("sysrq-c", False, "certain"),
        ("mce", False, "certain"),
        ("oom-panic", False, "certain"),
        ("noinit", False, "certain"),
        ("vfs-noroot", False, "certain"),
        ("init-segv", False, "certain"),
        ("null_read", True, "likely"),
        ("list_del", True, "likely"),
        ("hung", True, "certain"),
        ("refcount_sat", False, "likely"),
    ],
)
def test_whether_the_vmcore_is_needed(kind: str, *, needed: bool, confidence: str) -> None:
    analysis = crash(kind).analysis
    assert analysis
    assert (analysis.vmcore_needed, analysis.confidence) == (needed, confidence)


def test_what_to_do_next_names_the_kernel_and_the_place() -> None:
    analysis = crash("null_read").analysis
    assert analysis
    assert "Install the symbols: linux-image-6.1.0-56-amd64-dbg" in analysis.next
    assert any("faddr2line boom.ko boom_null_read+0x5/0x20" in todo for todo in analysis.next)
    assert analysis.next[-1].endswith(
        '"BUG: unable to handle kernel NULL pointer dereference in boom_null_read"'
    )


def test_a_crash_that_nobody_understands_is_read_as_far_as_it_goes() -> None:
    (report,) = parse(b"[   10.000000] BUG: something that no kernel says yet\n[   10.000001] Call Trace:\n")
    assert report.status != "complete"
    assert report.analysis
    findings = {step.name: step.finding for step in report.analysis.steps}
    assert findings["kernel"] == "The text does not say which kernel this was."
    assert findings["trigger"] == "The text does not say which task was running."
    assert report.analysis.confidence == "unknown"


def test_an_empty_report_can_be_read() -> None:
    report = Model(title="", kind="unknown", cause="unknown", fatal=False, status="partial")
    assert analyse(report).confidence == "unknown"


def test_a_site_adds_a_step_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from grammars import reading  # noqa: PLC0415 - beside what it replaces
    from grammars.model import Step  # noqa: PLC0415

    monkeypatch.setattr(reading, "_steps", lambda: (lambda report, _marks: Step("rack", report.hostname),))
    analysis = reading.analyse(replace(crash("null_read"), hostname="node1"))
    assert [(step.name, step.finding) for step in analysis.steps[:1]] == [("rack", "node1")]
