r"""Kernel lines out of whatever their transport wrapped around them.

One :class:`Reader` for every transport: each form in which a kernel line travels is one ``Regex`` element
below, and what a line starts with decides which of them are tried. Forms that need more than one line of
input (JSON, the journal's export form, records of ``/dev/kmsg``) live in :mod:`kpanic.grammars.transports`.

``Line.time`` is printk's clock (seconds since boot); ``epoch`` is the transport's own stamp where that names
its year and its zone, else None: RFC 3164 has no year, ``dmesg -T`` no zone. ``text`` holds no control code
but tab: escape sequences are taken out, other control codes are shown as their pictures (``␀``), and what
turns the direction of writing as ``\ufffd``.

Sources: kernel/printk/printk.c, Documentation/ABI/testing/dev-kmsg, Documentation/networking/netconsole.rst,
util-linux sys-utils/dmesg.c, systemd src/shared/logs-show.c, RFC 3164, RFC 5424.
"""

from __future__ import annotations

import functools
import html
import json
import re
from datetime import datetime
from operator import itemgetter
from typing import Final

from pyparsing import Regex

from kpanic.grammars.model import Line
from kpanic.grammars.transports import scrub
from kpanic.grammars.transports.dmesg_json import BRACKETS, MEMBER, DmesgJson
from kpanic.grammars.transports.journal import OPENING, Export, closes, entry, laid_out
from kpanic.grammars.transports.kmsg import RECORD, Kmsg

__all__ = ["Reader"]


def _form(pattern: str) -> Regex:
    return Regex(pattern, as_match=True)


_CALLER = r"(?>(?: ?\[ *+(?P<caller>[TC]\d++)\])?)"
_PRINTK = rf"\[ *+(?P<time>\d{{1,12}}+\.\d{{1,9}}+)(?>(?:[@,]\d++)?)(?>(?: <[ \d.+]*+>)?)\]{_CALLER}"
_DAY = r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)"
_ZONE = r"(?P<zone> ?(?:Z|UTC|GMT)\b|[+-]\d\d:?\d\d)?"
_ISO = rf"{_DAY}(?P<fraction>[.,]\d{{1,9}})?{_ZONE}"
_STAMP = (
    rf"(?P<weekday>[A-Z][a-z]{{2}} )?(?:{_ISO}(?(zone)|(?(weekday) [A-Z]{{2,5}}|))"
    r"|(?:[^\W\d_]{2,5}\.?|\d{1,2}[^\W\d_]) [ \d]?\d \d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4})?)"
)
_PRIORITY = r"[a-z]+\d?\.(?:emerg|alert|crit|err(?:or)?|warn(?:ing)?|notice|info|debug) "
_KERNEL = rf"(?:(?!{_PRIORITY})(?P<host>[^\s:]{{1,255}}) )?(?:{_PRIORITY})?kernel(?:\[\d+\])?:"
_REST = rf"(?: ?{_PRINTK} ?)?(?P<text>.*)"

