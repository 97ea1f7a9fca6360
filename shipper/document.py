"""One crash as one document: an ECS 9.4 object, nested, ready for JSON.

A field of ECS has ECS's name (https://www.elastic.co/docs/reference/ecs); all others are below
``kernel.panic``. Empty fields are left out. Addresses are strings (``0x`` and 16 digits), as they do not fit
the engines' signed 64-bit ``long``. There are no arrays of objects.

Fields below ``kernel.panic`` whose names do not say enough:

``timestamp_source``
    The source of ``@timestamp``, see :mod:`kpanic.shipper.crash_time`.
``rip.signature``
    ``symbol+0xoffset/0xsize [module]``, the place in the code, to count crashes by.
``analysis.steps``
    ``name: finding (lines 3, 8)``, one string for each step; the lines are those of ``log.file.path``.
``backfill``
    True for a crash from before the store was made: it is shown and counted, but does not alert.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING, Any

from msgspec import structs

from kpanic import __version__
from kpanic.shipper.crash_time import crash_time, iso
from kpanic.shipper.crashed_host import crashed_host
from kpanic.shipper.identity import identify
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.model import Analysis, CrashReport, Frame, InstructionPointer, Line, Vmcore
    from kpanic.shipper.packed import Packed

__all__ = ["ECS_VERSION", "build", "documented"]

ECS_VERSION = "9.4.0"
ORIGINAL_LIMIT = 65_536
"""Characters of raw text kept in ``event.original``."""
TRACE_HEAD = 8
"""Frames of ``kernel.panic.trace_head``, for the messages of alerts."""
KEYWORD_LIMIT = 1024
"""Maximum characters of a keyword (ECS's ``ignore_above``): engines do not index a longer one."""

_SEVERITY_FATAL, _SEVERITY_ERROR, _SEVERITY_WARNING = 0, 3, 4  # syslog's numbers


def build(report: CrashReport, origin: Origin | None = None, *, now: float | None = None) -> dict[str, Any]:
    """Return the document of a report, with its ``_id``. ``event.ingested`` is added when it is sent.

    :param origin: where the report was read; by default a file without a name.
    :param now: when it was read, seconds since 1970 UTC; by default now.
    """
    origin = origin or Origin("file")
    now = time.time() if now is None else now
    incident, document_id = identify(report, origin)
    report = origin.redactor.report(report)
    original = "\n".join([line.raw or line.text for line in report.lines])
    crashed, source = crash_time(report, origin, now)
    host = _host(report, origin)
    content_hash = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()
    signature = report.signature
    process = report.process
    kernel = report.kernel
    title = report.title[:KEYWORD_LIMIT]
    trace = _trace(report.call_trace)
    document: dict[str, Any] = {
        "_id": document_id,
        "@timestamp": iso(crashed),
        "ecs": {"version": ECS_VERSION},
        "message": _sentence(report, host.get("name", "")),
        "data_stream": {"type": "logs", "dataset": "kernel.panic", "namespace": origin.namespace},
        "event": {
            "id": incident,
            "created": iso(now),
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
        if (dump := report.analysis.vmcore) is not None:
            document["kernel"]["panic"]["vmcore"] = _vmcore(dump)
    if kernel.distribution is not None:
        host["os"] |= structs.asdict(kernel.distribution)
    pruned: dict[str, Any] = _prune(document)
    return pruned


def documented(report: CrashReport, origin: Origin, *, kept: bool = True) -> Packed:
    """Return the document of a crash as the store takes it, or for printing if it is not kept.

    If a step fails, the document has the crash's text and time alone; if even that fails, its title. Both
    have ``parse.status: corrupted``.
    """
    from kpanic.grammars import faults  # noqa: PLC0415 - imported already, as there is a report

    attempt = report
    for lines in (report.lines, (), ()):
        try:
            return pack(build(attempt, origin), kept=kept)
        except Exception as error:  # noqa: BLE001 - for hostile text
            faults.note("document", error)
            fault = error
            attempt = _bare(report, lines, error)
    raise fault


def _bare(report: CrashReport, lines: tuple[Line, ...], error: Exception) -> CrashReport:
    """Return a report with only these lines as its contents."""
    from kpanic.grammars.model import CrashReport  # noqa: PLC0415 - as above
    from kpanic.grammars.report import fault_of  # noqa: PLC0415 - as above

    return CrashReport(
        title="unknown",
        kind="unknown",
        cause="unknown",
        fatal=report.fatal,
        status="corrupted",
        doubt=fault_of(error),
        time=report.time,
        epoch=report.epoch,
        host=report.host,
        hostname=report.hostname,
        lines=lines,
    )


def _is_history(crashed: float, origin: Origin, now: float) -> bool:
    """Tell whether a crash happened before this shipper's time here."""
    before = origin.backfill_before
    if before is None or crashed >= before:
        return False
    if before == math.inf:  # all of it, by the operator's word
        return True
    return before <= now < origin.backfill_until  # else the clock was ahead when the shipper began


def _host(report: CrashReport, origin: Origin) -> dict[str, Any]:
    name = crashed_host(report, origin)[:KEYWORD_LIMIT]
    return {
        "name": name,
        "hostname": "" if name == origin.host_ip else name,
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
    """Return ``message``: the sentence that a person reads first."""
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
        numbers = [str(line.number) for line in step.evidence if line.number] if located else []
        lines = f" ({'line' if len(numbers) == 1 else 'lines'} {', '.join(numbers)})" if numbers else ""
        steps.append(f"{step.name}: {step.finding}{lines}")
    return {
        "summary": analysis.summary,
        "steps": steps,
        "vmcore_needed": analysis.vmcore_needed,
        "confidence": analysis.confidence,
        "why": analysis.why,
        "next": list(analysis.next),
    }


def _vmcore(dump: Vmcore) -> dict[str, Any]:
    return {
        "status": dump.status,
        "source": dump.source[:KEYWORD_LIMIT],
        "pointer": dump.pointer[:KEYWORD_LIMIT],
        "object": dump.object[:KEYWORD_LIMIT],
        "lock": dump.lock[:KEYWORD_LIMIT],
        "holder": dump.holder[:KEYWORD_LIMIT],
        "skipped": list(dump.skipped),
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
    if offset is None:
        place = symbol
    elif size is None:
        place = f"{symbol}+0x{offset:x}"
    else:
        place = f"{symbol}+0x{offset:x}/0x{size:x}"
    return f"{place} [{module}]" if module else place


def _trace(frames: Iterable[Frame]) -> list[str]:
    """Return frames as the kernel writes them, without addresses; ``? `` marks unreliable ones."""
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
    """Return an object without empty fields: None, an empty string, list or object."""
    kept = {}
    for key, child in node.items():
        if type(child) is dict:
            if inner := _prune(child):
                kept[key] = inner
        elif child or child == 0:
            kept[key] = child
    return kept
