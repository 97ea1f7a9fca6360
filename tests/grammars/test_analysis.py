"""The reading: the findings of each step in consoles of real crashes, and in reports with gaps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from kpanic import plugins
from kpanic.grammars import CrashReport, parse, reading
from kpanic.grammars.data import causes
from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Sentence, Step
from kpanic.grammars.reading import analyse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def console(kind: str, kernel: str = "6.1.0-56-amd64-x86_64") -> bytes:
    return (LAB / f"{kernel}-{kind}.log").read_bytes()


def crash(kind: str) -> CrashReport:
    (report,) = parse(console(kind))
    return report


def finding(kind: str, step: str) -> str:
    report = crash(kind)
    assert report.analysis
    return next(found.finding for found in report.analysis.steps if found.name == step)


def test_every_cause_has_its_meaning() -> None:
    assert set(causes.CAUSES) == CAUSES


@pytest.mark.parametrize(
    ("kind", "step", "words"),
    [
        (
            "null_read",
            "kernel and boot image",
            "Linux 6.1.0-56-amd64 (Debian GNU/Linux 12) on x86_64, build #1 SMP PREEMPT_DYNAMIC Debian",
        ),
        ("null_read", "kernel and boot image", "It had been up for 1 second"),
        (
            "null_read",
            "hardware",
            "QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 of 04/01/2014, 12 years",
        ),
        ("null_read", "hardware", "No known hardware error message is between line"),
        ("mce", "hardware", "Before the crash the log has a hardware error about the platform"),
        ("null_read", "what came before", "a module from outside the kernel's tree was loaded (O)"),
        ("oom-panic", "what came before", "The kernel was not tainted"),
        ("null_read", "trigger", "Task init (PID 1) was running on CPU 0"),
        ("null_read", "trigger", "panic_on_oops is set"),
        ("warn", "trigger", "panic_on_warn"),
        ("softlockup", "trigger", "The soft lockup watchdog reported it"),
        ("softlockup", "trigger", "softlockup_panic"),
        ("hung", "trigger", "khungtaskd reported it"),
        ("hung", "trigger", "hung_task_panic"),
        ("rcustall", "trigger", "panic_on_rcu_stall"),
        ("nmi-panic", "trigger", "No handler claimed an NMI"),
        ("oom-panic", "trigger", "Task crashme asked for memory"),
        ("oom-panic2", "trigger", "vm.panic_on_oom is 2"),
        ("sysrq-c", "trigger", "a write to /proc/sysrq-trigger. Task init (PID 1) was running on CPU 0"),
        ("null_read", "what the kernel said", "It is the first oops of this boot"),
        ("null_read", "what the kernel said", "read from a non-present page by the kernel"),
        ("null_read", "what the kernel said", "The address 0x10 is NULL plus 0x10"),
        ("uaf_read", "what the kernel said", "freed slab memory"),
        ("gpf", "what the kernel said", "maybe for address 0xffffffffc0527080"),
        ("user_access", "what the kernel said", "an address in user space"),
        ("null_read", "where", "at boom_null_read+0x5/0x20, in the module boom"),
        ("list_add", "where", "in the kernel itself"),
        ("user_exec", "where", "where the kernel has no code"),
        ("init-exit", "where", "No line that was read gives the instruction pointer"),
        ("null_read", "through what", "leads from the system call write"),
        (
            "wq_null",
            "through what",
            "leads from a work queue (events boom_work_fn [boom]) through boom_null_read",
        ),
        ("irq_null", "through what", "leads from an interrupt"),
        (
            "kthread",
            "through what",
            "leads from the kernel thread boom_kthread/0 through boom_kthread_fn -> boom_badptr",
        ),
        ("list_add", "through what", "Skipped: __list_add_valid"),
        ("nmi-idle-panic", "through what", "the CPU was idle"),
        (
            "null_read",
            "consequences",
            "It was followed by kernel panic: Fatal exception. The kernel panicked.",
        ),
        (
            "alloc_fail",
            "consequences",
            "No other report follows in the lines that were read. No line that was read says that the",
        ),
        ("null_read", "verdict", "The vmcore is needed to learn which object held the NULL"),
        ("alloc_fail", "verdict", "The log is enough"),
        (
            "refcount_sat",
            "verdict",
            "No line that was read says that the kernel died; if a vmcore was written",
        ),
    ],
)
def test_a_step_says(kind: str, step: str, words: str) -> None:
    assert words in finding(kind, step)


def test_the_watchdogs_interrupt_is_not_the_way_to_what_it_found() -> None:
    """loongarch's trace continues through the interrupt to the interrupted code."""
    (report,) = parse(console("softlockup", "7.2.13+deb14-loong64-loongarch64"))
    assert report.analysis
    (found,) = (step.finding for step in report.analysis.steps if step.name == "through what")
    assert found.startswith(
        "The trace leads from the system call write"
        " through vfs_write -> boom_softlockup to the crash. "
        "An interrupt detected it."
    )


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
    assert any("apt-get install linux-image-6.1.0-56-amd64-dbg" in todo for todo in analysis.next)
    assert any("faddr2line boom.ko boom_null_read+0x5/0x20" in todo for todo in analysis.next)
    assert analysis.next[-1].endswith(
        '"BUG: unable to handle kernel NULL pointer dereference in boom_null_read"'
    )


