"""The documents that ``kpanic filter`` prints: one for each crash, and one for each new signature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kpanic.shipper.api import timestamp, with_delivery_fields
from kpanic.shipper.document import documented
from kpanic.shipper.signature_document import outline, signature_document

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.origin import Origin

__all__ = ["FORMATS", "Printed", "documents"]

_USER: Final = 1
"""Syslog facility of the documents: a relay would return the kernel's facility to kpanic."""
_INFORMATIONAL: Final = 6
_NOT_IN_HEADER: Final = re.compile(r"[^!-~]")
"""Characters that the header of RFC 5424 may not hold: it allows PRINTUSASCII."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Printed:
    """A document to print.

    :ivar id: its ``_id``; the document has it as ``labels.document_id``.
    :ivar body: one JSON object.
    :ivar of_signature: whether it is a signature's document.
    """

    id: str
    body: bytes
    of_signature: bool = False

    def tagged(self, tag: str) -> str:
        """Return the document's tag from the tag of crashes, which may be empty."""
        return f"{tag}.signature" if tag and self.of_signature else tag


def documents(
    report: CrashReport, origin: Origin, known: Container[str], *, signatures: bool
) -> list[Printed]:
    """Return the documents of a crash, as an output would send them, without known ones."""
    packed = documented(report, origin, kept=False)
    moment = timestamp()
    found = []
    if packed.id not in known:
        body = with_delivery_fields(packed.body, moment, document_id=packed.id)
        found.append(Printed(packed.id, body))
    if signatures:
        name, first = signature_document(outline(packed.body), moment, seeded=False)
        if name and name not in known:
            body = with_delivery_fields(_encode(first), moment, document_id=name)
            found.append(Printed(name, body, of_signature=True))
    return found


def _json(body: bytes, tag: str) -> bytes:
    if tag:
        body = b'{"tag":%b,%b' % (_encode(tag), body[1:])
    return body + b"\n"


def _msgpack(body: bytes, tag: str) -> bytes:
    import msgpack  # noqa: PLC0415 - few formats need it

    from kpanic.shipper.outputs.forward import event_time  # noqa: PLC0415

    record = msgspec.json.decode(body, type=dict[str, Any])
    when = event_time(record["@timestamp"])
    packed: bytes = msgpack.packb([tag, when, record] if tag else [when, record], default=str)
    return packed


def _syslog(body: bytes, tag: str) -> bytes:
    """Return a message of RFC 5424 with the document as its text."""
    document = msgspec.json.decode(body, type=dict[str, Any])
    severity = document["event"].get("severity", _INFORMATIONAL)
    host = _NOT_IN_HEADER.sub("", document["host"].get("name", ""))[:255] or "-"
    header = f"<{_USER * 8 + severity}>1 {document['@timestamp']} {host} kpanic - {tag or '-'} - "
    return header.encode() + body + b"\n"


FORMATS: Final[Mapping[str, Callable[[bytes, str], bytes]]] = {
    "json": _json,
    "msgpack": _msgpack,
    "syslog": _syslog,
}
"""Encodes a document with its tag, which may be empty."""
