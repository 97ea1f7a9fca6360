"""What a fault was: the error code in words, what the address is, and the cause that follows from both.

Sources: arch/x86/include/asm/trap_pf.h, arch/arm64/include/asm/esr.h, arch/arm/mm/fault.h (FSR),
arch/powerpc/include/asm/reg.h (DSISR), arch/s390/kernel/pgm_check.S (program interruption codes),
arch/riscv/include/asm/csr.h (scause), include/linux/poison.h.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Page = Literal["", "absent", "protected"]
Deed = Literal["", "read", "write", "execute"]


class Access(NamedTuple):
    """What was tried, as far as the error code says it."""

    words: str
    """``write to a non-present page by the kernel``."""
    deed: Deed = ""
    page: Page = ""


NOTHING: Final = Access("")

_DEEDS: Final[dict[Deed, str]] = {
    "": "access to",
    "read": "read from",
    "write": "write to",
    "execute": "instruction fetch from",
}
_PAGES: Final[dict[Page, str]] = {
    "": "a page",
    "absent": "a non-present page",
    "protected": "a protected page",
}


def _access(deed: Deed, page: Page, who: str = "the kernel") -> Access:
    return Access(f"{_DEEDS[deed]} {_PAGES[page]} by {who}", deed, page)


_PRESENT, _WRITE, _USER, _RESERVED, _FETCH, _KEY, _SHADOW = 1, 2, 4, 8, 16, 32, 64


def _x86(code: int) -> Access:
    """Read the error code of a page fault."""
    deed: Deed = "execute" if code & _FETCH else "write" if code & _WRITE else "read"
    access = _access(
        deed, "protected" if code & _PRESENT else "absent", "user mode" if code & _USER else "the kernel"
    )
    for bit, words in (
        (_RESERVED, "a reserved bit is set"),
        (_KEY, "protection key"),
        (_SHADOW, "shadow stack"),
    ):
        if code & bit:
            return access._replace(words=f"{access.words} ({words})")
    return access


_ESR_CLASSES: Final = {
    0x00: Access("undefined instruction"),
    0x0E: Access("illegal execution state"),
    0x0D: Access("branch target exception"),
    0x1C: Access("pointer authentication failure"),
    0x22: Access("misaligned program counter"),
    0x26: Access("misaligned stack pointer"),
    0x2F: Access("SError interrupt: an asynchronous error of the hardware"),
    0x3C: Access("BRK instruction"),
}
_FAULT_STATUS: Final[tuple[tuple[range, Page], ...]] = (
    (range(0x04, 0x08), "absent"),
    (range(0x08, 0x10), "protected"),
)


def _status(deed: Deed, status: int, who: str) -> Access:
    """Read the fault status code that arm64 and arm with large pages share."""
    for codes, page in _FAULT_STATUS:
        if status in codes:
            return _access(deed, page, who)
    if status == 0x21:  # noqa: PLR2004 - as the manual counts them
        return Access("misaligned access", deed)
    if status in range(0x10, 0x20):
        return Access("external abort: the memory or the bus reported an error", deed)
    return _access(deed, "", who)


def _arm64(code: int) -> Access:
    """Read an exception syndrome (ESR_EL1)."""
    kind = code >> 26 & 0x3F
    who = "the kernel" if kind & 1 else "user mode"
    if kind in {0x20, 0x21}:
        return _status("execute", code & 0x3F, who)
    if kind in {0x24, 0x25}:
        return _status("write" if code & 0x40 else "read", code & 0x3F, who)
    return _ESR_CLASSES.get(kind, NOTHING)


def _arm(code: int) -> Access:
    """Read a fault status register: long descriptors if bit 9 is set, write in bit 11, fetch in bit 31."""
    deed: Deed = "execute" if code & 1 << 31 else "write" if code & 1 << 11 else "read"
    if code & 1 << 9:
        return _status(deed, code & 0x3F, "the kernel")
    status = code & 0xF | (code >> 6 & 0x10)
    if status in {5, 7}:
        return _access(deed, "absent")
    if status in {9, 0xB, 0xD, 0xF}:
        return _access(deed, "protected")
    if status == 1:
        return Access("misaligned access", deed)
    return NOTHING


def _powerpc(code: int) -> Access:
    """Read a data storage interrupt status (DSISR)."""
    deed: Deed = "write" if code & 0x02000000 else "read"
    page: Page = "absent" if code & 0x40000000 else "protected" if code & 0x08000000 else ""
    return _access(deed, page)


_S390: Final = {
    0x01: Access("operation exception: an instruction that is none"),
    0x02: Access("privileged operation"),
    0x04: _access("write", "protected"),
    0x05: Access("addressing exception: no such memory"),
    0x06: Access("specification exception: misaligned or malformed operand"),
    0x07: Access("data exception"),
    0x08: Access("fixed-point overflow"),
    0x09: Access("fixed-point division by zero"),
    0x10: _access("", "absent"),
    0x11: _access("", "absent"),
    0x38: _access("", "absent"),
    0x39: _access("", "absent"),
    0x3A: _access("", "absent"),
    0x3B: _access("", "absent"),
    0x40: Access("monitor event: the trap of BUG() and WARN()"),
}
_RISCV: Final = {
    0: Access("misaligned instruction"),
    1: Access("instruction fetch that the bus refused", "execute"),
    2: Access("illegal instruction"),
    3: Access("breakpoint"),
    4: Access("misaligned read", "read"),
    5: Access("read that the bus refused", "read"),
    6: Access("misaligned write", "write"),
    7: Access("write that the bus refused", "write"),
    12: _access("execute", ""),
    13: _access("read", ""),
    15: _access("write", ""),
}


def decode(machine: str, code: int | None) -> Access:
    """Put an error code into words; empty where the machine has none that says something."""
    if code is None:
        return NOTHING
    if machine in {"x86_64", "i686"}:
        return _x86(code)
    if machine == "aarch64":
        return _arm64(code)
    if machine == "armv7l":
        return _arm(code)
    if machine.startswith("ppc64"):
        return _powerpc(code)
    if machine == "s390x":
        return _S390.get(code & 0x7F, NOTHING)
    if machine == "riscv64":
        return _RISCV.get(code, NOTHING)
    return NOTHING


def fetch(access: Access) -> Access:
    """Return an access that turned out to be an instruction's fetch: the CPU was at the address itself."""
    return access if access.deed == "execute" else _access("execute", access.page)


