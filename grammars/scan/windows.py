"""Windows: the lines around a hit that are read, host by host."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from kpanic.grammars.scan.block import line_breaks

if TYPE_CHECKING:
    from collections import deque

    from kpanic.grammars.model import Line
    from kpanic.grammars.scan.block import Block
    from kpanic.grammars.scan.held import Held
    from kpanic.grammars.scan.literals import Hit, Search

__all__ = ["HISTORY", "HOSTS", "SPARSE", "Open", "Windows"]

Open = tuple[dict[str, int], int, float]
"""Interrupted windows: wanted lines by host, the budget, and printk's time of the last line, in seconds."""
HISTORY: Final = 256
"""Maximum input lines before a hit that it can request."""
HOSTS: Final = 4096
"""Maximum hosts with an open window; the oldest window is closed for a further one."""
SPARSE: Final = 24
"""Maximum input lines per wanted line of a window: other hosts' lines, or the other lines of an entry."""


class Windows:
    """The open windows; selects the lines that go through them."""

    def __init__(self, search: Search, held: Held) -> None:
        self._search, self._held = search, held
        self._left: dict[str, int] = {}  # lines still wanted, by host
        self._due: dict[int, int] = {}  # lines that a hit wants, by the number of its line
        self._budget = 0  # input lines that the windows may still pass
        self.earlier: list[Line] = []
        """Lines before a hit, if its record is incomplete."""
        self.before = 0
        """Number of these lines that the hit requests."""
        self._time: float | None = None  # of the last admitted line

    def __bool__(self) -> bool:
        return bool(self._left)

    def state(self) -> tuple[object, ...]:
        """Return all state that later lines depend on."""
        return dict(self._left), self._budget, self._due, self._time

    @property
    def most(self) -> int:
        """Maximum lines that can be read before the last window closes."""
        return min(max(self._left.values()), self._budget)

    def close(self) -> Open | None:
        """Close all windows; return them, if they can be reopened."""
        left, self._left = self._left, {}
        return (left, self._budget, self._time) if left and self._time is not None else None

    def reopen(self, interrupted: Open) -> None:
        """Reopen closed windows."""
        self._left, self._budget, self._time = interrupted

    def forget(self) -> None:
        """Forget the hits, because their lines are scanned again in another order."""
        self._due.clear()

    def expect(self, block: Block, hits: deque[Hit], at: int, number: int, lines: int) -> None:
        """Record how many lines the hits before the block's current line want.

        :param at: offset after which the hits are.
        :param number: number of the line at ``at``.
        :param lines: number of lines between ``at`` and the block's current line.
        """
        data, search = block.data, self._search
        last = number + lines
        self._budget -= lines
        stop = most = 0  # of the previous hit's line, where a hit may want fewer lines
        while hits and hits[0][0] < block.at:
            hit = hits.popleft()
            wanted = 1 + search.literals[hit[1]].after
            if (hit[0] <= stop and wanted <= most) or (start := search.begins(data, hit)) < 0:
                continue
            if hit[0] > stop:
                number += line_breaks(data[at:start])
                at, stop = start, data.index(b"\n", start)
            most = self._due[number] = max(self._due.get(number, 0), wanted)
            self._budget = max(self._budget, SPARSE * (wanted + 1) - (last - number))

    def admit(self, rows: list[Line], *, pending: bool) -> list[Line]:
        """Return the lines that a window wants; a line with a hit opens a window or keeps it open.

        :param pending: whether a record is incomplete; its lines may have had hits.
        """
        kept = rows if self._usual(rows) else [line for row in rows for line in self._pass(row)]
        if kept:
            self._time = kept[-1].time
        if not pending:
            self._due.clear()
            if self._budget <= 0:
                self._left.clear()
            if not self._left:
                self._budget = 0
        while len(self._due) > HISTORY:  # a record has fewer lines
            del self._due[next(iter(self._due))]
        return kept

    def _pass(self, row: Line) -> list[Line]:
        """Return a line if its host's window wants it, with the held lines and the context before it."""
        windows = self._left
        left = windows.get(row.host, 0)
        wanted = max(left, self._due.get(row.number, 0))
        if not wanted:
            if not windows or row.host:
                return []
            return [*self._held.release("", row.number), row]  # it may have lost its prefix
        if wanted > 1:
            if not left and len(windows) >= HOSTS:
                del windows[next(iter(windows))]
            windows[row.host] = wanted - 1
            self._held.crashed(row.host)
        elif left:
            del windows[row.host]
        return [row] if left else [*self._leading(row), row]

    def _leading(self, row: Line) -> list[Line]:
        """Return the lines before a line that opens a window: the held ones, and the context."""
        boot = self._held.boot(row.host)
        context = [line for line in self.earlier if line.host == row.host and line.number >= boot]
        context = context[max(len(context) - self.before, 0) :]
        self.earlier = []
        return [*self._held.release(row.host, (context or [row])[0].number), *context]

    def _usual(self, rows: list[Line]) -> bool:
        """Admit lines if all belong to the only window (the usual case); return whether they do."""
        if len(self._left) != 1 or not rows:
            return False
        ((host, left),) = self._left.items()
        size = len(rows)
        if size > left or {row.host for row in rows} != {host}:
            return False
        numbers = [row.number for row in rows]
        if numbers != sorted(numbers):
            return False
        left -= size
        for number, wanted in self._due.items():
            behind = size - bisect_right(numbers, number)
            if behind < size and numbers[-1 - behind] == number:
                left = max(left, wanted - 1 - behind)
        if left:
            self._left[host] = left
        else:
            del self._left[host]
        return True
