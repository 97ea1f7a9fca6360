"""One crash as one document: an ECS 9.4 object, nested, ready for JSON.

Fields that ECS has are named as ECS names them (https://www.elastic.co/docs/reference/ecs); everything
else is below ``kernel.panic``. Empty fields are left out. Addresses are strings (``0x`` and 16 digits):
they do not fit the engines' signed 64-bit ``long``. There are no arrays of objects.

Below ``kernel.panic``, beyond what their names say:

``timestamp_source``
    What ``@timestamp`` rests on, best first: ``rtc`` (the log's own clock line and printk's time),
    ``transport`` (the stamp of journal, syslog or arrival), ``folder`` (kdump's folder name, local time),
    ``clock`` (the text's own date, whose zone is unknown: taken as UTC; without a year it is in the file's),
    ``mtime`` (of the file), ``read`` (nothing better than when it was read).
``rip.signature``
    ``symbol+0xoffset/0xsize [module]``, the place in the code to count by.
``analysis.steps``
    ``name: finding (lines 3, 8)``, one string a step: the lines of ``log.file.path`` that prove it.
``backfill``
    True of a crash from before this shipper's time here: it is shown and counted, and pages nobody.

Identity
    ``event.id`` names the incident and rests only on what the kernel itself prints with the crash, because
    that is all that every transport carries: printk's time of the first line, the ``CPU: … PID: … Comm:``
    line, the stack pointer and on x86 the addresses of the page tables (CR3) and of the CPU's own data (GS).
    Host name and banner are left out: a netconsole listener that starts late, or a pstore record, has
    neither. So is the title, which a better grammar may word anew: an update must not make old crashes new
    ones.
    ``journalctl`` and ``dmesg -T`` do not show printk's time: by itself such a text is an incident of its
    own. The store gives it the incident of the same host that printed the same at about the same time
    (:class:`Sighting`). What a crash prints beside the time does not tell one boot from the next: a machine
    without address randomisation that dies at the same place prints the same each time.
    ``_id`` adds the provider and the host as the input states it: two machines that die alike in the same
    microsecond are both kept, while a file that was copied, renamed or touched is the same document.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kpanic import __version__
from kpanic.shipper.redact import STANDARD, Redactor
from kpanic.shipper.terminal import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kpanic.grammars.model import Analysis, CrashReport, Frame, InstructionPointer

__all__ = ["ECS_VERSION", "Origin", "Packed", "build", "encode", "identify", "pack"]

ECS_VERSION = "9.4.0"
ORIGINAL_LIMIT = 65_536
"""Characters of raw text kept in ``event.original``."""
TRACE_HEAD = 8
"""Frames of ``kernel.panic.trace_head``, for the messages of alerts."""
KEYWORD_LIMIT = 1024
"""ECS's ``ignore_above``: a longer keyword would be kept but not found."""
NO_YEAR = 2000
"""The year of a stamp that names none."""
LEAP_YEARS = 9
"""Years within which there is one with a 29th of February."""
DAY = 86_400
"""Seconds that a clock may be ahead because of its zone."""
EARLIEST_CLOCK = 978_307_200
"""2001-01-01 UTC: a clock before is one whose battery is flat."""

_STACK_POINTERS = ("RSP", "ESP", "sp", "SP")
_SEVERITY_FATAL, _SEVERITY_ERROR, _SEVERITY_WARNING = 0, 3, 4  # syslog's numbers


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a crash was read; everything about it that is not in its text."""

    provider: str
    """``kdump``, ``pstore``, ``netconsole``, ``serial``, ``journal``, ``kmsg``, ``syslog`` or ``file``."""
    path: str = ""
    """The file, as the user named it."""
    host_ip: str = ""
    """Address of the host that crashed, as kdump's folder name or netconsole's sender states it."""
    host_name: str = ""
    """Its name, likewise."""
    folder_epoch: float | None = None
    """Wall clock in kdump's folder name, seconds since 1970 UTC."""
    mtime: float | None = None
    """Last change of the file, seconds since 1970 UTC."""
    agent_host: str = ""
    """Where this shipper runs."""
    relayed: bool = False
    """The shipper's host is not the one that crashed, whatever else is unknown."""
    namespace: str = "default"
    """``data_stream.namespace``."""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    backfill_before: float | None = None
    """A crash before this moment, seconds since 1970 UTC, is history: it pages nobody. None: none is."""
    backfill_until: float = math.inf
    """When the last history is read, likewise: a host whose clock lags by years crashes anew all the same."""
    redactor: Redactor = STANDARD


