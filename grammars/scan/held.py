"""Single lines that are held back until their host crashes: a boot's messages about itself.

Few boots crash, and the next boot makes the lines void. Of most blocks it is enough to know that some single
line is in them: they are put aside, and where the lines are is looked up once the host crashes, unless it
booted since.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Final

from kpanic.grammars.lines import Reader
from kpanic.grammars.scan.literals import TOLD
from kpanic.grammars.scan.windows import HOSTS

if TYPE_CHECKING:
    from kpanic.grammars.model import Line
    from kpanic.grammars.scan.block import Block, Numbered
    from kpanic.grammars.scan.literals import Hit, Search

__all__ = ["ASIDE", "HELD_BY_HOST", "Held"]

HELD: Final = 4 * 1024 * 1024
"""Maximum bytes of held lines, of all hosts together."""
HELD_LINE: Final = 256
"""Bytes of memory that a held line takes in addition to its text."""
HELD_BY_HOST: Final = 64
"""Maximum held lines per host."""
ASIDE: Final = 16
"""Maximum blocks whose single lines are not yet examined."""


class Held:
    """The single lines of hosts that did not crash since they booted."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._transports = search.transports
        self._lines: dict[bytes, deque[Numbered]] = {}
        self._size = 0
        self._aside: deque[Block] = deque()
        self._timed = False  # the banner had a time stamp after which lines are held that name no host
        self._crashed: dict[bytes, None] = {}  # hosts whose single lines are all worth reading
        self.left_out = False
        """Some lines were too many to be held."""

    def __bool__(self) -> bool:
        return bool(self._lines or self._aside or self._crashed)

    @property
    def hosts(self) -> list[str]:
        """Hosts with held lines."""
        return [host.decode("utf-8", "replace") for host in self._lines]

    def crashed(self, host: str) -> None:
        """Hold nothing of a host back until it boots again."""
        self._crashed[host.encode()] = None
        if len(self._crashed) > HOSTS:
            del self._crashed[next(iter(self._crashed))]

    def put_aside(self, block: Block, kinds: set[int]) -> bool:
        """Leave the single lines of a block until a host crashes; False: they must be looked at now."""
        if TOLD in kinds or b"" in self._crashed:
            return False
        data = block.data
        search = self._search
        for boot in search.boots:
            end = data.rfind(search.texts[boot]) + search.lengths[boot]
            if (
                end >= search.lengths[boot]
                and search.begins(data, (end, boot)) >= 0
                and self._transports.holds.match(data, data.rfind(b"\n", 0, end) + 1)
            ):
                self._boot(b"", timed=True)
        self._aside.append(copy(block))  # nothing of it is read yet
        if len(self._aside) > ASIDE:
            self.hold_aside()
        return True

    def hold_aside(self) -> None:
        """Hold the single lines of the blocks that were put aside."""
        aside, self._aside = self._aside, deque()
        for block in aside:
            self.hold(block, deque(self._search.ends(block.data)))

    def hold(self, block: Block, hits: deque[Hit]) -> None:
        """Take the hits whose lines can be held, up to one whose line is to be read."""
        held = self._single(block, hits)
        half = HELD_BY_HOST // 2
        self.left_out = self.left_out or any(len(at) > HELD_BY_HOST for at in held.values())
        for line, host in sorted(
            (line, host) for host, at in held.items() for line in {*at[:half], *at[-half:]}
        ):
            queue = self._lines.setdefault(host, deque())
            queue.append(block.line_at(line))
            self._size += HELD_LINE + len(queue[-1].line)
            if len(queue) > HELD_BY_HOST:
                self._size -= HELD_LINE + len(queue[half].line)
                del queue[half]  # the banner is among the first, and the last are nearest to the crash
                self.left_out = True
            if self._size > HELD:
                self.left_out = True
                self._void(next(iter(self._lines)))

    def state(self) -> tuple[dict[bytes, list[Numbered]], list[bytes], bool]:
        """Return the held lines by host, the hosts that crashed, and whether the banner was timed."""
        settled = Held(self._search)
        settled._lines = {host: deque(lines) for host, lines in self._lines.items()}
        settled._size, settled._timed = self._size, self._timed
        settled._crashed, settled._aside = dict(self._crashed), deque(self._aside)
        settled.hold_aside()
        lines = {host: list(queue) for host, queue in settled._lines.items()}
        return lines, list(settled._crashed), settled._timed

    def boot(self, host: str) -> int:
        """Return the number of the line that a host's boot begins with, if it is held; else 0."""
        lines = self._lines.get(host.encode("utf-8", "replace"))
        texts = [self._search.texts[boot] for boot in self._search.boots]
        return lines[0].number if lines and any(text in lines[0].line for text in texts) else 0

    def release(self, host: str, before: int) -> list[Line]:
        """Read the lines that are held of a host and stand before a line's number."""
        reader = Reader(self._transports)
        return [
            row
            for line in self._void(host.encode("utf-8", "replace"))
            if line.number < before
            for row in reader.alone(*line)
        ]

    def _single(self, block: Block, hits: deque[Hit]) -> dict[bytes, list[int]]:
        """Return where the lines begin that can be held, by host, since its last boot.

        A line that names no host is held if it is whole. A banner without a time stamp is only quoted where
        the kernel stamps its lines.
        """
        data, search, tells = block.data, self._search, self._transports.tells
        begins, host_of = search.begins, self._transports.holds.match
        held: dict[bytes, list[int]] = {}
        while hits:
            hit = hits[0]
            start = begins(data, hit)
            if start >= 0:
                if hit[1] < search.windows:
                    break
                line = data.rfind(b"\n", block.at, start) + 1 or block.at
                match = host_of(data, line)
                if match is None:
                    end = data.index(b"\n", line)
                    if any(data.find(text, line, end) >= 0 for text in tells):
                        break
                host = b"" if match is None or match.lastindex is None else match[match.lastindex]
                if hit[1] in search.boots and not (match is None and self._timed):
                    crashed = host in self._crashed
                    self._boot(host, timed=match is not None)
                    if crashed:
                        break
                    held[host] = [line]
                elif host in self._crashed:
                    break
                else:
                    lines = held.setdefault(host, [])
                    if not lines or lines[-1] != line:
                        lines.append(line)
            hits.popleft()
        return held

    def _boot(self, host: bytes, *, timed: bool) -> None:
        """Forget what a host said before it booted."""
        self._void(host)
        self._crashed.pop(host, None)
        if not host:
            self._timed = timed
            self._aside.clear()

    def _void(self, host: bytes) -> deque[Numbered]:
        """Hold a host's lines no longer."""
        lines = self._lines.pop(host, deque())
        self._size -= sum(HELD_LINE + len(line.line) for line in lines)
        return lines
