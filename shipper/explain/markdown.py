"""Readings as GitHub's Markdown, for tickets; no text of a log becomes markup."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from kpanic.shipper.explain import shown
from kpanic.shipper.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpanic.shipper.explain import Explained, Pair

__all__ = ["crashes", "pair"]

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#!|~<>&@$])")
_LINK: Final = re.compile(r"(?i)(https?|ftp|mailto|xmpp)(:)|\b(www)(\.)")
_TICKS: Final = re.compile(r"`+")
_SAME: Final = {"yes": "yes", "likely": "likely", "no": "no", "unknown": "unknown"}


def escape(text: str) -> str:
    """Return text that Markdown shows unchanged, bare addresses included."""
    plain = _SPECIAL.sub(r"\\\1", visible(text))
    return _LINK.sub(lambda found: f"{found[1] or found[3]}<!-- -->{found[2] or found[4]}", plain)


def _fenced(rows: Iterable[str]) -> Iterator[str]:
    """Yield lines as a code block, between fences longer than any in the lines."""
    lines = [visible(row) for row in rows]
    longest = max((len(ticks) for line in lines for ticks in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text"
    yield from lines
    yield fence


def crashes(found: Iterable[Explained]) -> None:
    """Print readings one after the other."""
    for number, crash in enumerate(found):
        rows = list(_crash(crash))
        sys.stdout.write(("\n" if number else "") + "".join(f"{row}\n" for row in rows))
    sys.stdout.flush()


def _crash(crash: Explained) -> Iterator[str]:
    report, analysis = crash.report, crash.report.analysis
    verdict, which, signature = map(escape, crash.head)
    yield f"{verdict}\\"
    yield f"{which}\\"
    yield signature
    yield ""
    yield f"# {escape(report.title)}"
    yield ""
    yield escape(f"{crash.path}, line {report.lines[0].number}" if report.lines else crash.path)
    if analysis is None:
        return
    for number, step in enumerate(analysis.steps, 1):
        yield ""
        yield f"## {number}. {escape(step.name)}"
        for words, lines in step.parts:
            yield ""
            yield escape(words)
            if lines:
                yield ""
                yield from _fenced(f"{line.number or '':>6}  {shown(line)}" for line in lines)
    if analysis.next:
        yield ""
        yield "## What to do next"
        yield ""
        yield from _fenced(analysis.next)


def pair(found: Pair) -> None:
    """Print two crashes side by side."""
    sys.stdout.write("".join(f"{row}\n" for row in _pair(found)))
    sys.stdout.flush()


def _pair(found: Pair) -> Iterator[str]:
    comparison = found.comparison
    yield f"# The same fault? {_SAME[comparison.same_fault].capitalize()}"
    yield ""
    yield escape(f"{comparison.why}.")
    yield ""
    yield f"| | {escape(found.left.path)} | {escape(found.right.path)} | |"
    yield "|---|---|---|---|"
    for point in comparison.points:
        yield (
            f"| {point.name} | {escape(point.left)} | {escape(point.right)} "
            f"| {'same' if point.same else 'differs'} |"
        )
    if comparison.trace:
        yield ""
        yield "## The call traces, innermost first"
        yield ""
        fenced = list(_fenced(comparison.trace))
        yield fenced[0].replace("text", "diff")
        yield from fenced[1:]
