"""Names of the indices in an engine: outputs write them, dashboards query them."""

from __future__ import annotations

__all__ = ["DAYS", "PATTERN", "SIGNATURES", "data_stream", "days_index", "totals_index"]

PATTERN = "logs-kernel.panic-*"
"""Data streams of the crashes, one per namespace, in Elastic's naming scheme (type, dataset, namespace)."""
SIGNATURES = "kernel-panic-signatures"
"""Plain index with one document per signature: its creation marks the first crash of the signature."""

DAYS = "kernel-panic-days-*"
"""Plain indices, one per namespace, with the counts of each day, which ``kpanic rollup`` keeps."""


def data_stream(namespace: str) -> str:
    """Return the name of a namespace's data stream."""
    return PATTERN.replace("*", namespace)


def days_index(namespace: str) -> str:
    """Return the name of the index with the counts of a namespace's days."""
    return DAYS.replace("*", namespace)


def totals_index(namespace: str) -> str:
    """Return the name of the plain index with a namespace's totals, which ``kpanic rollup`` keeps."""
    return f"kernel-panic-totals-{namespace}"