Place = Literal["null", "poison", "error", "user", "kernel", "non-canonical"]


class Address(NamedTuple):
    """What an address is."""

    place: Place
    words: str


NULL_PAGE: Final = 0x1000
"""Bytes: what is below goes through a NULL pointer; arch/x86/mm/fault.c draws the line there too."""
_NEAR: Final = 0x10000
"""Bytes around a poison that a field of a large object may be away."""
_ERRORS: Final = 4095
"""MAX_ERRNO."""
_POISONS: Final = (
    (0x6B6B6B6B6B6B6B6B, "freed slab memory (POISON_FREE, 0x6b…): a use after free"),
    (0x5A5A5A5A5A5A5A5A, "slab memory that was never written (POISON_INUSE, 0x5a…)"),
    (0xA5A5A5A5A5A5A5A5, "the end of a slab object (POISON_END, 0xa5…)"),
    (0xBBBBBBBBBBBBBBBB, "a slab red zone (0xbb…)"),
    (0xCCCCCCCCCCCCCCCC, "a slab red zone or freed init memory (0xcc…)"),
    (0xAAAAAAAAAAAAAAAA, "a poisoned page (0xaa…)"),
    (0xDEAD000000000100, "the next pointer of a deleted list entry (LIST_POISON1)"),
    (0xDEAD000000000122, "the prev pointer of a deleted list entry (LIST_POISON2)"),
    (0xDEAD4EAD00000000, "a spinlock's magic number"),
    (0xDEADBEEFDEADBEEF, "a filler value (0xdeadbeef)"),
    (0xDEAD000000000000, "a poisoned pointer (0xdead…)"),
)
_POISONS_32: Final = (
    (0x6B6B6B6B, "freed slab memory (POISON_FREE, 0x6b…): a use after free"),
    (0x5A5A5A5A, "slab memory that was never written (POISON_INUSE, 0x5a…)"),
    (0xDEADBEEF, "a filler value (0xdeadbeef)"),
)
_WIDE: Final = frozenset({"x86_64", "aarch64", "ppc64le", "ppc64", "s390x", "riscv64"})
_KERNEL_32: Final = 0xC0000000
"""Where the kernel begins on 32-bit machines, unless configured otherwise."""
_VMALLOC: Final = range(0xFFFFC90000000000, 0xFFFFE90000000000)
_DIRECT: Final = range(0xFFFF888000000000, 0xFFFFC88000000000)
_MODULES: Final = range(0xFFFFFFFFA0000000, 0xFFFFFFFFFF000000)


