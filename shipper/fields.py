"""Looks up fields of a nested document by their dotted names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["get"]


def get(document: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return the value of a field such as ``host.os.kernel``; None if the document has none."""
    node: Any = document
    try:
        for part in name.split("."):
            node = node[part]
    except (KeyError, TypeError):  # a field that is missing, or a text where an object is expected
        return None
    return node
