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


def stamp(body: bytes, moment: str) -> bytes:
    """Put ``event.ingested`` into a document, leaving all else as it stands.

    Alert rules look at it, so it is the time of this very try and not of the spooling. An ``_id`` is the
    request's business: engines refuse a document that has one inside.
    """
    top = _split(body)
    top.pop("_id", None)
    event = _split(top.get("event", msgspec.Raw(b"{}")))
    event["ingested"] = msgspec.Raw(_encode(moment))
    top["event"] = msgspec.Raw(_encode(event))
    return _encode(top)