def locate(address: int, machine: str) -> Address:
    """Say what an address is, as far as the number alone tells."""
    wide = machine in _WIDE or address > 0xFFFFFFFF  # noqa: PLR2004 - 32 bits
    if address < NULL_PAGE:
        words = f"NULL plus 0x{address:x}" if address else "NULL"
        deleted = not wide and address in {0x100, 0x122}
        return Address(
            "null", f"{words}, or the pointer of a deleted list entry (LIST_POISON)" if deleted else words
        )
    top = 1 << (64 if wide else 32)
    if address >= top - _ERRORS:
        return Address("error", f"an error code used as a pointer (-{top - address})")
    near = [(address - poison, words) for poison, words in (_POISONS if wide else _POISONS_32)]
    near = [found for found in near if 0 <= found[0] < _NEAR]
    if near:
        offset, words = min(near)
        return Address("poison", f"{words}, plus 0x{offset:x}" if offset else words)
    if not wide:
        if address < _KERNEL_32:
            return Address("user", "an address of user space")
        return Address("kernel", "an address of the kernel")
    if machine == "x86_64":
        return _x86_64(address)
    if address < 1 << 56:
        return Address(
            "user" if machine != "s390x" else "kernel", _LOW.get(machine, "an address of user space")
        )
    if machine == "aarch64" and address >> 48 not in {0, 0xFFFF}:
        return Address("non-canonical", "no address: its upper bits are neither all clear nor all set")
    return Address("kernel", "an address of the kernel")


_LOW: Final = {"s390x": "an address of the kernel or of user space, which s390x keeps apart otherwise"}


def _x86_64(address: int) -> Address:
    """Use the regions of Documentation/arch/x86/x86_64/mm.rst; KASLR moves those of data."""
    if address < 1 << 47:
        return Address("user", "an address of user space")
    if 1 << 56 <= address < (1 << 64) - (1 << 56):
        return Address("non-canonical", "a non-canonical address, which no pointer may hold")
    if address < 1 << 56 or address < (1 << 64) - (1 << 47):
        five = "canonical with five levels of page tables only"
        return Address("user" if address < 1 << 56 else "kernel", f"an address of the kernel, {five}")
    if address in _MODULES:
        return Address("kernel", "an address of a module")
    if address >= 0xFFFFFFFF80000000:  # noqa: PLR2004 - __START_KERNEL_map
        return Address("kernel", "an address in the kernel's image")
    if address in _DIRECT:
        return Address("kernel", "an address of the kernel's direct map or, moved by KASLR, of vmalloc")
    if address in _VMALLOC:
        return Address("kernel", "an address of vmalloc or, moved by KASLR, of the direct map")
    return Address("kernel", "an address of the kernel")


_PROGRAM: Final = range(0x400000000000, 1 << 47)
"""Where x86-64's and arm64's user space has programs, libraries and stacks."""


def cause(header: str, access: Access, address: int | None, machine: str) -> str:
    """Name the cause of a page fault whose header says only that there was one."""
    if address is None or header != "bad-pointer":
        return header
    place = locate(address, machine).place
    if place == "null":
        return "null-dereference"
    if place == "user" and (access.page == "protected" or address in _PROGRAM):
        return "user-memory-access"
    if access.page == "protected" and place == "kernel":
        if access.deed == "execute":
            return "exec-protected"
        if access.deed == "write":
            return "write-protected"
    return header
