"""Makes log text safe for a terminal: no character acts as a control code or is invisible."""

from __future__ import annotations

import functools
import re

__all__ = ["OperatorError", "counted", "escape_controls", "say", "visible"]

# C0, DEL, C1; what shows nothing (Default_Ignorable_Code_Point, Unicode 15.1, DerivedCoreProperties.txt); and
# controls of lines and of direction, which show a text as other than it is (general categories Zl, Zp, Cf)
_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SURROGATES = "\ud800-\udfff"


@functools.cache
def _hidden(more: str = "") -> re.Pattern[str]:
    """Return the pattern of these and other characters, made on first use: few commands show log text."""
    return re.compile(f"[{_CONTROLS}{_SURROGATES}{more}]")


class OperatorError(Exception):
    """An error whose text is one line for the operator."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with its control and invisible characters written out.

    :param lines: leave tabs and line feeds as they are.

    >>> print(visible("a\x1b[2Jb\u200bc"))
    a\x1b[2Jb\u200bc
    """
    return _hidden("" if lines else "\t\n").sub(_python_escape, text)


def escape_controls(body: bytes) -> bytes:
    """Return a JSON text in which characters that JSON allows but terminals act on are escaped."""
    if body.isascii() and b"\x7f" not in body:
        return body
    return _hidden().sub(_json_escape, body.decode()).encode()


def _python_escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural.

    >>> counted(1, "file"), counted(2, "file"), counted(2, "crash")
    ('1 file', '2 files', '2 crashes')
    """
    plural = "es" if noun.endswith("sh") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def say(message: str) -> None:
    """Print one line for the operator on standard error; a full disk or a closed stream is ignored."""
    import contextlib  # noqa: PLC0415
    import sys  # noqa: PLC0415

    with contextlib.suppress(OSError):
        sys.stderr.write(visible(message) + "\n")