def build(report: CrashReport, origin: Origin | None = None, *, now: float | None = None) -> dict[str, Any]:
    """Return the document of ``report``, with its ``_id``; ``event.ingested`` is added when it is sent.

    :param origin: where the text was read; a file without a name unless given.
    :param now: seconds since 1970 UTC that count as the moment of reading; the clock's unless given.
    """
    origin = origin or Origin("file")
    now = time.time() if now is None else now
    incident, document_id = identify(report, origin)
    report = origin.redactor.report(report)
    original = "\n".join([line.raw or line.text for line in report.lines])
    crashed, source = _crash_time(report, origin, now)
    host = _host(report, origin)
    content_hash = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()
    signature = report.signature
    process = report.process
    kernel = report.kernel
    title = report.title[:KEYWORD_LIMIT]
    trace = _trace(report.call_trace)
    document: dict[str, Any] = {
        "_id": document_id,
        "@timestamp": _iso(crashed),
        "ecs": {"version": ECS_VERSION},
        "message": _sentence(report, host.get("name", "")),
        "data_stream": {"type": "logs", "dataset": "kernel.panic", "namespace": origin.namespace},
        "event": {
            "id": incident,
            "created": _iso(now),
            "kind": "event",
            "category": ["host"],
            "type": ["end" if report.fatal else "info"],
            "outcome": "failure",
            "action": f"kernel-{report.kind}",
            "code": report.cause,
            "reason": report.reason.strip()[:KEYWORD_LIMIT],
            "module": "kernel_panic",
            "dataset": "kernel.panic",
            "provider": origin.provider,
            "severity": _severity(report),
            "hash": content_hash,
            "original": original[:ORIGINAL_LIMIT],
        },
        "error": {
            "type": report.kind,
            "code": report.cause,
            "id": signature.id if signature else None,
            "message": title,
            "stack_trace": "\n".join(trace),
        },
        "host": host,
        "process": {
            "pid": process.pid,
            "name": process.name,
            "thread": {"id": process.pid},
        },
        "log": {"file": {"path": origin.path}},
        "agent": {"name": origin.agent_host, "type": "kpanic", "version": __version__},
        "observer": {"hostname": origin.agent_host if origin.relayed else None},
        "related": {
            "hash": [content_hash],
            "hosts": list(dict.fromkeys(filter(None, (host.get("name"), host.get("hostname"))))),
        },
        "tags": list(origin.tags),
        "labels": dict(origin.labels),
        "kernel": {"panic": _panic(report, source, trace)},
    }
    if _is_history(crashed, origin, now):
        document["kernel"]["panic"]["backfill"] = True
    if report.analysis is not None:
        document["kernel"]["panic"]["analysis"] = _analysis(report.analysis, located=bool(origin.path))
    if kernel.distribution is not None:
        host["os"] |= kernel.distribution._asdict()
    pruned: dict[str, Any] = _prune(document)
    return pruned


def _is_history(crashed: float, origin: Origin, now: float) -> bool:
    """Tell whether a crash happened before this shipper's time here."""
    before = origin.backfill_before
    if before is None or crashed >= before:
        return False
    if before == math.inf:  # all of it, by the operator's word
        return True
    return before <= now < origin.backfill_until  # else the clock was ahead when the shipper began


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


class Packed(NamedTuple):
    """A document as the store takes it: its JSON, and what is looked up without it."""

    id: str
    """``_id``."""
    incident: str
    """``event.id``."""
    occurred: str
    """``@timestamp``."""
    fatal: bool
    body: bytes
    sighting: Sighting | None = None
    """None where too little is known to find other documents of the incident."""


