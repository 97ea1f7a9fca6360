"""Columns of a document: the fields that lists, reports and panels use without reading the text.

Documents that agree in everything but host and time share a profile. A fleet has far fewer profiles than
crashes.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kpanic.shipper.fields import get

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "NO_PROFILE",
    "PROFILE",
    "Columns",
    "Profile",
    "columns",
    "digest",
    "milliseconds",
    "nested",
    "stamp",
]

PROFILE: Final = (
    "event.provider",
    "event.reason",
    "host.os.kernel",
    "kernel.panic.cause",
    "kernel.panic.fatal",
    "kernel.panic.function",
    "kernel.panic.hardware.bios_version",
    "kernel.panic.hardware.product",
    "kernel.panic.kind",
    "kernel.panic.parse.status",
    "kernel.panic.rip.module",
    "kernel.panic.rip.signature",
    "kernel.panic.rip.symbol",
    "kernel.panic.signature.id",
    "kernel.panic.signature.quality",
    "kernel.panic.taint.flags",
    "kernel.panic.title",
    "kernel.panic.vmcore.holder",
    "kernel.panic.vmcore.lock",
    "kernel.panic.vmcore.object",
    "kernel.panic.vmcore.pointer",
    "kernel.panic.vmcore.source",
    "kernel.panic.vmcore.status",
    "process.name",
)
"""Fields of a profile, in the order of its values and of the store's columns."""
LISTS: Final = frozenset({"kernel.panic.taint.flags"})
"""Fields with many values; a profile holds them as JSON."""
BOOLEANS: Final = frozenset({"kernel.panic.fatal"})

_ADDRESS = r"\b(?:0x)?[0-9a-f]{8,16}\b"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Profile = tuple[str | int | None, ...]


class Columns(NamedTuple):
    """Columns of one document."""

    at: int
    """``@timestamp``, milliseconds since 1970 UTC."""
    host: str
    """``host.name``; empty if the document has none."""
    profile: Profile
    """Values of :data:`PROFILE`."""


NO_PROFILE: Final[Profile] = (None,) * len(PROFILE)
_BY_PARENT: Final = [
    (parent, [(name, name.rpartition(".")[2]) for name in names])
    for parent, names in itertools.groupby(PROFILE, lambda name: name.rpartition(".")[0])
]
"""Fields of a profile by the object that they are in."""


def columns(document: Mapping[str, Any]) -> Columns:
    """Return the columns of a document of any shape."""
    host = get(document, "host.name")
    profile: list[str | int | None] = []
    for parent, fields in _BY_PARENT:
        node = get(document, parent)
        found = node if isinstance(node, dict) else {}
        profile += [_stored(name, found.get(leaf)) for name, leaf in fields]
    return Columns(
        milliseconds(get(document, "@timestamp")), host if isinstance(host, str) else "", tuple(profile)
    )


def milliseconds(stamp: object) -> int:
    """Return an ISO 8601 stamp as milliseconds since 1970 UTC; 0 for other text."""
    try:
        moment = datetime.fromisoformat(str(stamp))
    except ValueError:
        return 0
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


def stamp(at: int) -> str:
    """Return milliseconds since 1970 UTC as documents write ``@timestamp``."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def digest(profile: Profile) -> int:
    """Return the number of a profile: 63 bits of a digest, so that damage to its values shows."""
    import msgspec  # noqa: PLC0415

    return int.from_bytes(hashlib.blake2b(msgspec.json.encode(profile), digest_size=8).digest()) >> 1


def nested(profile: Profile) -> dict[str, Any]:
    """Return a profile as a part of a document."""
    import msgspec  # noqa: PLC0415 - a status needs none of it

    document: dict[str, Any] = {}
    for name, value in zip(PROFILE, profile, strict=True):
        if value is None:
            continue
        *path, leaf = name.split(".")
        node = document
        for part in path:
            node = node.setdefault(part, {})
        if name in LISTS:
            node[leaf] = msgspec.json.decode(str(value))
        else:
            node[leaf] = bool(value) if name in BOOLEANS else value
    return document


def _stored(name: str, value: object) -> str | int | None:
    """Return a field's value as a column holds it; addresses in reasons would make every profile unique."""
    if value is None:
        return None
    if name in LISTS:
        import msgspec  # noqa: PLC0415 - a status needs none of it

        many = [str(one) for one in value] if isinstance(value, list) else []
        return msgspec.json.encode(many).decode() if many else None
    if isinstance(value, str):
        text = value if value.isascii() else value.encode("utf-8", "replace").decode()
        return re.sub(_ADDRESS, "…", text) if name == "event.reason" else text
    return int(value) if isinstance(value, bool) else None