def test_an_unknown_crash_is_read_as_far_as_possible() -> None:
    (report,) = parse(b"[   10.000000] BUG: something that no kernel says yet\n[   10.000001] Call Trace:\n")
    assert report.status != "complete"
    assert report.analysis
    findings = {step.name: step.finding for step in report.analysis.steps}
    assert findings["kernel and boot image"] == (
        "No line that was read names the kernel. It had been up for 10 seconds."
    )
    assert findings["trigger"] == "No line that was read says which task was running."
    assert report.analysis.confidence == "unknown"


def test_an_empty_report_can_be_read() -> None:
    report = CrashReport(title="", kind="unknown", cause="unknown", fatal=False, status="partial")
    assert analyse(report).confidence == "unknown"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("badptr", '"movl $0x1,(%rax)": RAX held 0xffffe8deadbe0000, the faulting address.'),
        ("vmalloc_oob", "RAX held 0xff31c5274004d000 and 0x2000 is added: the faulting address."),
        ("gpf", "it accesses the fixed address 0xdead4ead00000000, not the one that the kernel guesses."),
        ("uaf_read", '"movq (%rax),%rsi": RAX held 0x6b6b6b6b6b6b6b6b, the faulting address.'),
        ("divide", '"idivl %ecx": the divisor RCX held 0x0.'),
        ("bug", '"ud2", the trap of BUG() or WARN().'),
        ("int3", '"int3", a breakpoint.'),
        ("ro_write", '"movl $0x1,0x1701(%rip)": it accesses a fixed address, that of a variable.'),
        ("softlockup", 'It was about to execute "jmp boom_softlockup+0xc".'),
        ("null_read", "The kernel could not read the code there."),
        ("null_exec", "where there is no code: it had called or jumped through a NULL pointer."),
        ("stack_overflow", '"rep stosq %rax,(%rdi)": RDI held'),
    ],
)
def test_the_instruction_and_its_registers_are_described(kind: str, words: str) -> None:
    assert words in finding(kind, "where")


def test_a_kasan_check_is_distinguished_from_its_access() -> None:
    (report,) = parse(
        b"""\
general protection fault: 0000 [#1] SMP KASAN
CPU: 1 PID: 7 Comm: worker Not tainted 5.9.0 #1
RIP: 0010:widget_read+0x10/0x40
Code: 48 c1 ea 03 <80> 3c 02 00 0f 85 8e 00 00 00
RSP: 0018:ffff8801d7a3fa10 EFLAGS: 00010202
RAX: dffffc0000000000 RBX: 0000000000000000 RCX: 0000000000000000 RDX: 0000000000000003
Call Trace:
 vfs_read+0x10/0x40
"""
    )
    assert report.analysis
    where = report.analysis.steps[5].finding
    assert "a check of KASAN before the access to 0x18, which is NULL plus 0x18; RDX held an eighth" in where


