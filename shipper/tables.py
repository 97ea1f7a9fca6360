"""Tables that fit the terminal: the least important columns are shortened or left out, and no name is cut."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.shipper.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Column", "fitted", "print_table", "short_host", "shortened"]

GAP: Final = 2
"""Blanks between two columns."""
MORE: Final = "…"
LONGEST_HOST: Final = 32
"""Characters of a host's name in a table."""
UNBOUNDED: Final = 1000
"""Columns of a table that does not go to a terminal."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    least: int = 0
    """Characters to which the column may be shortened if the table is too wide; 0: it is whole or left out.
    """
    order: int = 0
    """Columns with a higher rank are shortened or left out first; 0: never left out."""
    right: bool = False
    """Whether the column holds numbers."""


def shortened(text: str, width: int) -> str:
    """Return a text in so many characters: its first words, and its last one, which names the function.

    >>> shortened("BUG: unable to handle kernel NULL pointer dereference in nfs_inode_remove", 40)
    'BUG: unable to handle … nfs_inode_remove'
    """
    if len(text) <= width:
        return text
    *words, last = text.split(" ")
    room = width - len(last) - len(MORE) - 2
    head = ""
    for word in words:
        if len(head) + len(word) + bool(head) > room:
            break
        head += f" {word}" if head else word
    if head:
        return f"{head} {MORE} {last}"
    if len(last) + len(MORE) + 1 <= width and words:
        return f"{MORE} {last}"
    return text[: width - 1] + MORE


def short_host(name: str) -> str:
    """Return the name of a host for a table; a long name loses its domain.

    >>> short_host("web1.rack7.example-with-a-long-domain.example.com")
    'web1.…'
    """
    if len(name) <= LONGEST_HOST:
        return name
    first, _, domain = name.partition(".")
    return f"{first}.{MORE}" if domain and len(first) < LONGEST_HOST - 1 else name[: LONGEST_HOST - 1] + MORE


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the width of each column so that the table fits; 0 for a column that is left out.

    :param width: characters of a line.
    """
    widths = [
        max([len(column.name), *(len(row[place]) for row in rows)]) for place, column in enumerate(columns)
    ]

    def excess() -> int:
        used = [one for one in widths if one]
        return sum(used) + GAP * (len(used) - 1) - width

    order = sorted(range(len(columns)), key=lambda place: -columns[place].order)
    for place in order:
        column = columns[place]
        if (over := excess()) > 0 and column.least:
            widths[place] = max(min(widths[place], column.least), widths[place] - over)
    for place in order:
        if excess() > 0 and columns[place].order:
            widths[place] = 0
    for place in reversed(order):  # the remaining room goes to the most important column
        column = columns[place]
        if widths[place] and column.least:
            whole = max([len(column.name), *(len(row[place]) for row in rows)])
            widths[place] = min(whole, widths[place] + max(0, -excess()))
    return widths


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows on standard output, within the width of a terminal; print nothing without rows."""
    from rich.cells import set_cell_size  # noqa: PLC0415

    cells = [[visible("" if cell is None else str(cell)) for cell in row] for row in rows]
    if not cells:
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED
    widths = fitted(columns, cells, width)
    shown = [
        (place, column.right, wide)
        for place, (column, wide) in enumerate(zip(columns, widths, strict=True))
        if wide
    ]

    def line(row: Sequence[str]) -> str:
        texts = [(shortened(row[place], wide), right, wide) for place, right, wide in shown]
        padded = [f"{text:>{wide}}" if right else set_cell_size(text, wide) for text, right, wide in texts]
        return (" " * GAP).join(padded).rstrip()

    sys.stdout.writelines(f"{line(row)}\n" for row in ([column.name for column in columns], *cells))
