"""The cause of a crash, from the header's form and the report's other facts.

A header says ``unable to handle page fault``; the error code and the address say whether that was a write to
read-only memory or an access to user memory. A header says ``sysrq triggered crash``, or in older kernels
``unable to handle kernel NULL pointer dereference``; the line before it shows that SysRq triggered it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from kpanic.grammars import machines
from kpanic.grammars.data.complaints import ASKED, KILLER
from kpanic.grammars.lazy import regex
from kpanic.grammars.machines.access import NOTHING, Access, fetch
from kpanic.grammars.machines.address import NULL_PAGE
from kpanic.grammars.numbers import hexadecimal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpanic.grammars.fact import Fact
    from kpanic.grammars.gather import Gathered
    from kpanic.grammars.machines import Machine
    from kpanic.grammars.model import Line, Oops

__all__ = ["Settled", "settle", "triggered"]

PAGE_FAULTS: Final = frozenset(
    {"bad-pointer", "null-dereference", "exec-protected", "write-protected", "user-memory-access", "sysrq"}
)
"""Causes of an exception with a faulting address and, on x86, an error code."""
PAGE: Final = 12
"""Bits of an address that are the offset in a page of the smallest size."""
SOON: Final = 2.0
"""Maximum seconds between the SysRq key and its crash."""
CLOSE: Final = 10
"""Maximum lines between the SysRq key and its crash, if lines have no time."""
LONG: Final = 60.0
"""Maximum seconds between the OOM killer's first line and its panic: it may print all tasks slowly."""
_READABLE: Final = regex(r"(?:[0-9a-f]{2,8} ){4}")
"""``Code:`` with readable bytes."""
_TRAPPED: Final = regex(r"[<(]([0-9a-f]+)[)>]")
"""The instruction that trapped."""


class Settled(Struct, frozen=True):
    """The cause of a report, and the facts that depend on it."""

    cause: str
    detail: str
    address: int | None
    """The faulting address."""
    oops: Oops | None
    """The oops, with its error code in words."""


def settle(header: str, detail: str, fields: Mapping[str, str], found: Gathered, *, machine: str) -> Settled:
    """Return the cause of a report.

    :param header: the cause that the header's form gives.
    :param detail: the form's own words for the cause's detail.
    :param fields: the header's fields.
    :param machine: ``uname -m``.
    """
    known = machines.find(machine)
    address, oops = hexadecimal(fields.get("address")), found.oops
    at = found.pointer.ip.address if found.pointer else None
    if header == "invalid-opcode":
        if at is not None and at < NULL_PAGE:
            return Settled("null-dereference", "a jump through a NULL pointer", at, oops)
        trapped = _TRAPPED.findall(found.code)
        return Settled(header if known.bug.isdisjoint(trapped) else "bug", detail, address, oops)
    if header not in PAGE_FAULTS and header != "general-protection":
        return Settled(header, detail, address, oops)
    if header == "general-protection":
        return _protected(detail, address, found, known)
    if address is None:
        address = _address(found, known)
    code = oops.error_code if oops else None
    if code is None or known.code_apart:
        code = _code(found, known, code)
    deed = known.access(code)
    if not known.says_fetch and at is not None and address is not None and at >> PAGE == address >> PAGE:
        deed = fetch(deed)
    if deed.deed == "execute" and not deed.page and _READABLE.match(found.code):
        deed = structs.replace(deed, page="protected")  # readable memory that is not executable
    if deed.words and oops:
        oops = structs.replace(oops, error=deed.words)
    overran = header != "sysrq" and found.first("stack overrun") is not None
    return Settled(
        "stack-overflow" if overran else known.cause(header, deed, address),
        _where(address, known, deed) or detail,
        address,
        oops,
    )


def _protected(detail: str, address: int | None, found: Gathered, machine: Machine) -> Settled:
    """Return the cause of a general protection fault: for KASAN's checks, by the address of the access."""
    cause = "general-protection"
    if within := found.first("range"):
        address = hexadecimal(within.value["address"])
        cause = "null-dereference" if within.value["what"] == "null-ptr-deref" else cause
    return Settled(cause, _where(address, machine, NOTHING) or detail, address, found.oops)


def _code(found: Gathered, machine: Machine, known: int | None) -> int | None:
    """Return the error code from another line than that of the oops."""
    if said := found.first("error code"):
        return hexadecimal(said.value["code"])
    written = _register(found, machine.code_register)
    return known if written is None else hexadecimal(written)


def _address(found: Gathered, machine: Machine) -> int | None:
    """Return the faulting address from another line than the header."""
    if said := found.first("fault address"):
        return 0 if "null" in said.value else hexadecimal(said.value["address"])
    return hexadecimal(_register(found, machine.address_register))


def _register(found: Gathered, name: str) -> str | None:
    return next((value for other, value in found.registers if other == name), None)


def triggered(trigger: Fact | None, head: Line) -> Fact | None:
    """Return the trigger of a crash, if it is directly before the report."""
    if trigger is None:
        return None
    line = trigger.lines[-1]
    if line.number > head.number:
        return None
    if line.time is None or head.time is None:
        return trigger if head.number - line.number <= CLOSE else None
    most = LONG if trigger.value["what"] in {KILLER, ASKED} else SOON
    return trigger if 0 <= head.time - line.time <= most else None


def _where(address: int | None, machine: Machine, deed: Access) -> str:
    if address is None:
        return ""
    words = machine.locate(address).words
    return f"{words}, {deed.deed}" if deed.deed else words
