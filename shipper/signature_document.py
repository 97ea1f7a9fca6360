"""The document of a signature: the first crash of a fault, in the index of signatures.

Its ``_id`` is the signature's, so that exactly one of all shippers creates it: "first seen" is the arrival of
this document. The document holds what the message of an alert needs. A fault that a kernel survived and one
that it died of have two documents, so that the warning does not suppress the panic's alert.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["Outline", "outline", "signature_document"]

NEXT_LINES: Final = 3
"""Maximum lines of what to do next, in the message of an alert."""
KEYWORD_LIMIT: Final = 1024
"""ECS's ``ignore_above``: an engine stores a longer keyword but does not find it."""


class _Signature(msgspec.Struct):
    id: str = ""
    version: int = 0
    quality: str = ""


class _Analysis(msgspec.Struct):
    summary: str = ""
    why: str = ""
    next: list[str] = []


class _Hardware(msgspec.Struct):
    product: str = ""


class _Panic(msgspec.Struct):
    title: str = ""
    kind: str = ""
    cause: str = ""
    function: str = ""
    fatal: bool = False
    backfill: bool = False
    signature: _Signature = msgspec.field(default_factory=_Signature)
    analysis: _Analysis = msgspec.field(default_factory=_Analysis)
    hardware: _Hardware = msgspec.field(default_factory=_Hardware)
    trace_head: str = ""
    triage: dict[str, Any] = {}


class _Kernel(msgspec.Struct):
    panic: _Panic = msgspec.field(default_factory=_Panic)


class _Stream(msgspec.Struct):
    namespace: str = "default"


class _System(msgspec.Struct):
    kernel: str = ""


class _Host(msgspec.Struct):
    name: str = ""
    os: _System = msgspec.field(default_factory=_System)


class _Event(msgspec.Struct):
    provider: str = ""


class Outline(msgspec.Struct):
    """The few fields of a document that its delivery needs."""

    timestamp: str | None = msgspec.field(name="@timestamp", default=None)
    data_stream: _Stream = msgspec.field(default_factory=_Stream)
    kernel: _Kernel = msgspec.field(default_factory=_Kernel)
    host: _Host = msgspec.field(default_factory=_Host)
    event: _Event = msgspec.field(default_factory=_Event)


outline = msgspec.json.Decoder(Outline).decode
"""Read those fields of a document, from JSON."""


def signature_document(document: Outline, ingested: str, *, seeded: bool) -> tuple[str, dict[str, Any]]:
    """Return ``_id`` and document of a crash's signature; the ``_id`` is empty if the crash has no signature.

    :param ingested: the time of this try.
    :param seeded: whether the signature never alerts, however new it is.
    """
    panic = document.kernel.panic
    if not panic.signature.id:
        return "", {}
    return panic.signature.id + ("" if panic.fatal else "-survived"), {
        "@timestamp": document.timestamp or ingested,
        "event": {"ingested": ingested},
        "id": panic.signature.id,
        "version": panic.signature.version,
        "quality": panic.signature.quality,
        "seeded": seeded or panic.backfill,
        "title": panic.title,
        "kind": panic.kind,
        "cause": panic.cause,
        "function": panic.function,
        "fatal": panic.fatal,
        "trace": panic.trace_head[:KEYWORD_LIMIT],
        "summary": panic.analysis.summary[:KEYWORD_LIMIT],
        "why": panic.analysis.why[:KEYWORD_LIMIT],
        "next": "\n".join(panic.analysis.next[:NEXT_LINES])[:KEYWORD_LIMIT],
        "machine": panic.hardware.product,
        "triage": panic.triage,
        "host": {"name": document.host.name, "os": {"kernel": document.host.os.kernel}},
    }
