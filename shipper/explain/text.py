"""Readings as text: with colours and wrapped on a terminal, plain and unwrapped in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from kpanic.shipper.explain import shown
from kpanic.shipper.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.reading.compare import Comparison
    from kpanic.shipper.explain import Explained, Pair

__all__ = ["crashes", "pair"]

_ANSWERS: Final = {
    "yes": ("It is the same fault", "bold red"),
    "likely": ("It is likely the same fault", "bold yellow"),
    "no": ("These are different faults", "bold green"),
    "unknown": ("Whether it is the same fault is unknown", "bold yellow"),
}
_LEAST: Final = 20
"""Minimum width of a paragraph."""


class _Page:
    """Writes paragraphs, wrapped if the output is a terminal."""

    def __init__(self) -> None:
        if sys.stdout.encoding.lower() not in {"utf-8", "utf8"}:
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        self._console = Console(highlight=False, emoji=False, markup=False)
        self._width = self._console.width if self._console.is_terminal else None

    def write(self, indent: str, text: str, style: str = "", *, hanging: str | None = None) -> None:
        """Write a paragraph; ``indent`` before its first line, ``hanging`` (as wide) before the others."""
        line = Text(visible(text.expandtabs()), style=style)
        rows = [line]
        if self._width is not None:
            rows = list(line.wrap(self._console, max(self._width - len(indent), _LEAST))) or rows
            for row in rows:
                row.rstrip()
        for number, row in enumerate(rows):
            before = indent if not number or hanging is None else hanging
            self._console.print(Text(before, style="dim") + row if row.plain else Text(), soft_wrap=True)

    def empty(self) -> None:
        """Write an empty line."""
        self._console.print()

    @property
    def column(self) -> int:
        """Width of each of two columns beside a name."""
        return max(((self._width or 150) - 20) // 2, _LEAST)


def crashes(found: Iterable[Explained]) -> None:
    """Print readings one after the other."""
    page = _Page()
    for number, crash in enumerate(found):
        if number:
            page.empty()
            page.empty()
        _crash(page, crash)
    sys.stdout.flush()


def _crash(page: _Page, crash: Explained) -> None:
    report = crash.report
    for words, style in zip(crash.head, ("bold", "", "dim"), strict=True):
        page.write("", words, style)
    page.empty()
    page.write("", report.title, "bold red" if report.fatal else "bold yellow")
    first = f", line {report.lines[0].number}" if report.lines else ""
    page.write("", f"{crash.path}{first}", "dim")
    if report.analysis is None:
        return
    for number, step in enumerate(report.analysis.steps, 1):
        page.empty()
        page.write(f"{number:2}  ", step.name, "bold")
        for words, lines in step.parts:
            page.write("    ", words)
            for line in lines:
                lead = f"{line.number or '':>10}  "
                page.write(lead, shown(line), "cyan", hanging=" " * len(lead))
    if report.analysis.next:
        page.empty()
        page.write("    ", "what to do next", "bold")
        for todo in report.analysis.next:
            page.write("    - ", todo, hanging="      ")


def pair(found: Pair) -> None:
    """Print two crashes side by side."""
    page = _Page()
    answer, style = _ANSWERS[found.comparison.same_fault]
    page.write("", f"{answer}: {found.comparison.why}.", style)
    for sign, crash in (("-", found.left), ("+", found.right)):
        line = crash.report.lines[0].number if crash.report.lines else 0
        page.write("", f"{sign} {crash.path}, line {line}: {crash.report.title}", "dim")
    for heading, same in (("the same", True), ("different", False)):
        points = [point for point in found.comparison.points if point.same is same]
        if points:
            page.empty()
            page.write("", heading, "bold")
        for point in points:
            if same:
                page.write(f"  {point.name:16}", point.left, hanging=" " * 18)
            else:
                page.write(f"- {point.name:16}", point.left or "(not said)", "red", hanging=" " * 18)
                page.write(f"+ {'':16}", point.right or "(not said)", "green", hanging=" " * 18)
    _trace(page, found.comparison)
    sys.stdout.flush()


def _trace(page: _Page, comparison: Comparison) -> None:
    if not comparison.trace:
        return
    page.empty()
    page.write("", "the call traces, innermost first", "bold")
    for row in comparison.trace:
        page.write("", row, {"-": "red", "+": "green"}.get(row[:1], ""))
