"""Text from logs on its way to a terminal: nothing of it may act as a control code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Told", "armour", "counted", "say", "visible"]

# C0, DEL, C1, and Unicode's line and direction controls, which show a text as other than it is
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_IN_TEXT = re.compile(f"[{_CONTROLS}\ud800-\udfff]")
_IN_LINE = re.compile(f"[{_CONTROLS}\t\n\ud800-\udfff]")


class Told(Exception):  # noqa: N818 - it says what it is
    """Something went wrong of which the text is one line for the operator."""


def _name(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


_escape: Callable[[re.Match[str]], str] = _name


def visible(text: str, *, lines: bool = False) -> str:
    """Return ``text`` with its control characters written out; tabs and line feeds stay where ``lines``."""
    return (_IN_TEXT if lines else _IN_LINE).sub(_escape, text)


def armour(body: bytes) -> bytes:
    """Return a JSON text with the controls escaped that JSON itself lets through."""
    if body.isascii() and b"\x7f" not in body:
        return body
    return _IN_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", body.decode()).encode()


def counted(number: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``, ``2 crashes``."""
    plural = "es" if noun.endswith("sh") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def say(message: str) -> None:
    """Print one line for the operator, on standard error; where that is full or gone, go on without."""
    import contextlib  # noqa: PLC0415
    import sys  # noqa: PLC0415

    with contextlib.suppress(OSError):
        sys.stderr.write(visible(message) + "\n")