def pack(document: Mapping[str, Any]) -> Packed:
    """Return a document of :func:`build`, encoded."""
    return Packed(
        document["_id"],
        document["event"]["id"],
        document["@timestamp"],
        document["kernel"]["panic"]["fatal"],
        encode(document),
        _sighting(document),
    )


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as one line of JSON, without its line feed, safe to print.

    What UTF-8 cannot hold (a lone surrogate) becomes ``?``.
    """
    import msgspec  # noqa: PLC0415 - who only asks for a name need not wait for it

    try:
        return escape_controls(msgspec.json.encode(document))
    except UnicodeEncodeError:
        return escape_controls(msgspec.json.encode(_well_formed(document)))


def _well_formed(node: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(node, str):
        return node.encode("utf-8", "replace").decode()
    if isinstance(node, dict):
        return {_well_formed(key): _well_formed(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_well_formed(child) for child in node]
    return node


def identify(report: CrashReport, origin: Origin) -> tuple[str, str]:
    """Return ``event.id`` and ``_id`` of a report: see the module's text."""
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
    host = report.hostname or report.host or origin.host_name or origin.host_ip
    return incident, "-".join(filter(None, (incident, origin.provider, host and _digest(host, 12))))


def _printed(cpu: int | None, pid: int | None, name: str, registers: Mapping[str, str]) -> tuple[object, ...]:
    """Return what a crash prints that the next crash of the same machine rarely prints again."""
    stack = next((registers[name] for name in _STACK_POINTERS if name in registers), "")
    return cpu, pid, name, stack, registers.get("CR3", ""), registers.get("GS", "")


def _sighting(document: Mapping[str, Any]) -> Sighting | None:
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


def _crash_time(report: CrashReport, origin: Origin, now: float) -> tuple[float, str]:
    """Return the wall clock of the crash and what it rests on."""
    if report.boot_epoch is not None and report.time is not None and report.boot_epoch >= EARLIEST_CLOCK:
        return report.boot_epoch + report.time, "rtc"
    if report.epoch is not None:
        return report.epoch, "transport"
    if origin.folder_epoch is not None:
        return origin.folder_epoch, "folder"
    if report.clock is not None:
        return _dated(report.clock, now if origin.mtime is None else origin.mtime), "clock"
    if origin.mtime is not None:
        return origin.mtime, "mtime"
    return now, "read"


def _dated(clock: float, latest: float) -> float:
    """Give a stamp without a year the last one in which it is not a day and more after ``latest``."""
    moment = datetime.fromtimestamp(clock, UTC)
    if moment.year != NO_YEAR:
        return clock
    year = datetime.fromtimestamp(latest + DAY, UTC).year
    for back in range(LEAP_YEARS):
        try:
            dated = moment.replace(year=year - back).timestamp()
        except ValueError:  # a 29th of February
            continue
        if dated <= latest + DAY:
            return dated
    return latest


