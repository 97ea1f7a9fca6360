"""The prefix of printk: ``<4>[   12.345678][  T123] text``, on consoles, in dmesg, pstore and netconsole.

Sources: kernel/printk/printk.c (print_syslog, print_time, print_caller), util-linux sys-utils/dmesg.c,
systemd src/shared/logs-show.c (``journalctl -o short-monotonic``).
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Line
from kpanic.grammars.transport import LineReader, Row, Transport
from kpanic.grammars.transports.stamps import PRINTK

_CONSOLE: Final = rf"(?:<\d+>)?{PRINTK} ?(?P<text>.*)"
_CONSOLE_LINE: Final = regex(_CONSOLE)
_MONOTONIC: Final = regex(r"(?P<host>[^\s:]{1,255}) kernel(?:\[\d+\])?: (?P<text>.*)")
"""``host kernel: text`` after such a stamp."""
_VENDOR: Final = regex(r"[ -]?\(\d{1,3}\)\[\d{1,7}:[^\]\n]{1,32}\]")
"""The CPU and the printing task on MediaTek's kernels; ``-`` if interrupts were disabled."""
_XEN: Final = regex(r" {1,8}(?:EMERG|ALERT|CRIT|ERR|WARN|NOTE|INFO|DBG|DEBUG): ")
"""The level after the stamp, as xen-crashdump-analyser writes it."""
_DROPPED: Final = regex(r"\*\* (?P<lost>\d{1,9}) printk messages dropped \*\* ?(?P<text>.*)")
_LEVEL: Final = regex(r"<\d+>(?P<text>.*)")
_LABEL: Final = regex(r"\[[^\s\[\]]{1,64}\] ?")
"""The console's name, which Xvisor and others that merge several consoles write before each line."""
_INSIDE: Final = regex(
    r"(?P<before>.*?)(?:<\d+>)?\[ *(?P<time>\d{1,12}\.\d{6})\](?:\[ *(?P<caller>[TC]\d+)\])?"
    r"(?: (?P<text>.*)|$)"
)


class _Console(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _CONSOLE_LINE.match(row.text)
        if match is None:
            return None
        time, caller, text = match.groups("")
        host = ""
        if ")[" in text and (vendor := _VENDOR.match(text)):
            text = text[vendor.end() :]
        if ": " in text[:12] and (level := _XEN.match(text)):
            text = text[level.end() :]
        if " kernel" in text and (behind := _MONOTONIC.match(text)):
            host, text = behind.groups()
        return [Line(row.number, text, float(time), caller, host, None, 0, row.raw)]


class _Dropped(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _DROPPED.match(row.text)
        if match is None:
            return None
        self.context.lost += int(match["lost"])
        return self.context.again(structs.replace(row, text=match["text"])) if match["text"] else []


class _Level(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _LEVEL.match(row.text)
        return [Line(row.number, match["text"], raw=row.raw)] if match else None


class _Inside(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _INSIDE.match(row.text) if "[" in row.text else None
        if match is None:
            return None
        line = Line(
            row.number,
            match["text"] or "",
            float(match["time"]),
            match["caller"] or "",
            raw=row.raw,
            transport="inside",
        )
        before = "" if _LABEL.fullmatch(match["before"]) else match["before"].rstrip()
        return [Line(row.number, before, raw=row.raw), line] if before else [line]


CONSOLE: Final = Transport(
    name="console",
    reader=_Console,
    order=40,
    starts="[<",
    usual=_CONSOLE,
    unusual=(" kernel:", " kernel[", ")[", " ALERT: ", "  WARN: ", " EMERG: "),
    holds=rb"(?:<\d{1,3}>)?\[ *+\d++\.\d++\](?! ?[^\s:]{1,255}+ kernel[:\[])",
    heads=(b"[", b"<"),
    lines=1,
)
DROPPED: Final = Transport(name="dropped", reader=_Dropped, order=35, starts="*")
"""``** 12 printk messages dropped **``: on a separate line or, before 4.20, in front of the next one."""
LEVEL: Final = Transport(name="level", reader=_Level, order=60, starts="<")
"""``<4>text``: ``dmesg -r`` of a kernel with printk.time=0."""
INSIDE: Final = Transport(name="inside", reader=_Inside, prefixes=False, order=90)
"""After text that did not end its line: ``host login: [   12.345678] text``. That text may itself be a line
of the kernel.
"""
