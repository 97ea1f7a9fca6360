"""Stores documents; on a full disk they replace the text of old delivered ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.shipper.store import StoreFull
from kpanic.shipper.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kpanic.shipper.packed import Packed
    from kpanic.shipper.store import Position, Store

__all__ = ["spool"]


def spool(
    store: Store,
    documents: Sequence[Packed],
    outputs: Sequence[str],
    positions: Iterable[Position] = (),
    *,
    say: Callable[[str], None],
) -> int:
    """Store documents together with how far their input is.

    :param outputs: the outputs that must have a document before its text may be deleted for a new one; they
        already have documents without a body.
    :param say: takes a message if texts were deleted.
    :return: how many documents were new.
    :raises StoreError: some of the documents may be stored, the positions are not.
    """
    positions = list(positions)
    deleted = 0
    while True:
        try:
            added = store.add(documents, positions, outputs)
        except StoreFull:
            more = store.free_some(outputs) if outputs else 0
            deleted += more
            if more:
                continue
            if len(documents) < 2:  # noqa: PLR2004 - a single document cannot be halved
                raise
            half = len(documents) // 2  # the disk may be too small for so many at once
            added = spool(store, documents[:half], outputs, say=say)
            added += spool(store, documents[half:], outputs, positions, say=say)
        if deleted:
            texts = f"the text of {counted(deleted, 'delivered document')}"
            say(f"{store.path}: the disk is full: {texts} was deleted")
        return added
