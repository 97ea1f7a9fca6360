"""A crash of every machine in its kernel's format: pointer, registers, address, error, trace, cause."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from kpanic.grammars import CrashReport, parse

X86 = """\
BUG: unable to handle page fault for address: ffffffffc04008c0
#PF: supervisor write access in kernel mode
#PF: error_code(0x0003) - permissions violation
Oops: 0003 [#1] PREEMPT SMP NOPTI
CPU: 0 PID: 1 Comm: init Tainted: G           OE      6.1.0-56-amd64 #1  Debian 6.1.192-2
RIP: 0010:boom_ro_write+0x5/0x20 [boom]
RSP: 0018:ff6bd6de80013ae8 EFLAGS: 00000246
RAX: ffffffffc0216000 RBX: 0000000000000000 RCX: c0000000ffffefff
CR2: ffffffffc04008c0 CR3: 0000000001070000 CR4: 0000000000751ef0
Call Trace:
 <TASK>
 set_kind.cold+0x22/0x3f [boom]
 vfs_write+0x235/0x3f0
 </TASK>
RIP: 0033:0x47b7a0
RSP: 002b:00007ffe9f5c56f8 EFLAGS: 00000202 ORIG_RAX: 0000000000000001
"""
CENTOS = """\
BUG: unable to handle kernel NULL pointer dereference at           (null)
IP: [<ffffffff816633f6>] boom_null_write+0x16/0x20
PGD 0
Oops: 0002 [#1] SMP
Modules linked in: boom(OE)
CPU: 1 PID: 2211 Comm: bash Tainted: G           OE  ------------   3.10.0-1160.el7.x86_64 #1
RIP: 0010:[<ffffffff816633f6>]  [<ffffffff816633f6>] boom_null_write+0x16/0x20
RSP: 0018:ffff88003cc5be58  EFLAGS: 00010246
CR2: 0000000000000000 CR3: 000000003c9b8000 CR4: 00000000000006e0
Call Trace:
 [<ffffffff81663c1d>] proc_reg_write+0x3d/0x80
 [<ffffffff8120295d>] ? rw_verify_area+0x4d/0x80
 [<ffffffff81202b2d>] vfs_write+0xbd/0x1e0
"""
I386 = """\
BUG: kernel NULL pointer dereference, address: 00000010
#PF: supervisor read access in kernel mode
#PF: error_code(0x0000) - not-present page
*pdpt = 0000000004e94001 *pde = 0000000000000000
Oops: 0000 [#1] PREEMPT SMP NOPTI
CPU: 0 PID: 1 Comm: init Tainted: G           OE      6.1.0-50-686-pae #1  Debian 6.1.176-1
EIP: boom_null_read+0x10/0x20 [boom]
EAX: c1d0bdc0 EBX: d8829630 ECX: c1d0bdc0 EDX: d88298cc
ESI: c1c02840 EDI: 00000008 EBP: c111bcf4 ESP: c111bcf0
Call Trace:
 boom_write+0x21/0x30 [boom]
 vfs_write+0xa8/0x3a0
EIP: 0xb7f7e559
EAX: ffffffda EBX: 00000001 ECX: 094cff40 EDX: 00000002
"""
ARM64 = """\
Unable to handle kernel execute from non-executable memory at virtual address ffff64f943142800
Mem abort info:
  ESR = 0x000000008600000f
Internal error: Oops: 000000008600000f [#1] SMP
CPU: 0 PID: 1 Comm: init Tainted: G           OE      6.1.0-50-arm64 #1  Debian 6.1.176-1
pstate: 60400005 (nZCv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)
pc : 0xffff64f943142800
lr : boom_nx_exec+0x2c/0x3c [boom]
sp : ffff80000800b9e0
x29: ffff80000800b9e0 x28: ffff64f9425a8000 x27: 0000000000000000
Call trace:
 0xffff64f943142800
 boom_write+0x38/0x54 [boom]
 vfs_write+0xdc/0x3a0
"""
ARM = """\
8<--- cut here ---
Unable to handle kernel NULL pointer dereference at virtual address 00000010 when write
[00000010] *pgd=00000000
Internal error: Oops: 805 [#1] SMP ARM
CPU: 0 PID: 1 Comm: init Tainted: G           OE      6.1.0-50-armmp #1  Debian 6.1.176-1
PC is at boom_null_write+0x14/0x24 [boom]
LR is at vfs_write+0xe4/0x400
pc : [<bf000014>]    lr : [<c062d8c4>]    psr: 60050013
sp : d880df00  ip : 00000000  fp : 012241d0
r10: bf0046c4  r9 : bf0008dc  r8 : c2151600
 boom_null_write [boom] from vfs_write+0xe4/0x400
 vfs_write from ksys_write+0x78/0xfc
"""
POWERPC = """\
Kernel attempted to read user page (10) - exploit attempt? (uid: 0)
BUG: Kernel NULL pointer dereference on read at 0x00000010
Faulting instruction address: 0xc008000000335024
Oops: Kernel access of bad area, sig: 11 [#1]
CPU: 0 UID: 0 PID: 1 Comm: init Tainted: G           OE      6.12.107+deb13-powerpc64le #1  Debian 6.12.107-1
NIP:  c008000000335024 LR: c008000000335cf8 CTR: c008000000335008
REGS: c0000000038bfa10 TRAP: 0300   Tainted: G           OE       (6.12.107+deb13-powerpc64le)
CFAR: c008000000335cf4 DAR: 0000000000000010 DSISR: 40000000 IRQMASK: 0
GPR00: c008000000335cf8 c0000000038bfcb0 c008000000358100 0000000000000001
NIP [c008000000335024] boom_null_read+0x1c/0x40 [boom]
LR [c008000000335cf8] boom_write+0x50/0x80 [boom]
Call Trace:
[c0000000038bfcb0] [c008000000335cd0] boom_write+0x28/0x80 [boom] (unreliable)
[c0000000038bfcd0] [c0000000005da988] vfs_write+0x168/0x4f0
"""
S390 = """\
Unable to handle kernel pointer dereference in virtual kernel address space
Failing address: 000003ff7e75a000 TEID: 000003ff7e75a407
Fault in home space mode while using kernel ASCE.
Oops: 0004 ilc:3 [#1] SMP
CPU: 0 UID: 0 PID: 1 Comm: init Tainted: G           OE      6.12.107+deb13-s390x #1  Debian 6.12.107-1
Krnl PSW : 0704c00180000000 000003ff7e754404 (boom_ro_write+0xc/0x20 [boom])
           R:0 T:1 IO:1 EX:1 Key:0 M:1 W:0 P:0 AS:3 CC:0 PM:0 RI:0 EA:3
Krnl GPRS: 0000000000000000 000003ff7e75a460 0000000000000000 0000000000000000
Call Trace:
 [<000003ff7e754404>] boom_ro_write+0xc/0x20 [boom]
([<000003fffec8fc40>] vfs_write+0xc0/0x400)
Last Breaking-Event-Address:
 [<000003ff7e754b70>] boom_write+0x48/0x60 [boom]
"""
RISCV = """\
Unable to handle kernel access to user memory without uaccess routines at virtual address 0000000000000010
Oops [#1]
CPU: 0 UID: 0 PID: 1 Comm: init Tainted: G           OE      6.12.107+deb13-riscv64 #1  Debian 6.12.107-1
epc : boom_null_read+0x10/0x24 [boom]
 ra : boom_write+0x32/0x3e [boom]
epc : ffffffff01e6b162 ra : ffffffff01e6b734 sp : ff2000000000ba30
 gp : ffffffff81a1b0e8 tp : ff60000000220000 t0 : 0000000000000000
status: 0000000200000120 badaddr: 0000000000000010 cause: 000000000000000d
[<ffffffff01e6b162>] boom_null_read+0x10/0x24 [boom]
[<ffffffff01e6b734>] boom_write+0x32/0x3e [boom]
[<ffffffff80314de4>] vfs_write+0xaa/0x3ba
"""


ARM_OLD = """\
Unable to handle kernel NULL pointer dereference at virtual address 00000004
pgd = c0004000
[00000004] *pgd=00000000
Internal error: Oops: 805 [#1] PREEMPT SMP ARM
Modules linked in: widget(O+) mali_drm
CPU: 1    Tainted: G           O  (3.4.113 #5)
PC is at widget_probe+0x24/0x100 [widget]
LR is at usb_probe_interface+0xb4/0x1bc
pc : [<bf0f627c>]    lr : [<c02c3f10>]    psr: 60000013
sp : ef1a9b74  ip : ef1a9ba0  fp : ef1a9b9c
r10: 00000000  r9 : 00000001  r8 : bf0f627c
Process khubd (pid: 33, stack limit = 0xef1a82f8)
Stack: (0xef1a9b74 to 0xef1aa000)
[<bf0f627c>] (widget_probe+0x24/0x100 [widget]) from [<c02c3f10>] (usb_probe_interface+0xb4/0x1bc)
[<c02c3f10>] (usb_probe_interface+0xb4/0x1bc) from [<c0270cbc>] (driver_probe_device+0x78/0x214)
Code: e3a03000 e5832004
"""
MIPS = """\
CPU 0 Unable to handle kernel paging request at virtual address fffffff0, epc == 8003ab3c, ra == 80036f64
Oops[#1]:
CPU: 0 PID: 172 Comm: kworker/0:1 Tainted: G      D        3.18.29 #6
$ 0   : 00000000 00000015 00000000 a25b0831
$ 4   : 878e1360 00000000 ffd23940 00000003
Hi    : 00000000
Lo    : 83728000
epc   : 8003ab3c kthread_data+0x4/0xc
ra    : 80036f64 wq_worker_sleeping+0x14/0xbc
Status: 1100e402	KERNEL EXL
Cause : 80800008
BadVA : fffffff0
Modules linked in: pppoe ppp_async
Call Trace:
[<8003ab3c>] kthread_data+0x4/0xc
[<80036f64>] wq_worker_sleeping+0x14/0xbc
[<8036ab3c>] __schedule+0x4c/0x6cc
Code: 03e00008  7c420080
"""


class Seen(NamedTuple):
    machine: str
    cause: str
    function: str
    pointer: tuple[str, int | None, int | None]
    address: int | None
    error: str


MACHINES = {
    "x86-64": (
        X86,
        Seen(
            "x86_64",
            "write-protected",
            "boom_ro_write",
            ("boom_ro_write", 0x5, 0x20),
            0xFFFFFFFFC04008C0,
            "write to a protected page by the kernel",
        ),
        ("RAX", "ffffffffc0216000"),
        "set_kind.cold",
    ),
    "x86-64 of 3.10": (
        CENTOS,
        Seen(
            "x86_64",
            "null-dereference",
            "boom_null_write",
            ("boom_null_write", 0x16, 0x20),
            0,
            "write to a non-present page by the kernel",
        ),
        ("CR3", "000000003c9b8000"),
        "proc_reg_write",
    ),
    "i386": (
        I386,
        Seen(
            "i686",
            "null-dereference",
            "boom_null_read",
            ("boom_null_read", 0x10, 0x20),
            0x10,
            "read from a non-present page by the kernel",
        ),
        ("EAX", "c1d0bdc0"),
        "boom_write",
    ),
    "arm64": (
        ARM64,
        Seen(
            "aarch64",
            "exec-protected",
            "boom_nx_exec",
            ("", None, None),
            0xFFFF64F943142800,
            "instruction fetch from a protected page by the kernel",
        ),
        ("x29", "ffff80000800b9e0"),
        "",
    ),
    "arm": (
        ARM,
        Seen(
            "armv7l",
            "null-dereference",
            "boom_null_write",
            ("boom_null_write", 0x14, 0x24),
            0x10,
            "write to a non-present page by the kernel",
        ),
        ("r10", "bf0046c4"),
        "boom_null_write",
    ),
    "arm of 3.4": (
        ARM_OLD,
        Seen(
            "armv7l",
            "null-dereference",
            "widget_probe",
            ("widget_probe", 0x24, 0x100),
            0x4,
            "write to a non-present page by the kernel",
        ),
        ("r9", "00000001"),
        "widget_probe",
    ),
    "mips": (
        MIPS,
        Seen(
            "mips",
            "bad-pointer",
            "kthread_data",
            ("kthread_data", 0x4, 0xC),
            0xFFFFFFF0,
            "read from a non-present page by the kernel",
        ),
        ("$3", "a25b0831"),
        "kthread_data",
    ),
    "powerpc": (
        POWERPC,
        Seen(
            "ppc64le",
            "null-dereference",
            "boom_null_read",
            ("boom_null_read", 0x1C, 0x40),
            0x10,
            "read from a non-present page by the kernel",
        ),
        ("GPR01", "c0000000038bfcb0"),
        "boom_write",
    ),
    "s390x": (
        S390,
        Seen(
            "s390x",
            "write-protected",
            "boom_ro_write",
            ("boom_ro_write", 0xC, 0x20),
            0x3FF7E75A000,
            "write to a protected page by the kernel",
        ),
        ("GPR1", "000003ff7e75a460"),
        "boom_ro_write",
    ),
    "riscv64": (
        RISCV,
        Seen(
            "riscv64",
            "null-dereference",
            "boom_null_read",
            ("boom_null_read", 0x10, 0x24),
            0x10,
            "read from a page by the kernel",
        ),
        ("gp", "ffffffff81a1b0e8"),
        "boom_null_read",
    ),
}


def read(text: str) -> CrashReport:
    stamped = "".join(f"[   12.{number:06}] {line}\n" for number, line in enumerate(text.splitlines()))
    (report,) = parse(stamped)
    return report


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine(name: str) -> None:
    text, expected, register, first = MACHINES[name]
    report = read(text)
    assert report.ip
    assert report.oops
    seen = Seen(
        report.kernel.architecture,
        report.cause,
        report.blame.function,
        (report.ip.symbol, report.ip.offset, report.ip.size),
        report.fault_address,
        report.oops.error,
    )
    assert seen == expected
    assert report.oops.number == 1
    assert register in report.registers
    assert report.call_trace[0].symbol == first
    assert report.status == "complete"


def test_the_registers_of_the_process_are_not_those_of_the_crash() -> None:
    assert [value for name, value in read(X86).registers if name == "RSP"] == ["0018:ff6bd6de80013ae8"]
    assert [value for name, value in read(I386).registers if name == "EAX"] == ["c1d0bdc0"]


def test_a_process_is_found_in_a_line_of_its_own() -> None:
    report = read(ARM_OLD)
    assert (report.process.pid, report.process.name, report.process.cpu) == (33, "khubd", 1)
    assert report.kernel.release == "3.4.113"


@pytest.mark.parametrize(
    ("line", "name", "release", "flags"),
    [
        ("Comm: bash Kdump: loaded Not tainted 5.10.0-32-amd64 #1 Debian", "bash", "5.10.0-32-amd64", ()),
        (
            "Comm: a b Kdump: loaded Tainted: G           OE    --------- -  - 4.18.0-348.el8.x86_64 #1",
            "a b",
            "4.18.0-348.el8.x86_64",
            ("O", "E"),
        ),
        ("Comm: Tainted: x Tainted: G S      5.4.17 #2", "Tainted: x", "5.4.17", ("S",)),
    ],
)
def test_the_running_task(line: str, name: str, release: str, flags: tuple[str, ...]) -> None:
    owner = "CPU: 0 PID: 1 Comm: init Tainted: G           OE      6.1.0-56-amd64 #1  Debian 6.1.192-2"
    assert owner in X86
    report = read(X86.replace(owner, f"CPU: 0 PID: 1 {line}"))
    assert (report.process.name, report.kernel.release) == (name, release)
    assert (report.taint.flags if report.taint else ()) == flags


def test_the_process_of_a_hang_is_the_hung_task_not_the_detector() -> None:
    report = read(
        "INFO: task a b:123 blocked for more than 122 seconds.\nCall Trace:\n schedule+0x5e/0xd0\n"
        " widget_write+0x2d/0xe0\nKernel panic - not syncing: hung_task: blocked tasks\n"
        "CPU: 1 PID: 30 Comm: khungtaskd Not tainted 6.16.0 #1\n"
    )
    assert (report.process.pid, report.process.name) == (123, "a b")
    assert report.kernel.release == "6.16.0"


def test_a_signal_is_no_error_code() -> None:
    report = read(POWERPC)
    assert report.oops
    assert report.oops.error_code is None


def test_a_frame_that_the_unwinder_doubts_is_kept_as_such() -> None:
    doubted = [frame.symbol for frame in read(CENTOS).call_trace if not frame.reliable]
    assert doubted == ["rw_verify_area"]
    assert not read(POWERPC).call_trace[0].reliable


@pytest.mark.parametrize(
    ("name", "vendor", "product"),
    [
        ("linux,dummy-virt (DT)", "linux", "linux,dummy-virt"),
        ("Raspberry Pi 4 Model B Rev 1.4 (DT)", "", "Raspberry Pi 4 Model B Rev 1.4"),
        ("Dell Inc. PowerEdge R740/0WRPXK, BIOS 2.10.2 02/24/2021", "Dell Inc.", "PowerEdge R740/0WRPXK"),
    ],
)
def test_a_hardware_name_is_of_dmi_or_of_a_device_tree(name: str, vendor: str, product: str) -> None:
    (report,) = parse(CENTOS.replace("PGD 0\n", f"Hardware name: {name}\n"))
    assert report.hardware is not None
    assert (report.hardware.vendor, report.hardware.product) == (vendor, product)


@pytest.mark.parametrize(("address", "machine"), [("ffffff8008f0d420", "aarch64"), ("8c0a1b2c", "")])
def test_a_trace_of_arm64_opens_with_a_small_letter_and_has_wide_addresses(
    address: str, machine: str
) -> None:
    (crash,) = parse(
        "INFO: task widgetd:4049 blocked for more than 120 seconds.\n"
        "      Not tainted 4.9.140 #1\n"
        "Call trace:\n"
        f"[<{address}>] schedule+0x40/0xa8\n"
    )
    assert crash.kernel.architecture == machine
