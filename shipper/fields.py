"""Fields of a nested document by their dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["get"]


def get(document: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return the value of a field such as ``host.os.kernel``; None if the document has none."""
    node: Any = document
    for part in name.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node
