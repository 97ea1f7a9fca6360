"""Single lines, such as a boot's banner, that are held back until their host crashes.

Few boots end in a crash, and the next boot makes the lines obsolete. A block that contains single lines but
no crash is put aside; its lines are looked up when the host crashes, unless the host booted since.
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
"""Maximum bytes of the held lines of all hosts."""
HELD_LINE: Final = 256
"""Bytes of memory that a held line takes besides its text."""
HELD_BY_HOST: Final = 64
"""Maximum held lines per host."""
ASIDE: Final = 16
"""Maximum blocks whose single lines are not yet examined."""


class Held:
    """The single lines of hosts that have not crashed since their boot."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._transports = search.transports
        self._lines: dict[bytes, deque[Numbered]] = {}
        self._size = 0
        self._aside: deque[Block] = deque()
        self._timed = False  # whether the banner of the lines without a host had a time stamp
        self._crashed: dict[bytes, None] = {}  # hosts whose single lines are read at once
        self.left_out = False
        """Whether lines were dropped because a limit was reached."""

    def __bool__(self) -> bool:
        return bool(self._lines or self._aside or self._crashed)

    @property
    def hosts(self) -> list[str]:
        """Hosts with held lines."""
        return [host.decode("utf-8", "replace") for host in self._lines]

    def crashed(self, host: str) -> None:
        """Hold back no lines of a host until its next boot."""
        self._crashed[host.encode()] = None
        if len(self._crashed) > HOSTS:
            del self._crashed[next(iter(self._crashed))]

    def put_aside(self, block: Block, kinds: set[int]) -> bool:
        """Put a block aside until a host crashes; return False if its lines must be read now."""
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
        self._aside.append(copy(block))  # the copy keeps its place before the first line
        if len(self._aside) > ASIDE:
            self.hold_aside()
        return True

    def hold_aside(self) -> None:
        """Hold the single lines of the blocks that were put aside."""
        aside, self._aside = self._aside, deque()
        for block in aside:
            self.hold(block, deque(self._search.ends(block.data)))

    def hold(self, block: Block, hits: deque[Hit]) -> None:
        """Take the hits whose lines can be held, up to the first hit whose line must be read now."""
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
                del queue[half]  # the banner is among the first lines; the last are nearest to the crash
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
        """Return the number of the held line that begins a host's boot; 0 if there is none."""
        lines = self._lines.get(host.encode("utf-8", "replace"))
        texts = [self._search.texts[boot] for boot in self._search.boots]
        return lines[0].number if lines and any(text in lines[0].line for text in texts) else 0

    def release(self, host: str, before: int) -> list[Line]:
        """Read the held lines of a host whose numbers are below ``before``."""
        reader = Reader(self._transports)
        return [
            row
            for line in self._void(host.encode("utf-8", "replace"))
            if line.number < before
            for row in reader.alone(*line)
        ]

    def _single(self, block: Block, hits: deque[Hit]) -> dict[bytes, list[int]]:
        """Return the offsets of the lines that can be held, by host, since the host's last boot.

        A line without a host is held if it is complete. A banner without a time stamp is a quotation if the
        kernel's other lines have stamps.
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
        """Drop the lines of a host before its boot."""
        self._void(host)
        self._crashed.pop(host, None)
        if not host:
            self._timed = timed
            self._aside.clear()

    def _void(self, host: bytes) -> deque[Numbered]:
        """Remove the held lines of a host, and return them."""
        lines = self._lines.pop(host, deque())
        self._size -= sum(HELD_LINE + len(line.line) for line in lines)
        return lines
