"""Documents that are passed on together: few enough for memory, a transaction or a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kpanic.shipper.api import Stored
    from kpanic.shipper.packed import Packed

__all__ = ["Batch", "groups"]

DOCUMENTS = 100
"""Maximum documents."""
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
        """Return the documents, and empty the batch."""
        documents, self.documents, self._bytes = self.documents, [], 0
        return documents


def groups(
    documents: Iterable[Stored], size_of: Callable[[Stored], int], most: int, limit: int
) -> Iterator[list[Stored]]:
    """Yield documents in their order, as many at a time as a request takes; a larger document comes alone.

    :param size_of: returns the bytes that a document takes in a request.
    :param most: maximum documents of a request.
    :param limit: maximum bytes of a request.
    """
    group: list[Stored] = []
    size = 0
    for stored in documents:
        length = size_of(stored)
        if group and (size + length > limit or len(group) >= most):
            yield group
            group, size = [], 0
        group.append(stored)
        size += length
    if group:
        yield group
