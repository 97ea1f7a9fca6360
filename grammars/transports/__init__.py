"""Containers: forms that carry kernel lines as fields of records. One file each, and here what they share."""

from __future__ import annotations

import re
from typing import Final

from kpanic.grammars.model import Line

__all__ = ["rows", "scrub"]

_ESCAPE: Final = re.compile(
    r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?|[@-Z\\^_])"
)
_VISIBLE: Final = {
    **{code: 0x2400 + code for code in range(0x20) if code != ord("\t")},
    0x7F: 0x2421,
    # C1 controls, and what turns the direction of writing or breaks the line
    **dict.fromkeys(
        [
            *range(0x80, 0xA0),
            0x61C,
            *range(0x200B, 0x2010),
            *range(0x2028, 0x202F),
            *range(0x2060, 0x2070),
            0xFEFF,
            *range(0xD800, 0xE000),  # lone surrogates, out of JSON
        ],
        0xFFFD,
    ),
}


def scrub(text: str) -> str:
    r"""Text without escape sequences; other control codes than tab become visible (``\a`` is ``␇``)."""
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return text.strip("\0\r").translate(_VISIBLE)


def rows(  # noqa: PLR0913  # as many as a line has
    number: int,
    message: str,
    raw: str,
    *,
    time: float | None = None,
    caller: str = "",
    host: str = "",
    epoch: float | None = None,
    lost: int = 0,
) -> list[Line]:
    """Split a record's message in its lines: there may be several. ``lost`` is before the first."""
    lines = []
    for part in message.rstrip("\n").split("\n"):
        text = part if part.isprintable() else scrub(part)
        lines.append(Line(number, text, time, caller, host, epoch, lost, raw))
        lost = 0
    return lines