def _iso(epoch: float) -> str:
    """Format seconds since 1970 as the engines' ``date``, to the millisecond."""
    try:
        moment = datetime.fromtimestamp(epoch, UTC)
    except (OverflowError, ValueError, OSError):  # a hostile stamp
        moment = datetime.fromtimestamp(0, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _host(report: CrashReport, origin: Origin) -> dict[str, Any]:
    own = "" if origin.relayed else origin.agent_host
    hostname = report.hostname or report.host or origin.host_name
    return {
        "name": (hostname or origin.host_ip or own)[:KEYWORD_LIMIT],
        "hostname": (hostname or ("" if origin.host_ip else own))[:KEYWORD_LIMIT],
        "ip": [origin.host_ip] if origin.host_ip else [],
        "architecture": report.kernel.architecture,
        "uptime": int(report.time) if report.time is not None else None,
        "os": {"kernel": report.kernel.release, "type": "linux"},
    }


def _severity(report: CrashReport) -> int:
    if report.fatal:
        return _SEVERITY_FATAL
    return _SEVERITY_WARNING if report.kind == "warning" else _SEVERITY_ERROR


def _sentence(report: CrashReport, host: str) -> str:
    """Return the one sentence that a person reads first."""
    if report.analysis and report.analysis.summary:
        return report.analysis.summary
    died = "died" if report.fatal else "reported"
    release = f" (kernel {report.kernel.release})" if report.kernel.release else ""
    return f"{host or 'A host'}{release} {died}: {report.title}"


def _panic(report: CrashReport, source: str, trace: list[str]) -> dict[str, Any]:
    from kpanic.grammars.fact import lines_of  # noqa: PLC0415 - imports the grammar, which a report had

    oops, taint, hardware, signature = (
        report.oops,
        report.taint,
        report.hardware,
        report.signature,
    )
    return {
        "title": report.title[:KEYWORD_LIMIT],
        "kind": report.kind,
        "cause": report.cause,
        "cause_detail": report.cause_detail[:KEYWORD_LIMIT],
        "fatal": report.fatal,
        "timestamp_source": source,
        "signature": signature
        and {"id": signature.id, "version": signature.version, "quality": signature.quality},
        "rip": _instruction_pointer(report.ip),
        "function": report.blame.function,
        "call_trace": trace,
        "trace_head": "\n".join(trace[:TRACE_HEAD]),
        "fault_address": _address(report.fault_address),
        "oops": oops
        and {
            "number": oops.number,
            "error_code": None if oops.error_code is None else f"{oops.error_code:04x}",
            "error": oops.error,
            "flags": list(oops.flags),
        },
        "cpu": report.process.cpu,
        "taint": taint and {"raw": taint.raw, "flags": list(taint.flags)},
        "modules": list(report.modules),
        "hardware": hardware
        and {
            "name": hardware.name,
            "vendor": hardware.vendor,
            "product": hardware.product,
            "bios_version": hardware.bios_version,
            "bios_date": hardware.bios_date,
        },
        "build": report.kernel.build,
        "boot_image": report.kernel.boot_image,
        "command_line": report.kernel.command_line,
        "registers": {name.replace(".", "_"): value for name, value in report.registers if name},
        "code": report.code,
        "uptime": report.time,
        "consequences": [title[:KEYWORD_LIMIT] for title in report.consequences],
        "preceded_by": [line.text[:KEYWORD_LIMIT] for line in lines_of(report.preceded_by)],
        "hardware_errors": [
            "\n".join(line.text for line in fact.lines)[:KEYWORD_LIMIT] for fact in report.hardware_errors
        ],
        "lost": report.lost or None,
        "parse": {
            "status": report.status,
            "grammar_version": __version__,
            "truncated": report.truncated,
            "repaired": report.repaired,
        },
    }


def _analysis(analysis: Analysis, *, located: bool) -> dict[str, Any]:
    steps = []
    for step in analysis.steps:
        numbers = ", ".join(str(line.number) for line in step.evidence) if located else ""
        lines = f" ({'line' if len(step.evidence) == 1 else 'lines'} {numbers})" if numbers else ""
        steps.append(f"{step.name}: {step.finding}{lines}")
    return {
        "summary": analysis.summary,
        "steps": steps,
        "vmcore_needed": analysis.vmcore_needed,
        "confidence": analysis.confidence,
        "why": analysis.why,
        "next": list(analysis.next),
    }


def _instruction_pointer(ip: InstructionPointer | None) -> dict[str, Any] | None:
    if ip is None:
        return None
    signature = ""
    if ip.symbol:
        signature = _place(ip.symbol, ip.offset, ip.size, ip.module)
    return {
        "symbol": ip.symbol,
        "offset": ip.offset,
        "size": ip.size,
        "module": ip.module,
        "address": _address(ip.address),
        "raw": ip.raw[:KEYWORD_LIMIT],
        "signature": signature[:KEYWORD_LIMIT],
    }


def _place(symbol: str, offset: int | None, size: int | None, module: str) -> str:
    place = symbol
    if offset is not None:
        place += f"+0x{offset:x}"
        if size is not None:
            place += f"/0x{size:x}"
    return f"{place} [{module}]" if module else place


def _trace(frames: Iterable[Frame]) -> list[str]:
    """Return frames as the kernel writes them, without addresses; ``? `` marks the unreliable."""
    lines = []
    for frame in frames:
        place = _place(frame.symbol, frame.offset, frame.size, frame.module)
        if not place:
            place = _address(frame.address) or "(unknown)"
        lines.append(place if frame.reliable else f"? {place}")
    return lines


def _address(value: int | None) -> str | None:
    return None if value is None else f"0x{value:016x}"


def _prune(node: dict[str, Any]) -> Any:  # noqa: ANN401 - a JSON object of any shape
    """Leave out what is empty: ``None``, an empty string, list or object."""
    kept = {}
    for key, child in node.items():
        value = _prune(child) if type(child) is dict else child
        if value or isinstance(value, int | float):
            kept[key] = value
    return kept
