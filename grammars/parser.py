"""Groups lines into incidents by host and boot; the first report of an incident opens it."""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from msgspec import Struct, structs
from msgspec.structs import replace

from kpanic.grammars import faults, report
from kpanic.grammars import registry as registry_
from kpanic.grammars.above import REMEMBERED, adjoining, ends
from kpanic.grammars.ahead import read_ahead
from kpanic.grammars.boot import BANNER, KEPT, READERS, Boot, begins, note
from kpanic.grammars.fact import Fact
from kpanic.grammars.finder import finder
from kpanic.grammars.incident import HEADS, LINES, Head, Incident
from kpanic.grammars.lazy import regex
from kpanic.grammars.mend import mend
from kpanic.grammars.model import Line
from kpanic.grammars.reading import analyse
from kpanic.grammars.scan import BLOCK, Scanner
from kpanic.grammars.stream import Ended, Stream, over

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from kpanic.grammars.model import CrashReport
    from kpanic.grammars.registry import Registry
    from kpanic.grammars.transport import Transports

_HOST: Final = attrgetter("host")
_TRANSPORT: Final = attrgetter("transport")
ALL_LINES: Final = 48_000
"""Maximum lines of all open incidents; with more, the incidents that opened first are closed."""
ALL_CHARACTERS: Final = 8 << 20
"""Maximum characters of all open incidents and of the boots' lines."""
LOOK: Final = 4 * BLOCK
"""Maximum bytes of text with crashes between two checks of these limits."""
HOSTS: Final = 4096
"""Maximum hosts that are kept apart at once."""
CUT: Final = frozenset("[<")
"""Beginning of a line of the kernel."""
_REPEATED: Final = regex(r"---\[ end (?P<panic>Kernel panic - .+)")
"""The last line of panic(), which repeats its reason."""
_WHOLE: Final = regex(r"(?:<\d+>)?\[[ \d.]+\]").match


