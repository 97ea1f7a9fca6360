"""Sets the fields of a document that are known when it is sent, without decoding the rest."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

__all__ = ["timestamp", "with_delivery_fields"]

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def timestamp() -> str:
    """Return the current time in the format of documents: ``2026-11-22T23:40:01.123Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def with_delivery_fields(body: bytes, ingested: str, *, document_id: str = "") -> bytes:
    """Return a stored document as it is sent: with ``event.ingested`` and without ``_id``.

    Alert rules look at ``event.ingested``, so it is the time of this try and not of the spooling. ``_id``
    belongs in the request: the engines refuse a document that contains one.

    :param body: the ``body`` of a :class:`Stored`.
    :param ingested: the time of this try, see :func:`timestamp`.
    :param document_id: set as ``labels.document_id``, for receivers without an ``_id``.
    :raises msgspec.DecodeError: ``body`` is no JSON object.

    >>> with_delivery_fields(b'{"_id":"a","message":"died"}', "2026-11-22T23:40:01.123Z", document_id="a")
    b'{"message":"died","event":{"ingested":"2026-11-22T23:40:01.123Z"},"labels":{"document_id":"a"}}'
    """
    document = _split(body)
    document.pop("_id", None)
    _set(document, "event", "ingested", ingested)
    if document_id:
        _set(document, "labels", "document_id", document_id)
    return _encode(document)


def _set(document: dict[str, msgspec.Raw], section: str, key: str, value: str) -> None:
    inside = _split(document.get(section, msgspec.Raw(b"{}")))
    inside[key] = msgspec.Raw(_encode(value))
    document[section] = msgspec.Raw(_encode(inside))
