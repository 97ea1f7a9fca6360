"""What set a crash off: the cause that the header's form gives, made exact by what the rest of the text says.

A header says ``unable to handle page fault``; the error code and the address say whether that was a write to
read-only memory or an access to user memory. A header says ``sysrq triggered crash``, or in older kernels
``unable to handle kernel NULL pointer dereference``; the line before it says that somebody pressed the key.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kpanic.grammars.machines import access
from kpanic.grammars.numbers import hexadecimal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpanic.grammars.boot import Boot
    from kpanic.grammars.model import Line, Oops

PAGE_FAULTS: Final = frozenset(
    {"bad-pointer", "null-dereference", "exec-protected", "write-protected", "user-memory-access", "sysrq"}
)
"""Causes of an exception that has a faulting address and, on x86, an error code that says how."""
SAY_FETCH: Final = frozenset({"x86_64", "aarch64"})
"""Machines whose error code says whether an instruction was fetched."""
PAGE: Final = 12
"""Bits of an address within a page of the smallest size."""
SOON: Final = 2.0
"""Seconds between a key and its crash."""
CLOSE: Final = 10
"""Lines between them, where lines have no time."""
LONG: Final = 60.0
"""Seconds between the OOM killer's first line and its verdict: it prints all tasks to a slow console."""

_CODE: Final = re.compile(
    r"#PF: error_code\(0x([0-9a-f]+)\)|\bESR = 0x([0-9a-f]+)|\bDSISR: ([0-9a-f]+)|\bcause: ([0-9a-f]{8,16})\b"
)
_CODE_BYTES: Final = re.compile(r"^Code: (?:[0-9a-f]{2,8} ){4}", re.MULTILINE)
_ADDRESS: Final = re.compile(
    r"fault for address: ([0-9a-f]+)|Failing address: ([0-9a-f]+)|\bbadaddr: ([0-9a-f]+)|\bDAR: ([0-9a-f]+)"
    r"|Faulting instruction address: 0x([0-9a-f]+)|kernel paging request at ([0-9a-f]+)"
)
_OVERRAN: Final = re.compile(r"^Thread overran stack", re.MULTILINE)
"""arch/x86/mm/fault.c, before the oops of a fault: the mark at the end of the stack is gone."""
_NULL: Final = re.compile(r"dereference at +\(null\)")
_RANGE: Final = re.compile(r"KASAN: (null-ptr-deref|[\w-]+) in range \[0x([0-9a-f]+)-0x[0-9a-f]+\]")


def settle(  # noqa: PLR0913 - all of it bears on the cause
    header: str,
    detail: str,
    fields: Mapping[str, str],
    text: str,
    *,
    oops: Oops | None,
    machine: str,
    at: int | None,
) -> tuple[str, str, int | None, Oops | None]:
    """Return cause, detail, faulting address and the oops with its error in words.

    ``header`` and ``detail`` are the words of the form, ``text`` is the report's, ``at`` is where the CPU
    was.
    """
    address = hexadecimal(fields.get("address"))
    if header == "invalid-opcode" and at is not None and at < access.NULL_PAGE:
        return "null-dereference", "a jump through a NULL pointer", at, oops
    if header not in PAGE_FAULTS and header != "general-protection":
        return header, detail, address, oops
    if header == "general-protection":
        found = _RANGE.search(text)
        if found:
            address = hexadecimal(found[2])
            header = "null-dereference" if found[1] == "null-ptr-deref" else header
        return header, _where(address, machine, access.NOTHING) or detail, address, oops
    if address is None:
        address = _fault_address(text)
    code = oops.error_code if oops else None
    if (code is None or machine.startswith("ppc")) and (found := _CODE.search(text)):
        code = hexadecimal(found[found.lastindex or 0])
    deed = access.decode(machine, code)
    if machine not in SAY_FETCH and at is not None and address is not None and at >> PAGE == address >> PAGE:
        deed = access.fetch(deed)
    if deed.deed == "execute" and not deed.page and _CODE_BYTES.search(text):
        deed = deed._replace(page="protected")  # what can be read, and not run
    if deed.words and oops:
        oops = replace(oops, error=deed.words)
    overran = header != "sysrq" and _OVERRAN.search(text)
    return (
        "stack-overflow" if overran else access.cause(header, deed, address, machine),
        _where(address, machine, deed) or detail,
        address,
        oops,
    )


def _fault_address(text: str) -> int | None:
    """Find the address in another line than the header."""
    if found := _ADDRESS.search(text):
        return hexadecimal(found[found.lastindex or 0])
    return 0 if _NULL.search(text) else None


def triggered(boot: Boot, head: Line) -> Line | None:
    """Return the line that says who set a crash off, if it stands right before the report."""
    line = boot.trigger
    if line is None or line.number > head.number:
        return None
    if line.time is None or head.time is None:
        return line if head.number - line.number <= CLOSE else None
    return line if 0 <= head.time - line.time <= (LONG if "oom-killer" in line.text else SOON) else None


def _where(address: int | None, machine: str, deed: access.Access) -> str:
    if address is None:
        return ""
    words = access.locate(address, machine).words
    return f"{words}, {deed.deed}" if deed.deed else words


def evidence(boot: Boot, trigger: Line | None) -> Sequence[Line]:
    """Return the lines outside the report that it rests on."""
    return (*boot.evidence, trigger) if trigger else boot.evidence
