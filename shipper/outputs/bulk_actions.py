"""Actions of a ``_bulk`` request: a document's own, and that of its signature.

:see: https://docs.opensearch.org/latest/api-reference/document-apis/bulk/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kpanic.indices import SIGNATURES, data_stream
from kpanic.shipper.api import with_delivery_fields

if TYPE_CHECKING:
    from kpanic.shipper.api import Stored

__all__ = ["Action", "bulk_actions"]

NEXT_LINES: Final = 3
"""Maximum lines of what to do next, in the message of an alert."""
KEYWORD_LIMIT: Final = 1024
"""ECS's ``ignore_above``: a longer keyword would be kept but not found."""


class Action(NamedTuple):
    """One document of the request."""

    id: str
    """Its ``_id``, which the item of the answer repeats."""
    lines: bytes
    """The line of the action and the line of the document."""


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


class _Document(msgspec.Struct):
    """The few fields of a document that its delivery needs."""

    timestamp: str | None = msgspec.field(name="@timestamp", default=None)
    data_stream: _Stream = msgspec.field(default_factory=_Stream)
    kernel: _Kernel = msgspec.field(default_factory=_Kernel)
    host: _Host = msgspec.field(default_factory=_Host)


_decode = msgspec.json.Decoder(_Document).decode
_encode = msgspec.json.Encoder().encode


def bulk_actions(stored: Stored, ingested: str, *, seeded: bool, known: set[str]) -> list[Action]:
    """Return the actions for a document: its own, and its signature's if that is not ``known``.

    ``create`` lets exactly one of all shippers be the first with a signature: its arrival in the index of
    signatures is what "first seen" means. It holds what the message of an alert needs. A fault that a kernel
    survived and one that it died of are two firsts, so that the warning does not keep the panic quiet.

    :param ingested: the time of this try.
    :param seeded: whether the signature pages nobody, however new it is.
    :param known: IDs of signatures that the request has already; the new one is added.
    """
    document = _decode(stored.body)
    index = data_stream(document.data_stream.namespace)
    actions = [_create(index, stored.id, with_delivery_fields(stored.body, ingested))]
    panic = document.kernel.panic
    identity = panic.signature.id + ("" if panic.fatal else "-survived")
    if panic.signature.id and identity not in known:
        known.add(identity)
        first = {
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
        actions.append(_create(SIGNATURES, identity, _encode(first)))
    return actions


def _create(index: str, identity: str, document: bytes) -> Action:
    action = _encode({"create": {"_index": index, "_id": identity}})
    return Action(identity, b"%b\n%b\n" % (action, document))
