"""Regular expressions that are compiled when they are first used.

The grammar has some two hundred words and stamps. The text of one crash needs a few of them, and compiling
all takes longer than reading it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, AnyStr, Final, cast

from kpanic.grammars import precompiled

if TYPE_CHECKING:
    import re

__all__ = ["compile_all", "regex"]


class _Lazy:
    """A proxy for a compiled pattern, which takes the pattern's methods as they are used."""

    def __init__(self, pattern: Any, flags: int) -> None:  # noqa: ANN401 - str or bytes
        self._made = (pattern, flags)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a pattern
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.compiled, name)
        setattr(self, name, value)
        return value

    @cached_property
    def compiled(self) -> re.Pattern[Any]:
        return precompiled.compile(*self._made)


_made: Final[list[_Lazy]] = []


def compile_all() -> None:
    """Compile the patterns of all modules that are imported."""
    for one in _made:
        one.compiled  # noqa: B018 - the use compiles it


def regex(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a pattern like :func:`re.compile`, compiled when it is first used.

    :raises re.error: at the first use, if the pattern is invalid.
    """
    made = _Lazy(pattern, flags)
    _made.append(made)
    return cast("re.Pattern[AnyStr]", made)
