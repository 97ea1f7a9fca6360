"""Page faults on accesses of the kernel (arch/*/mm/fault.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import Family
from kpanic.grammars.machines.address import NULL_PAGE
from kpanic.grammars.numbers import hexadecimal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyparsing import ParserElement

NULL: Final = "BUG: unable to handle kernel NULL pointer dereference in {function}"
PAGING: Final = "BUG: unable to handle kernel paging request in {function}"

fault = Family("fault")
_form = partial(fault.form, kind="oops", walk="ip")


def _user(fields: Mapping[str, str]) -> str:
    """Return the cause of an access to user memory: in the first page, a NULL pointer was dereferenced."""
    address = hexadecimal(fields.get("address"))
    return "null-dereference" if address is not None and address < NULL_PAGE else "user-memory-access"


def _address() -> ParserElement:
    """Return the words that precede the address, and the address."""
    return k.one_of("at virtual address ", "at ", "address: ", "address ") + k.address


def _sparc(what: str) -> ParserElement:
    """Return a header of sparc64, where die_if_kernel() prints the task some lines below."""
    task = k.Regex(r"[^\s(]{1,16}")("comm") + "(" + k.number("pid") + "): "
    return "Unable to handle kernel " + what + k.rest_of_line + k.Later(task + "Oops [#", within=12) + task


@_form(title=NULL, cause="null-dereference")
def sparc_null() -> ParserElement:
    """Unable to handle kernel NULL pointer dereference
    tsk->{mm,active_mm}->context = 0000000000000b6d
    swapper(0): Oops [#1]
    """
    return _sparc("NULL pointer dereference")


@_form(title=PAGING, cause="bad-pointer")
def sparc_paging() -> ParserElement:
    """Unable to handle kernel paging request at virtual address fffff80100000000
    swapper(0): Oops [#1]
    """
    return _sparc("paging request at virtual address ")


@_form(title=NULL, cause="null-dereference")
def null() -> ParserElement:
    """BUG: unable to handle kernel NULL pointer dereference at 0000000000000010

    BUG: kernel NULL pointer dereference, address: 0000000000000010

    Unable to handle kernel NULL pointer dereference at virtual address 00000010

    BUG: Kernel NULL pointer dereference on write at 0x00000000
    """  # x86 before 5.1 and since; arm, arm64, riscv; powerpc since 5.1
    subject = "BUG: " + k.one_of("unable to handle kernel ", "Unable to handle kernel ", "kernel ", "Kernel ")
    return (
        (subject | "Unable to handle kernel ")
        + "NULL pointer dereference"
        + k.Opt(k.UpTo(_address(), most=60) + _address())
    )


@_form(title="BUG: unable to handle kernel access to user memory in {function}", cause=_user)
def user_memory() -> ParserElement:
    """Unable to handle kernel access to user memory outside uaccess routines at virtual address 00000010"""
    return (
        "Unable to handle kernel access to user memory"
        + k.Opt(k.UpTo(_address(), most=60) + _address())
        + k.rest_of_line
    )


@_form(title=PAGING, cause="bad-pointer")
def with_address() -> ParserElement:
    """BUG: unable to handle kernel paging request at ffffc90000010000

    Unable to handle kernel execution of user memory at virtual address 0000000000000010

    Unable to handle kernel paging request for data at address 0x00000010
    """  # x86 before 5.1; arm64; powerpc before 5.1
    what = k.one_of("execution of user memory", "execute from non-executable")
    return (
        k.one_of("BUG: unable to handle kernel ", "BUG: Unable to handle kernel ", "Unable to handle kernel ")
        + k.Opt(what("user"))
        + k.UpTo(_address(), most=60)
        + _address()
    )


@_form(title=PAGING, cause="bad-pointer")
def page_fault() -> ParserElement:
    """BUG: unable to handle page fault for address: ffffc90000010000"""  # x86 since 5.1
    return "BUG: unable to handle page fault for address: " + k.address


@_form(title=PAGING, cause="bad-pointer")
def parisc() -> ParserElement:
    """Page fault: bad address: Code=26 (Data memory access rights trap) at addr f8c00000

    Kernel Fault: Code=15 (Data TLB miss fault) at addr 0000000000000008

    Kernel Fault: Code=26 regs=0000000040a4c9a0 (Addr=00000000)
    """  # the first two since 4.18; the third before
    address = k.one_of(" at addr ", "(Addr=") + k.address
    return k.one_of("Page fault: bad address: ", "Kernel Fault: ") + "Code=" + k.UpTo(address) + address


@_form(title=PAGING, cause="bad-pointer")
def arc() -> ParserElement:
    """Path: /bin/busybox
    CPU: 0 PID: 1 Comm: init Not tainted 5.1.0+ #1
    [ECR   ]: 0x00050100 => Invalid Read @ 0x01200000 by insn @ 0x800a8bc6
    """  # arch/arc/kernel/troubleshoot.c, below a line that says Oops
    access = k.one_of("Read", "Write", "EX") + " @ 0x" + k.address
    return "Path: " + k.rest_of_line + "\n" + "CPU: " + k.later("Invalid " + access, within=4)


@_form(title=PAGING, cause="bad-pointer")
def without_address() -> ParserElement:
    """Unable to handle kernel pointer dereference in virtual kernel address space"""  # s390x
    return (
        k.one_of("BUG: unable to handle kernel ", "BUG: Unable to handle kernel ", "Unable to handle kernel ")
        + k.one_of("paging request", "pointer dereference in virtual kernel")
        + k.rest_of_line
    )


@fault.form(
    title="BUG: unable to handle kernel",
    kind="oops",
    cause="bad-pointer",
    corrupted="the report's first line is cut off",
)
def cut_off() -> ParserElement:
    """BUG: unable to handle kernel"""
    return "BUG: unable to handle kernel" + k.rest_of_line


@_form(title=NULL, cause="null-dereference")
def attempted_null() -> ParserElement:
    """Kernel attempted to read user page (0) - exploit attempt? (uid: 0)
    BUG: Kernel NULL pointer dereference on read at 0x00000000
    """  # powerpc since 5.1
    null = k.one_of(
        "BUG: Kernel NULL pointer dereference", "BUG: Unable to handle kernel instruction fetch (NULL"
    )
    address = " at " + k.address
    return (
        k.one_of("Kernel attempted to ", "kernel tried to execute ")
        + k.later(null, within=1)
        + k.Opt(k.UpTo(address) + address)
    )


@_form(title=NULL, cause="null-dereference")
def fetch_null() -> ParserElement:
    """BUG: Unable to handle kernel instruction fetch (NULL function pointer?)"""  # powerpc
    return "BUG: Unable to handle kernel instruction fetch (NULL" + k.rest_of_line


@_form(title=PAGING, cause="bad-pointer")
def fetch_or_data() -> ParserElement:
    """BUG: Unable to handle kernel instruction fetch"""  # powerpc
    return "BUG: Unable to handle kernel " + k.rest_of_line


@_form(title=PAGING, cause="user-memory-access")
def attempted() -> ParserElement:
    """Kernel attempted to access user page (7fff12345678) - exploit attempt? (uid: 0)"""  # powerpc
    access = k.one_of("read", "write", "execute")
    return "Kernel attempted to " + (access("access") | "access") + " user page" + k.rest_of_line


@_form(title=PAGING, cause="exec-protected")
def protected() -> ParserElement:
    """kernel tried to execute NX-protected page - exploit attempt? (uid: 0)"""
    return "kernel tried to execute " + k.one_of("NX", "exec") + "-protected page" + k.rest_of_line


@_form(title=PAGING, cause="user-memory-access")
def userspace_code() -> ParserElement:
    """unable to execute userspace code (SMEP?) (uid: 0)"""
    return "unable to execute userspace code" + k.rest_of_line


@_form(title=PAGING, cause="user-memory-access")
def user_page() -> ParserElement:
    """kernel tried to execute user page (7fff12345678) - exploit attempt? (uid: 0)"""
    return "kernel tried to execute user page" + k.rest_of_line
