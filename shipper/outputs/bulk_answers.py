"""Answers to a ``_bulk`` request: the outcome of each document, and its reason."""

from __future__ import annotations

from typing import Any, Final

from kpanic.shipper.api import ALREADY_THERE, REASON, DeliveryStatus, shown_reason

__all__ = ["item_status", "names_documents", "reason_of"]

CAUSES: Final = 4
"""Maximum nested causes in a reason; deeper ones are Java's."""

_ABOUT_THE_CLUSTER: Final = ("validation_exception", "media_type_header_exception", "security_exception")


def item_status(item: Any, identity: str) -> tuple[DeliveryStatus, str]:  # noqa: ANN401 - JSON of any shape
    """Return the outcome of one document from an item such as ``{"create": {"status": 201, …}}``.

    :param identity: the ``_id`` that the item must have.
    """
    result = item.get("create") if isinstance(item, dict) else None
    status = result.get("status") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(status, int):
        return DeliveryStatus.RETRY, "an answer without a status"
    if result.get("_id") != identity:
        return DeliveryStatus.RETRY, "an answer about another document"
    if 200 <= status < 300:  # noqa: PLR2004
        return DeliveryStatus.DELIVERED, ""
    if status == 409:  # noqa: PLR2004
        return DeliveryStatus.DELIVERED, ALREADY_THERE
    reason = f"{status}: {reason_of(result)}"
    # A full shard limit is a 400 of the document's item all the same, a blocked index a 403.
    if status in {400, 404, 413} and names_documents(result):
        return DeliveryStatus.REJECTED, reason
    return DeliveryStatus.RETRY, reason


def names_documents(data: object) -> bool:
    """Tell whether an engine complains about documents only; a proxy never does."""
    error = data.get("error") if isinstance(data, dict) else None
    return isinstance(error, dict) and error.get("type") not in _ABOUT_THE_CLUSTER


def reason_of(data: object) -> str:
    """Return the engine's own words, ``type: reason: …`` of an error and its causes, without secrets."""
    error = data.get("error", data) if isinstance(data, dict) else data
    words: list[str] = []
    while isinstance(error, dict) and len(words) < CAUSES:
        words += [str(error[key]) for key in ("type", "reason") if error.get(key)]
        error = error.get("caused_by")
    text = ": ".join(words) if words else " ".join(str(data)[: 2 * REASON].split())
    return shown_reason(text) or "no reason given"
