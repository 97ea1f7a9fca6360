"""The identity of a crash and of its documents: ``event.id`` and ``_id``.

``event.id`` names the incident and rests only on what the kernel itself prints with the crash, because
that is all that every transport carries: printk's time of the first line, the ``CPU: … PID: … Comm:``
line, the stack pointer and on x86 the addresses of the page tables (CR3) and of the CPU's own data (GS).
Host name and banner are left out: a netconsole listener that starts late, or a pstore record, has
neither. The title is left out too, because a better grammar may change it: an update must not make old
crashes new ones.

``journalctl`` and ``dmesg -T`` do not show printk's time: by itself such a text is an incident of its own.
The store assigns it to the incident of the same host that printed the same at about the same time
(:class:`Sighting`). Without the time, two boots may print the same: a machine without address randomisation
that dies at the same place does so each time. Two hosts that print the same in the same microsecond get the
same ``event.id``; the store keeps them apart (:func:`apart`).

``_id`` adds the provider and the host (:mod:`.crashed_host`). So two machines that die alike in the same
microsecond are both kept. A file that was copied, renamed or touched is the same document, unless its path
names another host.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kpanic.shipper.crashed_host import crashed_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = ["Sighting", "apart", "identify", "sighting"]

_STACK_POINTERS = ("RSP", "ESP", "sp", "SP")


class Sighting(Struct, frozen=True):
    """How a crash was seen; tells whether two documents without a common time belong to one incident."""

    host: str
    """``host.name``."""
    printed: str
    """A digest of what the crash prints, without printk's time."""
    provider: str
    """``event.provider``; a provider reports a crash once."""
    at: float
    """``@timestamp``, seconds since 1970 UTC."""
    timed: bool
    """Whether the text has printk's time: two texts with different times are two crashes."""


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
    """Return the ``event.id`` for a host with the same crash, in the same microsecond, as another host."""
    return "v1-" + _digest(repr((incident, host)), 32)


def _printed(cpu: int | None, pid: int | None, name: str, registers: Mapping[str, str]) -> tuple[object, ...]:
    """Return the parts of a report that the machine's next crash rarely repeats."""
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
