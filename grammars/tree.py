"""One regular expression for many texts, which examines each character once."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["tree"]


def tree(texts: Iterable[str]) -> str:
    """Return an expression for the texts; if one text begins another, it matches the shorter one."""
    branches: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        branches[text[0]].append(text)
    parts = []
    for alike in branches.values():
        begin = os.path.commonprefix(alike)  # noqa: RUF071 - no paths
        rest = "" if begin in alike else tree([text[len(begin) :] for text in alike])
        parts.append(re.escape(begin) + rest)
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"
