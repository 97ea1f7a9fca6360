"""The crash of the story: SysRq by an operator, saved by kdump, explained by the dmesg alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpanic.grammars import CrashReport, parse
from kpanic.grammars.fact import lines_of

STORY = Path(__file__).parent.parent / "logs" / "story"
FOLDER = STORY / "127.0.0.1-2021-04-29-20:32:26" / "vmcore-dmesg.txt"
PASTED = STORY / "pasted.txt"
EATEN = b"""\
[  790.371036] SysRq : Trigger a crash
[  790.371131] Oops: 0002 [#1] SMP
[  790.371441] RIP: 0010:[] [] sysrq_handle_crash+0x16/0x20
[  790.371594] Call Trace:
[  790.371603]  [] __handle_sysrq+0x10d/0x170
[  790.371616]  [] write_sysrq_trigger+0x28/0x40
"""


def only(text: bytes) -> CrashReport:
    (report,) = parse(text)
    return report


@pytest.fixture(params=[FOLDER, PASTED], ids=["folder", "pasted"])
def crash(request: pytest.FixtureRequest) -> CrashReport:
    return only(request.param.read_bytes())


def test_kernel_and_boot_image(crash: CrashReport) -> None:
    assert crash.kernel.release == "3.10.0-1160.el7.x86_64"
    assert crash.kernel.build == "#1 SMP Mon Oct 19 16:18:59 UTC 2020"
    assert crash.kernel.architecture == "x86_64"
    assert crash.kernel.boot_image == "/vmlinuz-3.10.0-1160.el7.x86_64"


def test_somebody_triggered_it(crash: CrashReport) -> None:
    assert crash.cause == "sysrq"
    assert crash.blame.function == "sysrq_handle_crash"
    assert [line.text for line in lines_of(crash.facts_of("trigger"))] == ["SysRq : Trigger a crash"]
    assert crash.status == "complete"
    assert crash.kind == "oops"
    assert crash.fatal  # the kernel sets panic_on_oops before it crashes itself


def test_the_message_of_the_kernel(crash: CrashReport) -> None:
    assert crash.oops
    assert (crash.oops.number, crash.oops.error_code, crash.oops.flags) == (1, 2, ("SMP",))
    assert crash.oops.error == "write to a non-present page by the kernel"
    assert crash.time == 790.371131


def test_the_places_and_transports(crash: CrashReport) -> None:
    assert crash.ip
    assert (crash.ip.symbol, crash.ip.offset, crash.ip.size) == ("sysrq_handle_crash", 0x16, 0x20)
    assert crash.ip.address == 0xFFFFFFFFB3C74856
    assert [(frame.symbol, frame.offset, frame.size) for frame in crash.call_trace] == [
        ("__handle_sysrq", 0x10D, 0x170),
        ("write_sysrq_trigger", 0x28, 0x40),
    ]


def test_the_dmesg_is_enough(crash: CrashReport) -> None:
    analysis = crash.analysis
    assert analysis
    assert analysis.summary == "Kernel 3.10.0-1160.el7.x86_64 was crashed on purpose through SysRq."
    assert not analysis.vmcore_needed
    assert analysis.confidence == "certain"
    assert analysis.why.startswith("The log is enough, and the vmcore need not be opened")


def test_every_conclusion_has_its_line(crash: CrashReport) -> None:
    assert crash.analysis
    steps = {step.name: step for step in crash.analysis.steps}
    assert list(steps) == [
        "kernel and boot image",
        "hardware",
        "what came before",
        "trigger",
        "what the kernel said",
        "where",
        "through what",
        "consequences",
        "verdict",
    ]
    for name, words, lines in (
        ("kernel and boot image", "Linux 3.10.0-1160.el7.x86_64 (CentOS 7) on x86_64", [1]),
        ("kernel and boot image", "from the image /vmlinuz-3.10.0-1160.el7.x86_64.", [2]),
        ("kernel and boot image", "It had been up for 13 minutes 10 seconds.", [4]),
        ("hardware", "is between line 1, the start of the boot, and line 4, the crash.", [1, 4]),
        ("what came before", "The lines that were read contain no earlier warning, oops or OOM kill.", []),
        ("trigger", "was triggered on purpose, by a write to /proc/sysrq-trigger.", [3, 8]),
        ("what the kernel said", "This is an oops: the kernel hit an error that it cannot handle.", [4]),
        ("what the kernel said", "code 0002 means: write to a non-present page by the kernel.", [4]),
        ("where", "The CPU was at sysrq_handle_crash+0x16/0x20, in the kernel itself.", [5]),
        (
            "through what",
            "write to /proc/sysrq-trigger through __handle_sysrq -> sysrq_handle_crash to the crash.",
            [8],
        ),
        ("through what", "The suspect function is sysrq_handle_crash", [5]),
        ("consequences", "A crash through SysRq always ends the kernel.", [3, 4]),
        ("verdict", "The log is enough, and the vmcore need not be opened", [4]),
    ):
        (said,) = [sentence for sentence in steps[name].sentences if words in sentence.text]
        assert [line.number for line in said.evidence] == lines


def test_both_tellings_are_one_crash() -> None:
    folder, pasted = only(FOLDER.read_bytes()), only(PASTED.read_bytes())
    assert (folder.title, folder.signature, folder.time) == (pasted.title, pasted.signature, pasted.time)


def test_a_page_that_ate_the_angle_brackets_still_reads() -> None:
    crash = only(EATEN)
    assert crash.cause == "sysrq"
    assert crash.ip
    assert crash.ip.symbol == "sysrq_handle_crash"
    assert [frame.symbol for frame in crash.call_trace] == ["__handle_sysrq", "write_sysrq_trigger"]
    assert crash.signature == only(FOLDER.read_bytes()).signature


def test_it_is_called_as_every_kernel_before_5_1_calls_it(crash: CrashReport) -> None:
    assert crash.title == "BUG: unable to handle kernel NULL pointer dereference in sysrq_handle_crash"
