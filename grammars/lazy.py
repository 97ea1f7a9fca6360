"""Regular expressions that are compiled when they are first used.

The grammar has some two hundred words and stamps. The text of one crash needs a few of them, and compiling
all takes longer than reading it.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["regex"]


class _Lazy:
    """Stands for a compiled pattern; becomes one, method by method, as it is used."""

    def __init__(self, pattern: Any, flags: int) -> None:  # noqa: ANN401 - str or bytes
        self._made = (pattern, flags)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a pattern has
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(re.compile(*self._made), name)
        setattr(self, name, value)
        return value


def regex(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what :func:`re.compile` would, compiled when it is first used.

    :raises re.error: at the first use, where the pattern is none.
    """
    return cast("re.Pattern[AnyStr]", _Lazy(pattern, flags))