@pytest.mark.parametrize(
    ("release", "banner", "words"),
    [
        ("6.1.0-56-amd64", "(Debian 12.2.0-14+deb12u1)", "apt-get install linux-image-6.1.0-56-amd64-dbg"),
        ("5.15.0-91-generic", "(Ubuntu 11.4.0)", "apt-get install linux-image-5.15.0-91-generic-dbgsym"),
        ("3.10.0-1160.el7.x86_64", "", "debuginfo-install kernel-3.10.0-1160.el7.x86_64"),
        ("5.14.0-70.el9.x86_64", "", "dnf debuginfo-install kernel-5.14.0-70.el9.x86_64"),
        ("6.5.6-300.fc39.x86_64", "", "the package kernel-debuginfo-6.5.6-300.fc39.x86_64"),
        ("5.4.17-2136.el8uek.x86_64", "", "kernel-uek-debuginfo-5.4.17-2136.el8uek.x86_64"),
        ("6.4.0-150600.21-default", "(SUSE Linux)", "zypper install kernel-default-debuginfo"),
        ("7.0.0-mine", "", "Find the vmlinux of 7.0.0-mine with debugging symbols"),
    ],
)
def test_the_symbols_are_those_of_the_distribution(release: str, banner: str, words: str) -> None:
    text = console("null_read").replace(b"6.1.0-56-amd64", release.encode()).replace(b"Debian", b"")
    at = text.index(b"(debian-kernel@")
    text = text[:at] + banner.encode() + text[text.index(b" #1", at) :]
    (report,) = parse(text)
    assert report.analysis
    assert any(words in todo for todo in report.analysis.next)


def test_the_clock_and_the_date_of_the_bios_give_its_age() -> None:
    (report,) = parse(console("null_read").replace(b"setting system clock", b"not setting the clock"))
    assert report.analysis
    assert "of 04/01/2014, at least 11 years old" in report.analysis.steps[1].finding


def rack(report: CrashReport) -> Step | None:
    """A step of another distribution: the place of the machine, and the line that gives it."""
    racks = {"node1": "row 3, rack 7"}
    found = racks.get(report.hostname)
    said = Sentence(f"The machine stands in {found}.", lines_of(report.facts_of("owner")))
    return Step("rack", (said,)) if found else None


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """An installed distribution with an entry point of the group kpanic.steps."""

    def install(value: str) -> None:
        others = plugins.points
        entry = plugins.Point("rack", value, reading.GROUP)
        monkeypatch.setattr(
            plugins, "points", lambda group: (entry,) if group == reading.GROUP else others(group)
        )
        monkeypatch.setattr(plugins.Point, "load", lambda _: globals().get(value))
        reading._own.cache_clear()  # noqa: SLF001

    yield install
    reading._own.cache_clear()  # noqa: SLF001


def test_a_site_adds_a_step_of_its_own(site: Callable[[str], None]) -> None:
    site("rack")
    known = analyse(replace(crash("null_read"), hostname="node1")).steps
    assert [step.name for step in known[-2:]] == ["rack", "verdict"]
    assert known[-2].finding == "The machine stands in row 3, rack 7."
    assert [line.text[:4] for line in known[-2].evidence] == ["CPU:"]
    assert "rack" not in [step.name for step in analyse(crash("null_read")).steps]


def failing(_report: CrashReport) -> Step:
    raise ValueError("the inventory is away")


def test_a_step_of_a_site_that_fails_does_not_cost_the_crash(site: Callable[[str], None]) -> None:
    site("failing")
    assert (
        analyse(crash("null_read")).steps[-2].finding == "This step failed: ValueError: the inventory is away"
    )


def test_a_step_that_is_no_function_is_named(site: Callable[[str], None]) -> None:
    site("LAB")
    with pytest.raises(TypeError, match=r"'rack' of kpanic\.steps is not a function"):
        analyse(crash("null_read"))


OOM = """\
[  910.113950] Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled
[  910.229545] CPU: 1 PID: 243 Comm: kworker/1:2 Not tainted 3.16.0-6-amd64 #1
"""
KILLER = "[  910.064770] kworker/1:2 invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\n"


@pytest.mark.parametrize(
    ("killer", "why"),
    [(KILLER, "the OOM killer's report says what filled the memory"), ("", "which is missing from the log")],
)
def test_the_caller_of_the_oom_killer_triggers_its_panic(killer: str, why: str) -> None:
    (crash,) = parse("[  910.064760] SysRq : Manual OOM execution\n" + killer + OOM)
    said = {step.name: step for step in analyse(crash).steps}
    assert crash.cause == "out-of-memory"
    assert "The OOM killer was called on purpose, through SysRq." in str(said["trigger"])
    assert "asked for memory" not in str(said["trigger"])
    assert why in str(said["verdict"])


def test_a_panic_states_its_reason_without_a_trace() -> None:
    (crash,) = parse("[   12.345678] Kernel panic - not syncing: widget: firmware is missing\n")
    analysis = analyse(crash)
    assert (crash.status, analysis.confidence) == ("corrupted", "certain")
    assert analysis.sure == "the kernel states the cause, although the log contains no call trace of it"
    assert analysis.why.startswith("The log is enough")
