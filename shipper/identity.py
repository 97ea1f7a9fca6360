"""Which crash a document is of, and which document it is: ``event.id`` and ``_id``.

``event.id`` names the incident and rests only on what the kernel itself prints with the crash, because
that is all that every transport carries: printk's time of the first line, the ``CPU: … PID: … Comm:``
line, the stack pointer and on x86 the addresses of the page tables (CR3) and of the CPU's own data (GS).
Host name and banner are left out: a netconsole listener that starts late, or a pstore record, has
neither. So is the title, which a better grammar may word anew: an update must not make old crashes new
ones.

``journalctl`` and ``dmesg -T`` do not show printk's time: by itself such a text is an incident of its
own. The store gives it the incident of the same host that printed the same at about the same time
(:class:`Sighting`). What a crash prints beside the time does not tell one boot from the next: a machine
without address randomisation that dies at the same place prints the same each time. Two hosts that print
the same in the same microsecond state one incident; the store keeps them apart (:func:`apart`).

``_id`` adds the provider and the host (:mod:`.crashed_host`): two machines that die alike in the same
microsecond are both kept, while a file that was copied, renamed or touched is the same document unless its
path says another host.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kpanic.shipper.crashed_host import crashed_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = ["Sighting", "apart", "identify", "sighting"]

_STACK_POINTERS = ("RSP", "ESP", "sp", "SP")


class Sighting(NamedTuple):
    """How a crash was seen: what tells whether two documents without a common time are of one incident."""

    host: str
    """``host.name``."""
    printed: str
    """A digest of what the crash prints, without printk's time."""
    provider: str
    """``event.provider``: it brings a crash once."""
    at: float
    """``@timestamp``, seconds since 1970 UTC."""
    timed: bool
    """It has printk's time: two that have it and differ in it are two crashes."""


def identify(report: CrashReport, origin: Origin) -> tuple[str, str]:
    """Return ``event.id`` and ``_id`` of a report, not redacted."""
    process = report.process
    when: object
    if report.time is not None:
        when = round(report.time * 1_000_000)
    elif report.epoch is not None:
        when = f"@{report.epoch:.6f}"
    else:
        when = "\n".join(line.text.rstrip() for line in report.lines)
    registers = dict(reversed(report.registers))  # the first of each name
    incident = "v1-" + _digest(repr((when, *_printed(process.cpu, process.pid, process.name, registers))), 32)
    host = crashed_host(report, origin)
    return incident, "-".join(filter(None, (incident, origin.provider, host and _digest(host, 12))))


def apart(incident: str, host: str) -> str:
    """Return the ``event.id`` of a host that died alike in the same microsecond as another one."""
    return "v1-" + _digest(repr((incident, host)), 32)


def _printed(cpu: int | None, pid: int | None, name: str, registers: Mapping[str, str]) -> tuple[object, ...]:
    """Return what a crash prints that the next crash of the same machine rarely prints again."""
    stack = next((registers[name] for name in _STACK_POINTERS if name in registers), "")
    return cpu, pid, name, stack, registers.get("CR3", ""), registers.get("GS", "")


def sighting(document: Mapping[str, Any]) -> Sighting | None:
    """Return how a document's crash was seen; None if too little is known to find its incident."""
    panic, process = document["kernel"]["panic"], document.get("process", {})
    host = document.get("host", {}).get("name", "")
    registers = panic.get("registers", {})
    printed = _printed(panic.get("cpu"), process.get("pid"), process.get("name", ""), registers)
    if not host or not any(printed[1:]):
        return None
    return Sighting(
        host,
        _digest(repr(printed), 32),
        document["event"]["provider"],
        datetime.fromisoformat(document["@timestamp"]).timestamp(),
        timed="uptime" in panic,
    )


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
