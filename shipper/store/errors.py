"""Errors of the store."""

from __future__ import annotations

from kpanic.shipper.terminal import OperatorError

__all__ = ["StoreDamaged", "StoreError", "StoreFull", "StoreInUse"]


class StoreError(OperatorError):
    """The store cannot be used."""


class StoreInUse(StoreError):  # noqa: N818 - a state of the store
    """Another process writes to the store."""


class StoreFull(StoreError):  # noqa: N818 - a state of the store
    """The disk is full; stored documents can still be read and settled."""


class StoreDamaged(StoreError):  # noqa: N818 - a state of the store
    """The file is damaged; the next opening for writing sets it aside."""
