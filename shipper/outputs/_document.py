"""What delivery touches in a document that is bytes already."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

__all__ = ["now", "stamp"]

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def now() -> str:
    """Tell the time as documents write it: ``2026-11-22T23:40:01.123Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp(body: bytes, moment: str, *, name: str = "") -> bytes:
    """Put ``event.ingested`` into a document, leaving all else as it stands.

    Alert rules look at it, so it is the time of this very try and not of the spooling. An ``_id`` is the
    request's business: engines refuse a document that has one inside.

    :param name: the ``_id``, for whoever takes the document from there: it becomes ``labels.document_id``.
    """
    top = _split(body)
    top.pop("_id", None)
    _put(top, "event", "ingested", moment)
    if name:
        _put(top, "labels", "document_id", name)
    return _encode(top)


def _put(top: dict[str, msgspec.Raw], section: str, key: str, value: str) -> None:
    inside = _split(top.get(section, msgspec.Raw(b"{}")))
    inside[key] = msgspec.Raw(_encode(value))
    top[section] = msgspec.Raw(_encode(inside))