CONSOLE: Final = _form(rf"(?:<\d+>)?{_PRINTK} ?(?P<text>.*)")
"""``[   12.345678][  T123] text``: consoles, dmesg, ``dmesg -r``, ``-d``, pstore, netconsole."""
MONOTONIC: Final = _form(r"(?P<host>[^\s:]{1,255}) kernel(?:\[\d+\])?: (?P<text>.*)")
"""``host kernel: text`` behind such a stamp: journalctl -o short-monotonic."""
CTIME: Final = _form(
    r"(?:<\d+>)?\[(?:(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} ?[ \d]?\d \d\d:\d\d(?::\d\d \d{4})?"
    rf"|(?=[ +]*[<+]) *(?:\+\d+\.\d+)?)(?: *< *[\d.+]+>)?\]{_CALLER} (?P<text>.*)"
)
"""``[Sun Nov 22 18:53:41 2026] text``, ``[Nov22 19:31] text``, ``[  +0.000086] text``: dmesg -T, -H."""
LEVEL: Final = _form(r"<\d+>(?P<text>.*)")
"""``<4>text``: dmesg -r of a kernel with printk.time=0."""
DECODED: Final = _form(r"[a-z]+\d? *:[a-z]+ *: (?P<text>.*)")
"""``kern  :warn  : …``: dmesg -x, before any other form of it."""
DMESG_ISO: Final = _form(rf"{_DAY}(?P<fraction>,\d+){_ZONE}{_CALLER} (?P<text>.*)")
"""``2026-11-22T19:31:14,816890+00:00 text``: dmesg --time-format iso, the only one with a comma."""
SYSLOG: Final = _form(rf"(?:<\d+>)?{_STAMP} (?:{_KERNEL} ?|\s*(?:<\d+>)?(?=\[ *\d+\.\d+\])){_REST}")
"""``Nov 22 18:53:41 host kernel: [   12.345678] text`` and its kin: RFC 3164, ISO stamps, journalctl,
BusyBox, OpenWrt; or a stamp that a console server put before the kernel's own. journalctl writes months in
the reader's language: ``июл 27``, ``févr. 11``, ``7月 27``."""
PROGRAM: Final = _form(rf"(?:<\d+>)?{_STAMP} ")
"""The same of any other program: not the kernel's words."""
RFC5424: Final = _form(
    rf"<\d+>1 (?:{_ISO}|-) (?P<host>\S{{1,255}}) (?P<program>\S+) \S+ \S+ "
    rf'(?:-|(?:\[(?:[^\]\\"]|"(?:[^"\\]|\\.)*")*\])+)(?: \ufeff?{_REST}|$)'
)
"""``<4>1 2026-11-22T19:31:14.816890Z host kernel - - - text``."""
LOGGER: Final = _form(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?P<text>.*)")
"""``2018/01/09 14:28:48 text``: the stamp of a test runner, without a zone."""
CRI: Final = _form(rf"{_ISO} (?:stdout|stderr) [FP] (?P<text>.+)")
"""``2026-11-22T19:31:14.816890123Z stdout F text``: a container's output, as CRI writes it."""
INSIDE: Final = _form(
    r".*?(?:<\d+>)?\[ *(?P<time>\d{1,12}\.\d{6})\](?:\[ *(?P<caller>[TC]\d+)\])? (?P<text>.*)"
)
"""Behind something that did not end its line: ``host login: [   12.345678] text``."""
DROPPED: Final = _form(r"\*\* (?P<lost>\d{1,9}) printk messages dropped \*\* ?(?P<text>.*)")
"""The console could not keep up; on a line of its own or, before 4.20, in front of the next."""
MISSED: Final = _form(r".*systemd-journald\[\d+\]: Missed (?P<lost>\d{1,9}) kernel messages")
"""journald could not keep up."""
STAMP_ALONE: Final = _form(
    rf"(?:<\d+>)?{_STAMP} (?P<text>(?P<begins>BUG: |Kernel panic - |[kK]ernel BUG at |general protection "
    r"fault|Unable to handle kernel |Oops: |INFO: task |(?:rcu: )?INFO: rcu_|WARNING: CPU: "
    r"|------------\[ cut here|(?:NMI )?watchdog: )?.*)"
)
"""``Jan 15 22:27:39 BUG: …``: the stamp of who listened on the line, without a host."""
QUOTE: Final = _form(r"(?:> ?)+(?P<text>.*)")
"""``> > text``: quoted in a mail."""
STAMPED: Final = _form(rf"{_STAMP} (?:[\w.:-]+ )?(?=\S*\d,\d+,\d+,)")
"""What a receiver of extended netconsole puts before its records."""
ECHO: Final = _form(r"[ \t]kernel:|Message from syslogd@")
"""An emergency, once more, that the syslog daemon wrote to the terminals."""

_LINE: Final = functools.partial(tuple.__new__, Line)
"""Line, without the cost of a call in Python."""
_RUN: Final = re.compile(rf"(?:({CONSOLE.pattern})|(.*))\n")
_TIMED: Final = itemgetter(1)
_RETURNS: Final = re.compile(r"(?<!\r)\r+\n")
_OCTAL: Final = re.compile(r"#01[125]")
_CONTROLS: Final = {"#011": "\t", "#012": "\n", "#015": ""}
_PROPERTY: Final = re.compile(r" [A-Z]+=")
"""Of the device that a record of /dev/kmsg is about."""
_WRAPPED: Final = ("message", "msg", "log")


@functools.lru_cache(maxsize=256)
def _instant(day: str, clock: str, zone: str | None) -> float | None:
    """Seconds since 1970 of a whole second; None without a zone, or for a 31st of February."""
    if not zone:
        return None
    try:
        return datetime.fromisoformat(f"{day}T{clock}{'Z' if zone[0] not in '+-' else zone}").timestamp()
    except ValueError:
        return None


def _epoch(match: re.Match[str]) -> float | None:
    day, clock, fraction, zone = match.group("day", "clock", "fraction", "zone")
    whole = _instant(day, clock, zone) if day else None
    return whole if whole is None or not fraction else whole + float(f"0.{fraction[1:]}")


