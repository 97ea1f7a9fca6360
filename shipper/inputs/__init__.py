"""Where crashes come from.

An input is a plugin: an entry point of the group ``kpanic.inputs`` that names a class with a ``Config`` (a
msgspec struct, its keys are those of an item of ``inputs``) and a constructor that takes one. The built-in
ones are registered in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import msgspec

    from grammars.model import CrashReport
    from shipper.document import Origin

__all__ = ["Crash", "Input", "Unreadable"]


class Crash(NamedTuple):
    """What was read, and where."""

    report: CrashReport
    origin: Origin


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """Something could not be read, wholly or from some place on.

    :ivar path: as the user named it.
    :ivar reason: one line: what is wrong and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Input(Protocol):
    """A place where crashes appear."""

    Config: ClassVar[type[msgspec.Struct]]
    name: str
    paths: list[str]
    """Files and folders that hold crashes now."""

    def __init__(self, config: Any) -> None: ...  # noqa: ANN401 - each input has its own Config
