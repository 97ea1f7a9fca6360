"""x86-64 and i386 (arch/x86/kernel/{dumpstack,process_*,traps}.c, arch/x86/mm/fault.c; 2.6.9 to 7.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.oops import read_oops
from kpanic.grammars.blocks.owner import read_owner
from kpanic.grammars.blocks.platform import platform
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.blocks.registers import named, registers
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.access import Access, Deed, access
from kpanic.grammars.machines.address import KERNEL, USER, Address, split
from kpanic.grammars.machines.disassembler import Disassembler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyparsing import ParserElement

    from kpanic.grammars.model import CrashReport

__all__ = ["I686", "X86_64"]

_USER: Final = frozenset({"0033", "0023", "0073", "e033", "001b"})
"""Code segments of user mode, including those of Xen and of 32-bit code."""


def _where() -> ParserElement:
    """Return ``0010:sysrq_handle_crash+0x16/0x20``; the segment is optional."""
    selector = k.Opt(k.Regex("[0-9a-f]{4}(?=:)")("selector") + ":")
    blank = k.Regex("[ \t]{0,8}")
    return blank + k.FollowedBy(k.rest_of_line("raw")) + selector + blank + k.place + k.rest_of_line


def _no_inline() -> ParserElement:
    """Reject the line of an inlined function: another line names the function with its offset."""
    return ~k.Regex(r"[^\n]{0,200}\[inline\]")


@block("platform", platform("i686"))
def page_table_32() -> ParserElement:
    """*pde = 00000000"""  # arch/x86/mm/fault.c: dump_pagetable()
    return "*pde = " + k.hex_digits(8, 16) + k.rest_of_line


@block("platform", platform("x86_64"))
def page_table_64() -> ParserElement:
    """PGD 290e01067 P4D 290e01067 PUD 46da41067 PMD 46d8f8067 PTE 800ffffed6f54060

    PGD 1c11067 PUD 0
    """
    return "PGD " + k.hex_number + " P" + k.one_of("4D ", "UD ") + k.rest_of_line


@block("pointer", pointer("x86_64", _USER))
def rip() -> ParserElement:
    """RIP: 0010:[<ffffffffb3c74856>]  [<ffffffffb3c74856>] sysrq_handle_crash+0x16/0x20

    RIP: 0010:sysrq_handle_crash+0x16/0x20

    RIP: 0033:0x47b7a0
    """  # before 4.9; since; user mode
    return "RIP: " + _no_inline() + _where()


@block("pointer", pointer("x86_64", _USER))
def rip_braced() -> ParserElement:
    """RIP: 0010:[<ffffffff8012f369>] <ffffffff8012f369>{try_to_wake_up+57}

    RIP: 0010:[<ffffffffa01b9b1c>] <ffffffffa01b9b1c>{:ext3:ext3_get_block+44}
    """  # before 2.6.16
    raw = k.FollowedBy(k.rest_of_line("raw"))
    selector = k.Regex("[0-9a-f]{4}")("selector") + ":[<"
    home = k.Opt(":" + k.Regex(r"[\w-]+")("home") + ":")
    code = k.Regex(r"<[0-9a-f]{16}>\{") + home + k.symbol_name("name") + "+" + k.number + "}"
    return "RIP: " + raw + selector + k.hex_digits(16, 16)("address") + ">] " + code + k.rest_of_line


@block("pointer", pointer("x86_64", _USER))
def rip_end() -> ParserElement:
    """RIP  [<ffffffffb3c74856>] sysrq_handle_crash+0x16/0x20"""  # at the end of an oops, before 4.18
    raw = k.FollowedBy(k.rest_of_line("raw"))
    return k.one_of("RIP  ", "RIP ", "RIP") + k.FollowedBy("[<") + raw + k.place + k.rest_of_line


@block("pointer", pointer("i686", _USER))
def eip() -> ParserElement:
    """EIP: sysrq_handle_crash+0x16/0x20

    EIP: [<c1234567>] sysrq_handle_crash+0x16/0x20 SS:ESP 0068:c0
    """
    again = k.Regex(r" *\w{4}:\[<\w*>\] [^\n]{0,200}\n(?:[^\n]{0,200}\n)?EIP is at ")
    return "EIP: " + ~again + _no_inline() + _where()


@block("pointer", pointer("i686", _USER))
def eip_is_at() -> ParserElement:
    """EIP is at sysrq_handle_crash+0x16/0x20"""  # before 4.10, behind EIP: 0060:[<c1234567>] EFLAGS: …
    return "EIP is at " + _where()


@block("pointer", pointer({16: "x86_64", 8: "i686"}, _USER))
def ip() -> ParserElement:
    """IP: [<ffffffffb3c74856>] sysrq_handle_crash+0x16/0x20"""  # below the header, 2.6.24 to 4.18
    return "IP: " + _no_inline() + _where()


@block("owner", read_owner)
def release() -> ParserElement:
    """EFLAGS: 00010282   (2.6.18-194.el5 #1)"""  # i386 before 2.6.22
    kernel = k.Regex(r"\d+\.\d+[^\s)#]*")("release") + k.Opt(k.Opt(" ") + k.Regex(r"#[^\s)]+")("build"))
    return "EFLAGS: " + k.hex_number + k.Regex(" {1,20}") + "(" + kernel + k.rest_of_line


@sentence
def register() -> ParserElement:
    """RAX: 000000000000000a

    RSP: 0018:ffff88003cc5be58

    FS:  00007f5b3c0f1740(0000)
    """
    value = k.Regex(r"(?:[0-9a-f]{4}:)?(?:0x)?[0-9a-f]{2,16}(?:\(\w{1,16}\))?")
    return k.Regex(r"[A-Za-z_]{1,8}\d{0,2}")("name") + ":" + k.Regex(r" ?\s?") + value("value")


_GENERAL: Final = ("AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP")


@block("registers", registers(named(register)), each=register)
def rows() -> ParserElement:
    """RAX: 000000000000000a RBX: ffffffffb44e4ce0 RCX: 0000000000000000
    FS:  00007f5b3c0f1740(0000) GS:ffff9b1b7fc00000(0000) knlGS:0000000000000000
    CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033

    eax: 00000000   ebx: c1a8f000   ecx: 00000001   edx: d6b3c000
    esi: d6b3c000   edi: 00000000   ebp: d6b3cf9c   esp: d6b3cf90
    """  # lower case before 2.6.23
    names = k.one_of(
        *[f"R{name}" for name in _GENERAL],
        *[f"E{name}" for name in _GENERAL],
        *[f"R{number:02}" for number in range(8, 16)],
        *("CS", "DS", "FS", "GS", "CR0", "CR2", "CR3", "CR4", "CR8"),
        *("DR0", "DR1", "DR2", "DR3", "DR6", "DR7", "PKRU", "EFLAGS", "RFLAGS"),
        *("eax", "esi", "ds"),
    )
    return k.Lines(names + ": " + k.rest_of_line)("lines")


@block("oops", read_oops)
def exception() -> ParserElement:
    """simd exception: 0000 [#1] PREEMPT SMP"""
    return k.exception("simd exception: ", "fpu exception: ", "iret exception: ", "bounds: ")


@block("error code", dict)
def page_fault_code() -> ParserElement:
    """#PF: error_code(0x0002) - not-present page"""  # arch/x86/mm/fault.c, since 5.1
    return "#PF: error_code(0x" + k.hex_number("code") + ")" + k.rest_of_line


@block("stack overrun", dict)
def overran() -> ParserElement:
    """Thread overran stack, or stack corrupted"""  # arch/x86/mm/fault.c, before 4.9
    return "Thread overran stack" + k.rest_of_line


_PRESENT, _WRITE, _FROM_USER, _RESERVED, _FETCH, _KEY, _SHADOW = 1, 2, 4, 8, 16, 32, 64
_REASONS: Final = (
    (_RESERVED, "a reserved bit is set"),
    (_KEY, "protection key"),
    (_SHADOW, "shadow stack"),
)


def _fault(code: int) -> Access:
    """Read the error code of a page fault (arch/x86/include/asm/trap_pf.h)."""
    deed: Deed = "execute" if code & _FETCH else "write" if code & _WRITE else "read"
    who = "user mode" if code & _FROM_USER else "the kernel"
    found = access(deed, "protected" if code & _PRESENT else "absent", who)
    for bit, words in _REASONS:
        if code & bit:
            return structs.replace(found, words=f"{found.words} ({words})")
    return found


_VMALLOC: Final = range(0xFFFFC90000000000, 0xFFFFE90000000000)
_DIRECT: Final = range(0xFFFF888000000000, 0xFFFFC88000000000)
_MODULES: Final = range(0xFFFFFFFFA0000000, 0xFFFFFFFFFF000000)
_IMAGE: Final = 0xFFFFFFFF80000000
"""__START_KERNEL_map."""


def _regions(address: int) -> Address:
    """Locate an address by Documentation/arch/x86/x86_64/mm.rst; KASLR moves the regions of data."""
    if address < 1 << 47:
        return USER
    if 1 << 56 <= address < (1 << 64) - (1 << 56):
        return Address("non-canonical", "a non-canonical address, which is never valid")
    if address < 1 << 56 or address < (1 << 64) - (1 << 47):
        five = "canonical only with five levels of page tables"
        where = USER if address < 1 << 56 else KERNEL
        return Address(where.place, f"{where.words}, {five}")
    if address in _MODULES:
        return Address("kernel", "an address in a module")
    if address >= _IMAGE:
        return Address("kernel", "an address in the kernel's image")
    if address in _DIRECT:
        return Address("kernel", "an address in the kernel's direct map or, if KASLR moved it, in vmalloc")
    if address in _VMALLOC:
        return Address("kernel", "an address in vmalloc or, if KASLR moved it, in the kernel's direct map")
    return KERNEL


def _trapped(tokens: Sequence[str], at: int, report: CrashReport) -> int:
    """Return the breakpoint: the instruction pointer of the trap is behind it."""
    return at - 1 if report.cause == "breakpoint" and at and tokens[at - 1] == "cc" else at


def _padded(name: str) -> str:
    """Return ``r08`` for ``r8``."""
    return f"r0{name[1:]}" if name in {"r8", "r9"} else name


_OPERANDS: Final = ("div", "idiv", "call *", "callq *", "jmp *", "jmpq *")
X86_64 = Machine(
    name="x86_64",
    words=("x86_64", "amd64"),
    entries=r"entry_SYSCALL_64|do_syscall_64$|__x64_sys_|system_call_fastpath$|secondary_startup_64",
    blocks=(rip_braced, rip, rip_end, ip, release, rows, exception, page_fault_code, overran, page_table_64),
    fault=_fault,
    says_fetch=True,
    regions=_regions,
    shadow=0xDFFFFC0000000000,
    disassembler=Disassembler(
        architecture="X86",
        modes=("64",),
        shown="bytes",
        trapped=_trapped,
        register=_padded,
        halves={
            **{f"e{name}": f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp")},
            **{f"r{number}d": f"r{number:02}" for number in range(8, 16)},
        },
        trap=b"\x0f\x0b",
        trap_name="ud2",
        operand=_OPERANDS,
    ),
)
I686 = Machine(
    name="i686",
    words=("i686", "i586", "i386", "686", "686-pae"),
    bits=32,
    entries=r"sysenter_past_esp$|entry_(?:INT80|SYSENTER)_32$",
    blocks=(eip, eip_is_at, ip, release, rows, exception, page_fault_code, overran, page_table_32),
    fault=_fault,
    regions=split(0xC0000000),  # the default of PAGE_OFFSET
    disassembler=Disassembler(
        architecture="X86",
        modes=("32",),
        shown="bytes",
        trapped=_trapped,
        trap=b"\x0f\x0b",
        trap_name="ud2",
        operand=_OPERANDS,
    ),
)
