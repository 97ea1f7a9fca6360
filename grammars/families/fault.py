"""Page faults: the kernel touched an address that it may not (arch/*/mm/fault.c).

::

    BUG: unable to handle kernel NULL pointer dereference at 0000000000000010     x86 before 5.1
    BUG: kernel NULL pointer dereference, address: 0000000000000010               x86 since 5.1
    BUG: unable to handle page fault for address: ffffc90000010000
    #PF: supervisor write access in kernel mode
    #PF: error_code(0x0002) - not-present page
    Unable to handle kernel NULL pointer dereference at virtual address 00000010  arm, arm64, riscv
    Unable to handle kernel paging request for data at address 0x00000010         powerpc before 5.1
    BUG: Kernel NULL pointer dereference on write at 0x00000000                   powerpc since
    Unable to handle kernel pointer dereference in virtual kernel address space   s390x
    kernel tried to execute NX-protected page - exploit attempt? (uid: 0)
    unable to execute userspace code (SMEP?) (uid: 0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.family import Family, Form, head

if TYPE_CHECKING:
    from collections.abc import Mapping

NULL_PAGE: Final = 0x1000
"""Bytes: an access below this is one through a NULL pointer with an offset, as arch/x86/mm/fault.c has it."""


def _null(fields: Mapping[str, str]) -> str:
    return "write-protected" if fields.get("readonly") else "null-dereference"


_ADDRESS: Final = r"(?:0x)?(?P<address>[0-9a-f]{4,16})"
_TITLE: Final = "BUG: unable to handle kernel {what} in {function}"

FAULT = Family(
    name="fault",
    literals=(
        "BUG: unable to handle",
        "BUG: kernel NULL pointer dereference",
        "BUG: Kernel NULL pointer dereference",
        "BUG: Unable to handle kernel",
        "Unable to handle kernel",
        "Kernel attempted to ",
        "unable to execute userspace code",
        "kernel tried to execute ",
    ),
    forms=(
        Form(
            head(
                r"(?:BUG: )?(?:[uU]nable to handle kernel |[kK]ernel )NULL pointer dereference"
                rf"(?P<readonly>)(?:[^\n]{{0,60}}?(?:at(?: virtual address)?|address:?) {_ADDRESS})?"
            ),
            title="BUG: unable to handle kernel NULL pointer dereference in {function}",
            kind="oops",
            cause=_null,
            walk="ip",
        ),
        Form(
            head(
                "(?:BUG: )?[uU]nable to handle kernel (?P<user>access to user memory|execution of user "
                "memory|execute from non-executable)?"
                rf"[^\n]{{0,60}}?(?:(?:at(?: virtual address)?|address:?) {_ADDRESS})"
            ),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="bad-pointer",
            walk="ip",
        ),
        Form(
            head(rf"BUG: unable to handle page fault for address: {_ADDRESS}"),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="bad-pointer",
            walk="ip",
        ),
        Form(
            head(
                "(?:BUG: )?[uU]nable to handle kernel (?:paging request|pointer dereference in virtual "
                r"kernel)[^\n]*"
            ),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="bad-pointer",
            walk="ip",
        ),
        Form(
            head(r"BUG: unable to handle kernel[^\n]*"),
            title="BUG: unable to handle kernel",
            kind="oops",
            cause="bad-pointer",
            corrupted="the report's first line is cut off",
        ),
        Form(
            head(
                r"(?:Kernel attempted|kernel tried) to [^\n]*\n[^\n]*BUG: (?:Kernel NULL pointer dereference"
                rf"|Unable to handle kernel instruction fetch \(NULL)(?:[^\n]*? at {_ADDRESS})?[^\n]*"
            ),
            title="BUG: unable to handle kernel NULL pointer dereference in {function}",
            kind="oops",
            cause="null-dereference",
            walk="ip",
        ),
        Form(
            head(r"BUG: Unable to handle kernel instruction fetch \(NULL[^\n]*"),
            title="BUG: unable to handle kernel NULL pointer dereference in {function}",
            kind="oops",
            cause="null-dereference",
            walk="ip",
        ),
        Form(
            head(r"BUG: Unable to handle kernel [^\n]*"),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="bad-pointer",
            walk="ip",
        ),
        Form(
            head(r"Kernel attempted to (?P<access>read|write|execute) user page[^\n]*"),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="user-memory-access",
            walk="ip",
        ),
        Form(
            head(r"kernel tried to execute (?:NX|exec)-protected page[^\n]*"),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="exec-protected",
            walk="ip",
        ),
        Form(
            head(r"unable to execute userspace code[^\n]*"),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="user-memory-access",
            walk="ip",
        ),
        Form(
            head(r"kernel tried to execute user page[^\n]*"),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="user-memory-access",
            walk="ip",
        ),
    ),
)
