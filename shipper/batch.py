"""Documents that are handed on together: few enough to hold in memory, enough for one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.shipper.packed import Packed

__all__ = ["Batch"]

DOCUMENTS = 100
BYTES = 1 << 20


class Batch:
    """Collects documents.

    :ivar documents: those since the batch was last emptied.
    """

    def __init__(self) -> None:
        self.documents: list[Packed] = []
        self._bytes = 0

    def add(self, documents: Iterable[Packed]) -> bool:
        """Add documents; return whether the batch is full."""
        for document in documents:
            self.documents.append(document)
            self._bytes += len(document.body)
        return len(self.documents) >= DOCUMENTS or self._bytes >= BYTES

    def empty(self) -> list[Packed]:
        """Return the documents, and start anew."""
        documents, self.documents, self._bytes = self.documents, [], 0
        return documents
