"""Syslog: RFC 3164 and similar formats, RFC 5424, journalctl's text, and the stamps of console servers.

::

    Nov 22 18:53:41 host kernel: [   12.345678] text
    2026-11-22T18:53:41.816890+01:00 host kernel: text
    <4>1 2026-11-22T19:31:14.816890Z host kernel - - - text
    Jan 15 22:27:39 BUG: text                                   stamped without a host
    2026-11-22T18:53:41.81689 kern.warn: [   12.345678] text    socklog's svlogd
    2018/01/09 14:28:48 text                                    a test runner

Sources: RFC 3164, RFC 5424, systemd src/shared/logs-show.c, BusyBox sysklogd/syslogd.c, OpenWrt logread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Line
from kpanic.grammars.transport import LineReader, Row, Transport
from kpanic.grammars.transports.stamps import ISO, PRINTK, STAMP, clock, epoch, wall

if TYPE_CHECKING:
    import re

_PRIORITY: Final = r"[a-z]+\d?\.(?:emerg|alert|crit|err(?:or)?|warn(?:ing)?|notice|info|debug) "
_KERNEL: Final = rf"(?:(?!{_PRIORITY})(?P<host>[^\s:]{{1,255}}) )?(?:{_PRIORITY})?kernel(?:\[\d+\])?:"
_REST: Final = rf"(?: ?{PRINTK} ?)?(?P<text>.*)"
_BEFORE: Final = r"(?:<\d+>|kern\.[a-z]{3,7}: )?"
_SYSLOG: Final = regex(rf"(?:<\d+>)?{STAMP} (?:{_KERNEL} ?|\s*{_BEFORE}(?=\[ *\d+\.\d+\])){_REST}")
"""A line of the kernel; or a stamp of a console server or svlogd in front of printk's own."""
_CONSOLE: Final = regex(
    rf"(?:<\d+>)?{STAMP} (?P<host>[^\s:]{{1,255}}) [^\s:]{{1,64}}:(?= ?\[ *\d{{1,7}}\.\d{{6}}\]){_REST}"
)
"""A line of the kernel that a collector of consoles forwards under its own program name."""
_RFC5424: Final = regex(
    rf"<\d+>1 (?:{ISO}|-) (?P<host>\S{{1,255}}) (?P<program>\S+) \S+ \S+ "
    rf'(?:-|(?:\[(?:[^\]\\"]|"(?:[^"\\]|\\.)*")*\])+)(?: \ufeff?{_REST}|$)'
)
_PROGRAM: Final = regex(rf"(?:<\d+>)?{STAMP} ")
"""A line of any other program."""
_RUNNER: Final = regex(r"(?P<day>\d{4}/\d\d/\d\d) (?P<hour>\d\d:\d\d:\d\d) (?P<text>.*)")
_MISSED: Final = regex(r".*systemd-journald\[\d+\]: Missed (?P<lost>\d{1,9}) kernel messages")
_STAMP_ALONE: Final = regex(
    rf"(?:<\d+>)?{STAMP} (?P<text>(?P<begins>BUG: |Kernel panic - |[kK]ernel BUG at |general protection "
    r"fault|Unable to handle kernel |Oops: |INFO: task |(?:rcu: )?INFO: rcu_|WARNING: CPU: "
    r"|------------\[ cut here|(?:NMI )?watchdog: )?.*)"
)
_OCTAL: Final = regex(r"#01[125]")
_CONTROLS: Final = {"#011": "\t", "#012": "\n", "#015": ""}
"""rsyslog's escapes of tab, newline and carriage return."""
_SPACES: Final = frozenset(" \t")


def _dated(text: str) -> str:
    """Return the rest of a line that may begin with a date; empty if it cannot."""
    first = text[0]
    if first in _SPACES or first.isspace():
        return text.lstrip() if " kernel" in text else ""
    return text if first in "[<" or first.isdecimal() or text[3:4] == " " or " kernel:" in text else ""


def _lines(row: Row, match: re.Match[str]) -> list[Line]:
    time, caller, host, text = match.group("time", "caller", "host", "text")
    parts = [text or ""]
    if "#01" in parts[0]:
        parts = _OCTAL.sub(lambda code: _CONTROLS[code[0]], text).split("\n")
    return [
        Line(
            row.number,
            part,
            float(time) if time else None,
            caller or "",
            host or "",
            epoch(match),
            raw=row.raw,
            clock=clock(match),
        )
        for part in parts
    ]


def _runner(match: re.Match[str]) -> float | None:
    year, month, date = match["day"].split("/")
    return wall(f"{month}/", date, match["hour"], year)


class _Syslog(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        if row.text[0] == "<" and (match := _RFC5424.match(row.text)):
            return _lines(row, match) if match["program"] == "kernel" else []
        text = _dated(row.text)
        match = _SYSLOG.match(text) if text else None
        return _lines(row, match) if match else None


class _Programs(LineReader):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._alone = False
        """The kernel's text directly after a stamp."""

    def gap(self) -> None:
        self._alone = False

    def read(self, row: Row) -> list[Line] | None:
        text = _dated(row.text)
        if not text:
            return None
        if match := _RUNNER.match(text):
            return [Line(row.number, match["text"], raw=row.raw, clock=_runner(match))]
        alone = _STAMP_ALONE.match(text)
        if alone and (self._alone or alone["begins"]):
            self._alone = True
            return [Line(row.number, alone["text"], epoch=epoch(alone), raw=row.raw, clock=clock(alone))]
        if _PROGRAM.match(text) is None:
            return None
        if ": [" in text and (console := _CONSOLE.match(text)):
            return _lines(row, console)
        missed = _MISSED.match(text)
        self.context.lost += int(missed["lost"]) if missed else 0
        return []


SYSLOG: Final = Transport(
    name="syslog",
    reader=_Syslog,
    order=44,
    holds=(
        rb"(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} )?(?:[A-Z][a-z]{2} [ \d]\d|\d{4}-\d\d-\d\d[T ])[ \d:.+Z-]+ "
        rb"(?P<host>[^\s:\[]{1,255}) kernel[:\[]"
    ),
    tells=(b" kernel:", b" kernel[", b">1 "),
    breaks=(b"#012", b"#011"),
)
PROGRAMS: Final = Transport(name="syslog of programs", reader=_Programs, order=48)
"""Lines of other programs, which are rejected, and stamps without a host."""
