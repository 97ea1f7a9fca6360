"""A crash of each small machine in its kernel's format; a machine of another distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from kpanic.grammars import body, machines, parse
from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import Block, block
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.machines import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyparsing import ParserElement


class Seen(NamedTuple):
    machine: str
    cause: str
    function: str
    address: int | None
    place: str
    """Meaning of the faulting address."""
    process: str
    register: tuple[str, str] | None


CRASHES = {
    "loongarch64": (
        """\
CPU 0 Unable to handle kernel paging request at virtual address 0000000000000040, era == 9000000002b0a0a4
Oops[#1]:
CPU: 0 PID: 812 Comm: modprobe Not tainted 6.6.0-loong64 #1
pc 9000000002b0a0a4 ra 9000000002b0a098 tp 9000000100aa0000 sp 9000000100aa3c80
a0 0000000000000040 a1 9000000100bb6000 a2 0000000000000008 a3 0000000000000000
   ra: 9000000002b0a098 widget_probe+0x48/0x110 [widget]
  ERA: 9000000002b0a0a4 widget_reset+0x54/0x110 [widget]
 CRMD: 000000b0 (PLV0 -IE -DA +PG DACF=CC DACM=CC -WE)
ESTAT: 00010000 [PIL] (IS= ECode=1 EsubCode=0)
 BADV: 0000000000000040
Modules linked in: widget(+)
Process modprobe (pid: 812, threadinfo=0000000012345678, task=0000000087654321)
Call Trace:
[<9000000002b0a0a4>] widget_reset+0x54/0x110 [widget]
[<9000000002b0a098>] widget_probe+0x48/0x110 [widget]
[<9000000000220aa8>] do_one_initcall+0x78/0x1dc
""",
        Seen(
            "loongarch64",
            "null-dereference",
            "widget_reset",
            0x40,
            "null",
            "modprobe",
            ("a1", "9000000100bb6000"),
        ),
    ),
    "sparc64": (
        """\
Unable to handle kernel NULL pointer dereference
tsk->{mm,active_mm}->context = 0000000000000bf1
insmod(1906): Oops [#1]
CPU: 39 PID: 1906 Comm: insmod Tainted: G            E    5.14.0-4-sparc64-smp #1  Debian 5.14.16-1
TSTATE: 0000004411001607 TPC: 0000000010465674 TNPC: 0000000010465678 Y: 00000021    Tainted: G            E
TPC: <widget_reset+0x14/0xc0 [widget]>
g0: 0000000000000000 g1: 0000000000000001 g2: 0000000000000002 g3: 0000000000000003
I7: <widget_probe+0x144/0x1e0 [widget]>
Call Trace:
 [0000000010472044] widget_probe+0x144/0x1e0 [widget]
 [00000000004274bc] do_one_initcall+0x34/0x1c0
""",
        Seen(
            "sparc64",
            "null-dereference",
            "widget_reset",
            None,
            "",
            "insmod",
            ("g1", "0000000000000001"),
        ),
    ),
    "parisc": (
        """\
Kernel Fault: Code=15 (Data TLB miss fault) at addr 00000008
CPU: 0 PID: 725 Comm: insmod Not tainted 6.10.6-parisc #1  Debian 6.10.6-1
Hardware name: 9000/778/B160L

     YZrvWESTHLNXBCVMcbcbcbcbOGFRQPDI
PSW: 00000000000001001011111000001110 Not tainted
IASQ: 00000000 00000000 IAOQ: 10413598 1041359c
 IIR: 0fc010dc    ISR: 00000000  IOR: 00000008
 CPU:        0   CR30: 7f9a0000 CR31: ffffffff
 IAOQ[0]: widget_reset+0x5c/0x90 [widget]
 IAOQ[1]: widget_reset+0x60/0x90 [widget]
 RP(r2): widget_probe+0x598/0x758 [widget]
Backtrace:
 [<10413c60>] widget_probe+0x598/0x758 [widget]
 [<10454dec>] do_one_initcall+0x30/0x6c
""",
        Seen("parisc", "null-dereference", "widget_reset", 8, "null", "insmod", ("IIR", "0fc010dc")),
    ),
    "m68k": (
        """\
Unable to handle kernel access at virtual address af06da84
Oops: 00000000
Modules linked in: widget(+)
PC: [<2074657a>] widget_reset+0x1a/0x40 [widget]
SR: 2204  SP: 05ef00e4  a2: 010195d0
d0: 00000063    d1: 00000001    d2: 00000000    d3: 0029d6f8
Process insmod (pid: 61, task=b63809d5)
Frame format=7 eff addr=20746573 ssw=0546 faddr=20746573
Call Trace: [<001f64b0>] widget_probe+0x2f2/0x3d2 [widget]
 [<0000209c>] do_one_initcall+0x0/0x184
""",
        Seen("m68k", "bad-pointer", "widget_reset", 0xAF06DA84, "kernel", "insmod", ("a2", "010195d0")),
    ),
    "alpha": (
        """\
Unable to handle kernel paging request at virtual address 0000000000000010
CPU 0 insmod(811): Oops 0
pc = [<fffffc0000310f40>]  ra = [<fffffc0000310f20>]  ps = 0000    Not tainted
pc is at widget_reset+0x20/0x40 [widget]
ra is at widget_probe+0x10/0x20 [widget]
v0 = 0000000000000000  t0 = fffffc00005f1c38  t1 = 0000000000000001
Trace:
[<fffffc0000310f20>] widget_probe+0x10/0x20 [widget]
[<fffffc0000312345>] do_one_initcall+0x60/0x200
""",
        Seen(
            "alpha",
            "null-dereference",
            "widget_reset",
            0x10,
            "null",
            "insmod",
            ("t0", "fffffc00005f1c38"),
        ),
    ),
    "ia64": (
        """\
Unable to handle kernel NULL pointer dereference (address 0000000000000010)
insmod[811]: Oops 8813272891392 [1]
Modules linked in: widget(+)

Pid: 811, CPU 0, comm:               insmod
psr : 00001210085a2010 ifs : 8000000000000205 ip  : [<a000000100045abc>]    Not tainted (2.6.32-5-mckinley)
ip is at widget_reset+0x20/0x40 [widget]
b0  : a000000100045a60 b6  : a000000100045a20 b7  : a00000010000b9f0
r1  : a000000100d0c9b0 r2  : a000000100b0d6b8 r3  : a000000100b0d6c0

Call Trace:
 [<a000000100013e60>] show_stack+0x80/0xa0
                                sp=e0000001fe48fc00 bsp=e0000001fe489330
 [<a000000100045abc>] widget_reset+0x20/0x40 [widget]
                                sp=e0000001fe48fdd0 bsp=e0000001fe4892d8
""",
        Seen(
            "ia64",
            "null-dereference",
            "widget_reset",
            0x10,
            "null",
            "insmod",
            ("r2", "a000000100b0d6b8"),
        ),
    ),
    "sh": (
        """\
BUG: unable to handle kernel NULL pointer dereference at 00000010
PC: [<8c0a6fae>] widget_reset+0x16/0x20
pgd = 8c3f5000
[00000010] *pgd=00000000
Oops: 0000 [#1]
Modules linked in: widget(+)

CPU: 0 PID: 61 Comm: insmod Not tainted 5.4.0 #1
PC is at widget_reset+0x16/0x20 [widget]
PR is at widget_probe+0x36/0x1a0 [widget]
PC  : 8c0a6fae SP  : 8f829e9c SR  : 400080f0 TEA : 00000010
R0  : 00000000 R1  : 8c4a3e58 R2  : 00000001 R3  : 00000000
Call trace:
 [<(ptrval)>] widget_probe+0x36/0x1a0 [widget]
 [<(ptrval)>] do_one_initcall+0x3a/0x180
""",
        Seen("sh", "null-dereference", "widget_reset", 0x10, "null", "insmod", ("R1", "8c4a3e58")),
    ),
    "openrisc": (
        """\
Unable to handle kernel NULL pointer dereference at virtual address 0x00000010

Oops#: 0000
CPU #: 0
   PC: c0002f4c    SR: 0000807f    SP: c1845e50
GPR00: 00000000 GPR01: c1845e50 GPR02: c1845e8c GPR03: 00000000
Process insmod (pid: 61, stackpage=c1840000)

Stack:
Call trace:
[<c0002f4c>] widget_reset+0x16/0x20 [widget]
[<c0003e50>] do_one_initcall+0x3a/0x180
""",
        Seen("openrisc", "null-dereference", "widget_reset", 0x10, "null", "insmod", ("GPR01", "c1845e50")),
    ),
    "arc": (
        """\
Oops
Path: /bin/insmod
CPU: 0 PID: 61 Comm: insmod Not tainted 5.1.0 #1

[ECR   ]: 0x00050100 => Invalid Read @ 0x00000010 by insn @ 0x70a8bc6a
[EFA   ]: 0x00000010
[BLINK ]: widget_probe+0x40/0x58 [widget]
[ERET  ]: widget_reset+0x6/0x88 [widget]
[STAT32]: 0x00080002 :   K
r00: 0x00000063\tr01: 0x80a3e000\tr02: 0x00000001
Stack Trace:
  widget_reset+0x6/0x88 [widget]
  widget_probe+0x40/0x58 [widget]
""",
        Seen("arc", "null-dereference", "widget_reset", 0x10, "null", "insmod", ("r01", "80a3e000")),
    ),
    "xtensa": (
        """\
Unable to handle kernel paging request at virtual address 00000010
 pc = d0046abc, ra = 90046a10
Oops: sig: 11 [#1] PREEMPT
CPU: 0 PID: 61 Comm: insmod Not tainted 6.1.0 #1
a00: 900461bc d181de40 d02b6a00 00000001 00000000 d02f6b28 00000000 00000000
pc: d0046abc, ps: 00060030, depc: 00000008, excvaddr: 00000010
Stack:
Call Trace:
 [<d0046abc>] widget_reset+0x10/0x20 [widget]
 [<d0046a10>] do_one_initcall+0x10/0x20
""",
        Seen("xtensa", "null-dereference", "widget_reset", 0x10, "null", "insmod", ("a01", "d181de40")),
    ),
    "um": (
        """\
Kernel panic - not syncing: Kernel mode fault at addr 0x10, ip 0x60012345
CPU: 0 PID: 61 Comm: insmod Not tainted 6.1.0 #1
RIP: 0033:widget_reset+0x16/0x20
RSP: 00000000a0a3fe50  EFLAGS: 00010246
RAX: 0000000000000000 RBX: 0000000060a3e000 RCX: 0000000000000001
Call Trace:
 [<60012345>] widget_reset+0x16/0x20
 [<60012399>] do_one_initcall+0x3a/0x180
""",
        Seen("um", "explicit-panic", "widget_reset", None, "", "insmod", ("RBX", "0000000060a3e000")),
    ),
    "ppc": (
        """\
BUG: Unable to handle kernel data access on write at 0xc122eb34
Faulting instruction address: 0xc001b580
Oops: Kernel access of bad area, sig: 11 [#1]
BE PAGE_SIZE=4K MPC8544 DS
CPU: 0 PID: 61 Comm: insmod Not tainted 5.18.0 #1
NIP:  c001b580 LR: c001b560 CTR: 00000003
NIP [c001b580] widget_reset+0x48/0xa8 [widget]
LR [c001b560] widget_probe+0x28/0xa8 [widget]
Call Trace:
[c5107ec0] [c001b560] widget_probe+0x28/0xa8 [widget] (unreliable)
[c5107ee0] [c00051b0] do_one_initcall+0x38/0x150
""",
        Seen("ppc", "bad-pointer", "widget_reset", 0xC122EB34, "kernel", "insmod", ("LR", "c001b560")),
    ),
    "mips64": (
        """\
CPU 0 Unable to handle kernel paging request at virtual address 0000000000000010, epc == ffffffffc0012abc
Oops[#1]:
CPU: 0 PID: 61 Comm: insmod Not tainted 5.10.0-32-octeon #1 Debian 5.10.223-1
$ 0   : 0000000000000000 0000000000000001 0000000000000000 ffffffff80a3e000
epc   : ffffffffc0012abc widget_reset+0x14/0x38 [widget]
ra    : ffffffffc0012a10 widget_probe+0x10/0x38 [widget]
Cause : 00800008 (ExcCode 02)
BadVA : 0000000000000010
Process insmod (pid: 61, threadinfo=00000000c3b1f5a2, task=0000000012345678, tls=000000fff3d4c740)
Call Trace:
[<ffffffffc0012abc>] widget_reset+0x14/0x38 [widget]
[<ffffffff80101234>] do_one_initcall+0x74/0x1f8
""",
        Seen(
            "mips64",
            "null-dereference",
            "widget_reset",
            0x10,
            "null",
            "insmod",
            ("$3", "ffffffff80a3e000"),
        ),
    ),
}


@pytest.mark.parametrize("name", CRASHES)
def test_a_machine(name: str) -> None:
    text, expected = CRASHES[name]
    (report,) = parse("".join(f"[   12.{at:06}] {line}\n" for at, line in enumerate(text.splitlines())))
    machine = machines.find(report.kernel.architecture)
    address = report.fault_address
    seen = Seen(
        report.kernel.architecture,
        report.cause,
        report.blame.function,
        address,
        "" if address is None else machine.locate(address).place,
        report.process.name,
        expected.register if expected.register in report.registers else None,
    )
    assert seen == expected
    assert report.status == "complete"


def test_every_machine_is_found_by_its_name_and_by_what_names_it() -> None:
    for machine in machines.installed():
        assert machines.find(machine.name) is machine
        for word in machine.words:
            assert machines.named_in(f"6.1.0-1-{word}") == machine.name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("3.10.0-1160.el7.x86_64", "x86_64"),
        ("6.1.0-50-686-pae", "i686"),
        ("6.12.107+deb13-powerpc64le", "ppc64le"),
        ("5.10.0-200.fc33.armv7hl", "armv7l"),
        ("5.15.134 (builder@buildhost) (mipsel-openwrt-linux-musl-gcc (OpenWrt GCC 12.3.0) 12.3.0)", "mips"),
        ("5.4.0-generic (root@arch) (gcc version 9 (Ubuntu)) #1 human sha1 alphabet", ""),
        ("5.10.0 (a@x86_64-builder) (aarch64-linux-gnu-gcc (Debian 12.2.0) 12.2.0)", "aarch64"),
        ("6.1.0-alpha", ""),
    ],
)
def test_a_word_of_a_release_or_a_banner_names_a_machine(text: str, name: str) -> None:
    assert machines.named_in(text) == name


@block("pointer", pointer("wizard"))
def spell() -> ParserElement:
    """SPELL: cast+0x10/0x20"""
    return "SPELL: " + k.FollowedBy(k.rest_of_line("raw")) + k.place + k.rest_of_line


WIZARD = Machine(name="wizard", words=("merlin",), blocks=(spell,))


@pytest.fixture
def wizard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Block]:
    known = {**{machine.name: machine for machine in machines.installed()}, "wizard": WIZARD}
    caches = (machines._words, body.switch)  # noqa: SLF001 - computed once for the installed machines
    with monkeypatch.context() as patch:
        patch.setattr(machines, "_by_name", lambda: known)
        for cache in caches:
            cache.cache_clear()
        yield spell
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("wizard")
def test_a_machine_of_another_distribution_is_one_file() -> None:
    (report,) = parse(
        "[    1.000000] Linux version 6.1.0-merlin (a@b) (gcc) #1 SMP\n"
        "[    2.000000] Unable to handle kernel NULL pointer dereference at virtual address 00000010\n"
        "[    2.000001] SPELL: cast+0x10/0x20\n[    2.000002] Call Trace:\n[    2.000003]  wave+0x1/0x2\n"
    )
    assert (report.kernel.architecture, report.blame.function) == ("wizard", "cast")
