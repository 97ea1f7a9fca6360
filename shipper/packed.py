"""Documents in the form that the store takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kpanic.shipper.columns import Columns, columns
from kpanic.shipper.identity import Sighting, sighting
from kpanic.shipper.terminal import escape_controls

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Packed", "encode", "pack"]


class Packed(NamedTuple):
    """A document in the form that the store takes: its JSON, and the fields that the ledger repeats."""

    id: str
    """``_id``."""
    incident: str
    """``event.id``."""
    occurred: str
    """``@timestamp``."""
    fatal: bool
    body: bytes
    """Empty if all receivers have the document: the store then takes only the other fields."""
    sighting: Sighting | None = None
    """None if too little is known to find other documents of the incident, or if the document is not kept."""
    columns: Columns | None = None
    """None if only the time is known."""


def pack(document: Mapping[str, Any], *, kept: bool = True) -> Packed:
    """Return a document of :func:`build`, encoded.

    :param kept: whether the store takes it; a document that is only printed needs no sighting and no columns.
    """
    return Packed(
        document["_id"],
        document["event"]["id"],
        document["@timestamp"],
        document["kernel"]["panic"]["fatal"],
        encode(document),
        sighting(document) if kept else None,
        columns(document) if kept else None,
    )


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as one line of JSON without a line feed, safe to print.

    A lone surrogate, which UTF-8 cannot hold, becomes ``?``.
    """
    import msgspec  # noqa: PLC0415 - importing a name from here stays fast

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
