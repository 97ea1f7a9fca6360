"""Actions of a ``_bulk`` request: a document's own, and that of its signature.

:see: https://docs.opensearch.org/latest/api-reference/document-apis/bulk/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kpanic.indices import SIGNATURES, data_stream
from kpanic.shipper.api import with_delivery_fields
from kpanic.shipper.signature_document import outline, signature_document

if TYPE_CHECKING:
    from kpanic.shipper.api import Stored

__all__ = ["Action", "bulk_actions"]


class Action(NamedTuple):
    """One document of the request."""

    id: str
    """Its ``_id``, which the item of the answer repeats."""
    lines: bytes
    """The line with the action and the line with the document."""


_encode = msgspec.json.Encoder().encode


def bulk_actions(stored: Stored, ingested: str, *, seeded: bool, known: set[str]) -> list[Action]:
    """Return the actions for a document: its own, and its signature's if that is not ``known``.

    ``create`` lets exactly one of all shippers be the first with a signature.

    :param ingested: the time of this try.
    :param seeded: whether the signature never alerts, however new it is.
    :param known: IDs of signatures that are in the request already; the new one is added.
    """
    document = outline(stored.body)
    index = data_stream(document.data_stream.namespace)
    actions = [_create(index, stored.id, with_delivery_fields(stored.body, ingested))]
    identity, first = signature_document(document, ingested, seeded=seeded)
    if identity and identity not in known:
        known.add(identity)
        actions.append(_create(SIGNATURES, identity, _encode(first)))
    return actions


def _create(index: str, identity: str, document: bytes) -> Action:
    action = _encode({"create": {"_index": index, "_id": identity}})
    return Action(identity, b"%b\n%b\n" % (action, document))