class Parser:
    """Reads a log piece by piece.

    Feed it chunks of bytes as they arrive; it returns the crashes that are complete. :meth:`close` returns
    the rest.
    """

    def __init__(self, registry: Registry | None = None, transports: Transports | None = None) -> None:
        """Use the installed families and transports, or those given."""
        self._registry = registry or registry_.default()
        self._finder = finder(self._registry, transports)
        self._scanner = Scanner(self._finder.search)
        self._streams: OrderedDict[str, Stream] = OrderedDict()
        self._now = 0.0
        self._taken = 0  # bytes
        self._last = Line(0, "")
        self._echoes: list[Line] = []  # finds lines that another transport repeats
        self._echoing = False
        self._reported = False

    def feed(self, chunk: bytes, now: float = 0.0, count: int | None = None) -> list[CrashReport]:
        """Read a chunk; return the crashes that ended in it.

        :param now: the caller's clock, in seconds, for :meth:`settle`.
        :param count: the number of line breaks in the chunk, if it is known.
        """
        self._now = now
        try:
            lines = self._scanner.feed(chunk, count)
        except Exception as error:  # noqa: BLE001 - it costs the chunk
            faults.note("scan", error)
            self._scanner = Scanner(self._finder.search)
            return []
        if not lines:
            return []
        found = self._take(lines)
        self._taken += len(chunk)
        if self._taken >= LOOK:
            self._taken = 0
            found += self._relieve()
        return found

    @property
    def open(self) -> bool:
        """Whether a crash is incomplete."""
        return any(stream.incident or stream.ended for stream in self._streams.values())

    @property
    def blank(self) -> bool:
        """Whether the parser keeps no boot and no crash, but only the last lines."""
        return not (self._streams or self._echoes or self._scanner.holds)

    def settle(self, last: float, last_head: float) -> list[CrashReport]:
        """Return the crashes of hosts that are quiet, while other hosts may continue.

        :param last: a crash is complete if its host added nothing to it since this moment.
        :param last_head: a crash is complete if no header arrived since this moment: a kernel that survived
            a report continues to print.
        """
        found: list[CrashReport] = []
        for stream in self._streams.values():
            incident = stream.incident or (stream.ended and stream.ended.incident)
            if incident and (incident.last <= last or incident.last_head <= last_head):
                found += self._finish(stream)
        return found

    def close(self) -> list[CrashReport]:
        """Return the open crashes; the parser is then as new."""
        found = self.flush()
        self._streams.clear()
        self._last = Line(0, "")
        self._echoing = self._reported = False
        return found

    def flush(self) -> list[CrashReport]:
        """Return the open crashes, as when the input is quiet; keep the boots."""
        found = self._take(faults.guarded("scan", self._scanner.close, []))
        self._last = structs.replace(self._last, number=0)  # the scanner counts from 1 again
        for stream in self._streams.values():
            found += self._finish(stream)
        echoes, self._echoes = self._echoes, []
        if echoes and not found and not self._reported:
            self._take_in(echoes, found)
            for stream in self._streams.values():
                found += self._finish(stream)
        self._reported = self._reported or bool(found)
        return found

    def _take(self, lines: Sequence[Line]) -> list[CrashReport]:
        if not lines:
            return []
        found: list[CrashReport] = []
        heard = faults.guarded("line", lambda: self._heard(self._attributed(lines)), lines)
        self._take_in(heard, found)
        self._reported = self._reported or bool(found)
        return found

    def _heard(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Return lines without those that another transport repeats, unless only the repetitions arrive."""
        echoing = self._finder.search.transports.echoes
        if not self._echoing and echoing.isdisjoint(map(_TRANSPORT, lines)):
            return lines
        heard = []
        for line in lines:
            self._echoing = line.transport in echoing or (
                self._echoing and not line.transport and bool(line.text.strip())
            )
            if not self._echoing:
                heard.append(line)
            elif len(self._echoes) < LINES:
                self._echoes.append(line)
        return heard

    def _take_in(self, lines: Sequence[Line], found: list[CrashReport]) -> None:
        try:
            hits = self._finder.find(lines)
        except Exception as error:  # noqa: BLE001 - a fault costs its line
            faults.note("line", error)
            if len(lines) > 1:
                for line in lines:
                    self._take_in([line], found)
            return
        at = 0
        for index in sorted(hits):
            self._between(lines[at:index], found)
            try:
                self._line(lines[index], hits[index], found)
            except Exception as error:  # noqa: BLE001 - a fault of a family costs the line
                faults.note("header", error)
            at = index + 1
        self._between(lines[at:], found)

    def _between(self, lines: Sequence[Line], found: list[CrashReport]) -> None:
        """Read lines without a literal."""
        if lines:
            try:
                self._follow(lines, found)
            except Exception as error:  # noqa: BLE001 - it costs these lines
                faults.note("line", error)

    def _attributed(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Assign lines without a prefix to the host of the line directly before them."""
        hosts = set(map(_HOST, lines))
        if len(hosts) > 1 or self._last.host:
            attributed = []
            for line in lines:
                last = self._last
                if not line.transport and not line.host and last.host and line.number <= last.number + 1:
                    line = structs.replace(line, host=last.host)  # noqa: PLW2901
                self._last = line
                attributed.append(line)
            return attributed
        self._last = lines[-1]
        return lines

    def _follow(self, lines: Sequence[Line], found: list[CrashReport]) -> None:
        """Read lines without a literal; most belong to one boot and to an open incident."""
        if len(set(map(_HOST, lines))) == 1:
            stream = self._stream(lines[0].host, found)
            times = [time for line in lines if (time := line.time) is not None]
            if stream.follows(times):
                stream.time = times[-1] if times else stream.time
                stream.previous = lines[-1].text
                if stream.incident is not None:
                    stream.incident.last = self._now
                    if stream.boot.core:
                        lines = [line for line in lines if line.transport]
                    stream.incident.extend(lines)
                else:
                    stream.recent.extend(lines[-REMEMBERED:])
                return
        for line in lines:
            try:
                self._line(line, (), found)
            except Exception as error:  # noqa: BLE001 - it costs the line
                faults.note("line", error)

    def _line(self, line: Line, numbers: Sequence[int], found: list[CrashReport]) -> None:
        """Read a line with the numbers of its literals."""
        stream = self._stream(line.host, found)
        if line.time is not None:
            if not stream.follows([line.time]):
                found += self._restart(stream, cut=_cut(line))
            stream.time = line.time
        previous, stream.previous = stream.previous, line.text
        families = self._facts(stream, line, previous, numbers, found)
        if stream.boot.core and not line.transport:
            return  # output of the crash utility
        if families:
            found += self._head(stream, line, families, previous)
        elif stream.incident is not None:
            stream.incident.last = self._now
            stream.incident.keep(line)
        else:
            stream.recent.append(line)

    def _relieve(self) -> list[CrashReport]:
        """Read the oldest incidents, and then forget hosts, if a limit is exceeded."""
        streams = self._streams
        lines, characters = self._kept()
        if lines <= ALL_LINES and characters <= ALL_CHARACTERS:
            return []
        for stream in streams.values():
            stream.recent.clear()
        lines, characters = self._kept()
        if lines <= ALL_LINES and characters <= ALL_CHARACTERS:
            return []
        found: list[CrashReport] = []
        while lines > ALL_LINES // 2 or characters > ALL_CHARACTERS // 2:
            _, stream = streams.popitem(last=False)
            kept = stream.kept()
            lines, characters = lines - kept[0], characters - kept[1]
            if stream.incident is not None:
                stream.incident.truncated = True
            found += self._finish(stream)
        return found

    def _kept(self) -> tuple[int, int]:
        """Return the number of lines and characters that are kept of all hosts."""
        kept = [stream.kept() for stream in self._streams.values()]
        return sum(lines for lines, _ in kept), sum(characters for _, characters in kept)

    def _facts(
        self, stream: Stream, line: Line, previous: str, numbers: Sequence[int], found: list[CrashReport]
    ) -> list[int]:
        """Read a line's facts about its boot; return the literals on it that may start a report."""
        families = self._finder.families
        for number in numbers:
            if number >= families:
                if READERS[number - families][0] == BANNER and begins(stream.boot, line, previous):
                    found += self._restart(stream, cut=_cut(line))
                note(stream.boot, line, number - families)
                if stream.ended is not None and stream.boot.kernel.command_line:
                    found += self._bury(stream)
        return [number for number in numbers if number < families]

    def _stream(self, host: str, found: list[CrashReport]) -> Stream:
        """Return the stream of a host; if there are too many, the one that was idle longest is dropped."""
        stream = self._streams.get(host)
        if stream is None:
            if len(self._streams) >= HOSTS:
                found += self._finish(self._streams.popitem(last=False)[1])
            stream = self._streams[host] = Stream()
        return stream

    def _head(self, stream: Stream, line: Line, numbers: Sequence[int], previous: str) -> list[CrashReport]:
        """Read a line on which a report may start."""
        text = line.text
        incident = stream.incident
        hits = self._finder.headers(text, numbers, previous)
        if not hits and incident is None and (repeated := _REPEATED.search(text)):
            text = repeated["panic"].removesuffix(" ]---")  # the panic's own line is missing
            line = structs.replace(line, text=text)
            hits = self._finder.headers(text, numbers, previous)
        if not hits or (incident is not None and all(family.inner for family, _ in hits)):
            if incident is not None:
                incident.keep(line)
            return []
        found: list[CrashReport] = []
        if incident is not None and incident.repeats(line):
            incident = stream.incident = self._opened(stream.boot, line, incident)
        elif (
            stream.ended is not None
            and incident is None
            and not stream.boot.kernel.banner
            and stream.ended.incident.repeats(line)
        ):
            copy, stream.ended = stream.ended.incident, None
            incident = stream.incident = self._opened(stream.boot, line, copy)
        elif incident is None or over(incident, line, hits[0][0], previous):
            found = self._finish(stream, more=True)
            incident = stream.incident = self._opened(stream.boot, line)
            if ends(line, hits[0][0]):
                incident.above = adjoining(stream.recent, line.number)
            stream.recent.clear()
        incident.last = incident.last_head = self._now
        incident.newest = line
        if incident.keep(line) and len(incident.heads) < HEADS:
            incident.heads.append(Head(len(incident.lines) - 1, hits))
        incident.fatal = incident.fatal or "kernel panic" in text.lower()
        return found

    @staticmethod
    def _opened(boot: Boot, line: Line, copy: Incident | None = None) -> Incident:
        """Return an incident that begins with a line."""
        boot.reported = True
        if not boot.kernel.banner:
            boot.timed = line.time is not None
        return Incident(
            trigger=boot.trigger,
            preceded_by=len(boot.preceded_by),
            copy=copy and replace(copy, copy=None),
        )

    def _finish(self, stream: Stream, *, more: bool = False) -> list[CrashReport]:
        """Read the incidents that are open.

        :param more: whether the boot continues with another incident, so that this one was not fatal.
        """
        found = self._bury(stream)
        incident, stream.incident = stream.incident, None
        died = stream.boot.core and not more
        if incident is not None and (crash := self._read(stream.boot, incident, died=died)) is not None:
            found.append(crash)
            if len(stream.boot.preceded_by) < KEPT:
                stream.boot.preceded_by.append(Fact("earlier", {"what": crash.title}, crash.lines[:1]))
        return found

    def _restart(self, stream: Stream, *, cut: bool = False) -> list[CrashReport]:
        """Begin another boot; the incident before it waits until the boot's kind is known."""
        found = self._bury(stream)
        if stream.incident is not None:
            stream.ended = Ended(stream.boot, stream.incident, cut)
        stream.boot, stream.incident = Boot(), None
        return found

    def _bury(self, stream: Stream) -> list[CrashReport]:
        """Read the incident of the previous boot: a crash kernel boots only after a fatal one."""
        if stream.ended is None:
            return []
        ended, stream.ended = stream.ended, None
        died = ended.cut or ended.boot.core or CRASH_KERNEL in stream.boot.kernel.command_line
        crash = self._read(ended.boot, ended.incident, died=died)
        if crash is None:
            return []
        return [crash]

    def _read(self, boot: Boot, incident: Incident, *, died: bool = False) -> CrashReport | None:
        """Read an incident with the lines that its boot printed before it."""
        if incident.copy is not None and len(incident.copy.lines) > len(incident.lines):
            incident = incident.copy
        known = replace(
            boot,
            trigger=incident.trigger,
            preceded_by=boot.preceded_by[: incident.preceded_by],
        )
        try:
            whole = self._mended(incident)
            crash = report.read(self._registry, known, whole)
            if crash is not None and whole is not incident:
                crash = structs.replace(crash, repaired=True)
        except Exception as error:  # noqa: BLE001 - a fault of a family; the other crashes are read
            faults.note("report", error)
            crash = report.unread(known, incident, error, fatal=incident.fatal)
        if crash is None:
            return None
        boot.hardware = boot.hardware or crash.hardware  # later reports of the boot need not repeat it
        if died and not crash.fatal:
            crash = structs.replace(crash, fatal=True)
        return _analysed(crash)

    def _mended(self, incident: Incident) -> Incident:
        """Return an incident with broken lines joined; the same object if no line was broken."""
        lines, above = mend(incident.lines), mend(incident.above)
        if lines is incident.lines:
            return incident if above is incident.above else replace(incident, above=tuple(above))
        heads = self._finder.heads(lines)
        return replace(incident, lines=list(lines), heads=heads, above=tuple(above)) if heads else incident


def _cut(line: Line) -> bool:
    """Tell whether a line begins in the middle of another kernel line."""
    return line.raw[:1] in CUT and not _WHOLE(line.raw) and "[" in line.raw[1:]


def died(report: CrashReport) -> CrashReport:
    """Return the report as a fatal one, which its place in a kdump folder proves."""
    return report if report.fatal else _analysed(structs.replace(report, fatal=True))


def renumbered(report: CrashReport, number: Callable[[int], int]) -> CrashReport:
    """Return the report and its analysis with other line numbers.

    :param number: returns the new number of a line.
    """
    moved: CrashReport = _moved(report, number, {})
    return _analysed(moved) if report.analysis is not None else moved


def _moved(value: Any, number: Callable[[int], int], lines: dict[int, Line]) -> Any:  # noqa: ANN401 - a part of a report
    """Return a value with other numbers for all lines in it.

    :param lines: the new lines by the identity of the old ones, so that two references to a line stay two.
    """
    if isinstance(value, Line):
        if id(value) not in lines:
            lines[id(value)] = structs.replace(value, number=number(value.number))
        return lines[id(value)]
    if isinstance(value, Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        moved = {name: _moved(field, number, lines) for name, field in fields.items()}
        changed = {name: field for name, field in moved.items() if field is not fields[name]}
        return structs.replace(value, **changed) if changed else value
    if isinstance(value, tuple):
        parts = [_moved(part, number, lines) for part in value]
        if all(map(is_, parts, value)):
            return value
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    if isinstance(value, list):
        return [_moved(part, number, lines) for part in value]
    if isinstance(value, dict):
        return {key: _moved(part, number, lines) for key, part in value.items()}
    return value


def _analysed(crash: CrashReport) -> CrashReport:
    """Return a crash with its reading, or without it if a step fails."""
    try:
        return structs.replace(crash, analysis=analyse(crash))
    except Exception as error:  # noqa: BLE001 - whatever hostile text provokes
        faults.note("reading", error)
        return structs.replace(
            crash, status="corrupted", doubt=report.fault_of(error), signature=None, analysis=None
        )


CRASH_KERNEL: Final = "elfcorehdr="
"""The parameter that kexec passes to a crash kernel: the place of the crashed kernel's memory."""
CHUNK: Final = BLOCK
"""Bytes read at once."""


def parse(
    source: str | bytes | BinaryIO | Iterable[bytes], *, ahead: bool = False
) -> Generator[CrashReport, None, None]:
    """Read a log and yield its crashes in order.

    No text raises an error. An error of the source is raised after the crashes before it.

    :param source: text, bytes, a binary stream or chunks of bytes.
    :param ahead: whether another thread may read the source, which is faster if it never waits.
    """
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogateescape")
    chunks: Iterable[bytes]
    if isinstance(source, bytes):
        chunks = (source[at : at + CHUNK] for at in range(0, len(source), CHUNK))
    elif hasattr(source, "read"):
        chunks = iter(functools.partial(source.read, CHUNK), b"")
    else:
        chunks = source
    parser = Parser()
    try:
        for chunk, count in read_ahead(chunks, CHUNK) if ahead else ((chunk, None) for chunk in chunks):
            yield from parser.feed(chunk, count=count)
        yield from parser.close()
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException:  # of the source, or an interruption: open crashes come before it
        yield from parser.settle(math.inf, math.inf)
        raise