_UNUSUAL: Final = (" kernel:", " kernel[", "&lt;", "&gt;")
"""What a line holds that needs a closer look: the stamp of a journal, what a web page made of ``<``."""
_INDENTED: Final = frozenset(" \t")
_QUOTES: Final = ("b'", 'b"')
"""What begins a datagram in a capture that was printed one ``repr`` a line."""
_QUOTED: Final = re.compile(r"\\(?:x([0-9a-f]{2})|(.))")
_QUOTED_CODES: Final = {"n": "", "t": "\t", "r": ""}


def _unquoted(text: str) -> str:
    """Take a datagram out of its quotes; its last line break with them."""
    return _QUOTED.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else _QUOTED_CODES.get(found[2], found[2]),
        text[2:-1],
    )


class Reader:
    """Reads lines that follow each other; says nothing of how they were found."""

    def __init__(self) -> None:
        self._kmsg = Kmsg()
        self._export = Export()
        self._dmesg = DmesgJson()
        self._lost = 0
        self._alone = False
        """The kernel's words come right behind a stamp."""

    @property
    def pending(self) -> bool:
        """Say whether more input is needed to complete a line."""
        return self._export.pending or self._kmsg.pending

    def gap(self) -> None:
        """Forget what the last line began: the next one does not follow it."""
        self._kmsg.gap()
        self._export.gap()
        self._dmesg.gap()
        self._lost = 0
        self._alone = False

    def flush(self) -> list[Line]:
        """Kernel lines that the end of the input completes."""
        found = self._kmsg.flush()
        return found + self._entry() if self._export.pending else found

    def read(self, number: int, line: bytes, original: bytes | None = None) -> list[Line]:
        """Kernel lines that line ``number`` of the input completes: mostly one; none of another program.

        ``line`` is without its newline; ``original`` is what it was, if escape sequences were taken out.
        """
        text = line.decode("utf-8", "replace").rstrip("\r")
        raw = text if original is None else original.decode("utf-8", "replace").rstrip("\r")
        if text[:2] in _QUOTES and text[-1] == text[1]:
            text = _unquoted(text)
            line = text.encode()
        if (
            text[:1] in _INDENTED
            and (field := laid_out(text))
            and (self._export.pending or OPENING.re.match(field))
        ):
            text, line = field, field.encode("utf-8", "replace")
        if self._export.pending:
            if (not line or closes(text)) and not self._export.binary:
                return self._entry()
            if self._export.read(number, line, text, raw):
                return []
            self._export.gap()
        if not text.isprintable():
            text = scrub(text)
        if "&lt;" in text or "&gt;" in text:
            text = html.unescape(text)
        return self._stated(self._form(number, line, text, raw)) if text and not text.isspace() else []

    def alone(self, number: int, line: bytes, original: bytes | None = None) -> list[Line]:
        """Read a line that has nothing to do with the one before."""
        self.gap()
        return self.read(number, line, original)

    def run(self, first: int, lines: bytes) -> list[Line]:
        """Read whole lines that follow each other, as :meth:`read` does, the usual form of them faster."""
        found: list[Line] = []
        add = found.append
        text = lines.decode("utf-8", "replace")
        if "\r" in text:
            text = _RETURNS.sub("\n", text)
        split: list[bytes] = []
        quick = not (self._lost or self.pending or self._kmsg.open)
        rows = _RUN.findall(text)
        usual = quick and text.replace("\n", "").isprintable() and not any(word in text for word in _UNUSUAL)
        if usual and all(map(_TIMED, rows)):
            return [
                _LINE((number, words, float(time), caller, "", None, 0, raw))
                for number, (raw, time, caller, words, _) in enumerate(rows, first)
            ]
        for number, (raw, time, caller, words, _) in enumerate(rows, first):
            if (
                quick
                and time
                and (usual or (raw.isprintable() and not any(word in words for word in _UNUSUAL)))
            ):
                add(_LINE((number, words, float(time), caller, "", None, 0, raw)))
            else:
                split = split or lines.split(b"\n")
                found += self.read(number, split[number - first])
                quick = not (self._lost or self.pending or self._kmsg.open)
        return found

    def _stated(self, found: list[Line]) -> list[Line]:
        """Tell the first line of the records that were lost before it."""
        if self._lost and found:
            found[0] = found[0]._replace(lost=found[0].lost + self._lost)
            self._lost = 0
        return found

    def _entry(self) -> list[Line]:
        found, missed = self._export.end()
        self._lost += missed
        return self._stated(found)

    def _form(self, number: int, line: bytes, text: str, raw: str) -> list[Line]:
        """Forms of more than one line, then the others."""
        first = text[0]
        if first == ">" and (quoted := QUOTE.re.match(text)) and quoted["text"]:
            return self._form(number, line, quoted["text"], raw)
        if ";" in text and (match := RECORD.re.match(text) or self._stamped(text)):
            return self._kmsg.read(number, match, raw)
        if first == " ":
            if self._kmsg.open and _PROPERTY.match(text):
                return []
            if match := MEMBER.re.match(text):
                return self._dmesg.read(number, match, raw)
            if BRACKETS.re.match(text):
                return []
        self._kmsg.open = False
        found = self._kmsg.wait()
        if first == "{" and (wrapped := self._object(number, text, raw)) is not None:
            return found + wrapped
        if first == "*" and (match := DROPPED.re.match(text)):
            self._lost += int(match["lost"])
            text = match["text"]
            return found + (self._line(number, text, raw) if text else [])
        if first in "_MPS" and OPENING.re.match(text) and self._export.read(number, line, text, raw):
            return found
        return found + self._line(number, text, raw)

    @staticmethod
    def _stamped(text: str) -> re.Match[str] | None:
        """Find a record of /dev/kmsg behind the stamp of who received it."""
        stamp = STAMPED.re.match(text)
        return RECORD.re.match(text[stamp.end() :]) if stamp else None

    def _object(self, number: int, text: str, raw: str) -> list[Line] | None:
        """Read a journal's entry, or what a collector wrapped around a line; None: it is neither."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict):
            return None
        if "MESSAGE" in fields:
            found, missed = entry(fields, number, raw)
            self._lost += missed
            return found
        words = next((fields[name] for name in _WRAPPED if isinstance(fields.get(name), str)), None)
        if words is None:
            return None
        parts = [scrub(part) for part in words.rstrip("\n").split("\n")]
        return [row for part in parts if part.strip() for row in self._line(number, part, raw)]

    def _line(self, number: int, text: str, raw: str) -> list[Line]:
        """Forms of a single line, whose beginning tells which to try."""
        first = text[0]
        found = None
        if first in "[<":
            found = self._bracketed(number, text, raw)
        elif first.isspace():
            if " kernel" in text:
                found = self._dated(number, text.lstrip(), raw)
        elif first.isdecimal() or text[3:4] == " " or " kernel:" in text:
            found = self._dated(number, text, raw)
        elif first.islower() and (match := DECODED.re.match(text)) and match["text"]:
            return self._line(number, match["text"], raw)
        if found is not None:
            return found
        if ECHO.re.match(text):
            return []
        if "[" in text and (match := INSIDE.re.match(text)):
            return [Line(number, match["text"], float(match["time"]), match["caller"] or "", raw=raw)]
        return [Line(number, text, raw=raw)]

    def _bracketed(self, number: int, text: str, raw: str) -> list[Line] | None:
        """Forms that begin with ``[`` or ``<``."""
        if match := CONSOLE.re.match(text):
            time, caller, words = match.groups("")
            host = ""
            if " kernel" in words and (behind := MONOTONIC.re.match(words)):
                host, words = behind.groups()
            return [Line(number, words, float(time), caller, host, None, 0, raw)]
        if match := CTIME.re.match(text):
            return [Line(number, match["text"], None, match["caller"] or "", raw=raw)]
        if match := RFC5424.re.match(text):
            return self._syslog(number, match, raw) if match["program"] == "kernel" else []
        if (found := self._dated(number, text, raw)) is not None:
            return found
        if match := LEVEL.re.match(text):
            return [Line(number, match["text"], raw=raw)]
        return None

    def _dated(self, number: int, text: str, raw: str) -> list[Line] | None:
        """Forms that begin with a date."""
        if match := SYSLOG.re.match(text):
            return self._syslog(number, match, raw)
        if match := DMESG_ISO.re.match(text):
            return [Line(number, match["text"], None, match["caller"] or "", "", _epoch(match), 0, raw)]
        if match := LOGGER.re.match(text):
            return [Line(number, match["text"], raw=raw)]
        if match := CRI.re.match(text):
            return self._line(number, match["text"], raw)
        if (alone := STAMP_ALONE.re.match(text)) and (self._alone or alone["begins"]):
            self._alone = True
            return [Line(number, alone["text"], None, "", "", _epoch(alone), 0, raw)]
        if PROGRAM.re.match(text):
            missed = MISSED.re.match(text)
            self._lost += int(missed["lost"]) if missed else 0
            return []
        return None

    @staticmethod
    def _syslog(number: int, match: re.Match[str], raw: str) -> list[Line]:
        time, caller, host, text = match.group("time", "caller", "host", "text")
        parts = [text or ""]
        if "#01" in parts[0]:  # as rsyslog writes tab, newline and carriage return
            parts = _OCTAL.sub(lambda code: _CONTROLS[code[0]], text).split("\n")
        seconds, epoch = float(time) if time else None, _epoch(match)
        return [Line(number, part, seconds, caller or "", host or "", epoch, 0, raw) for part in parts]
