"""Joins lines that a transport broke.

A mail program breaks a line at a space before it gets too wide, a terminal at its edge, quoted-printable with
a ``=``. The text after the break has no time stamp, although the kernel's lines have one::

    [95480.028591] CPU: 37 PID: 4425 Comm: kworker/u98:1 Kdump: loaded Not
    tainted 4.18.0-193.14.2.el8_2.x86_64 #1

Three signs show that a line continues the one before: all lines of the incident fit the width of the break,
the first line stops where no line of the kernel does, and the second begins as no line does. Output of
programs between the kernel's lines fits no width.
"""

from __future__ import annotations

import quopri
from collections import Counter
from operator import ge
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.unfold import unfold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpanic.grammars.model import Line

__all__ = ["mend"]

NARROW, WIDE = 54, 140
"""Widths, in characters, at which mail programs and terminals break lines."""
MAIL: Final = 60
"""The minimum width if no line of the text has a stamp."""
MANY: Final = 3
"""Minimum pairs that were broken at the same width."""
MOST: Final = 0.6
"""Minimum share of the pairs that fit this width."""
TURNED: Final = 4
"""Minimum lines with a stamp that show that the newest line is first."""
MARKED: Final = 0.8
"""Minimum share of the lines that begin with a mark, if the mark is not the kernel's."""
LOOK: Final = 256
"""Maximum characters that are examined at the beginning and the end of a line."""
ENOUGH: Final = 2
"""Minimum points of a line that continues the one before."""
LONGEST: Final = 4096
"""Maximum characters of a joined line."""
PIECES: Final = 64
"""Maximum lines that are joined into one; a list of modules or registers takes a few."""


def _words(*alternatives: str) -> str:
    return "(?:" + "|".join(alternatives) + ")"


_OPEN: Final = regex(
    _words(
        r"[,(\[<=/+-]",
        r"\b[A-Z][A-Z\d_]+:",  # a register without its value
        r"\b(?:Tainted|Comm|Kdump):",
        r"\b[Nn]ot",
        r"\bat:",  # a lock is taken in a function
        r"\b(?:at|in|for|from|of|to|by|on|with|without|is|and|or|the|an?|than|more|set|last)",
        r"\b(?:unable|handle(?: kernel| page)?|virtual|NULL|pointer|paging|address|addr|probably)",
        r"\bTainted:[ A-Z]*",
        r"\b(?:CPU|PID|UID|BIOS)",
    )
    + "$"
)
"""Ends of incomplete lines, with which no line of the kernel ends."""
_CLOSED: Final = regex(
    _words(
        "Call [Tt]race:",
        "</?[A-Z]+>",
        r"\]-+",
        r"\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[\S+\])?",
        r"\bcut here.*",
        r"\.[chS]:\d+(?: \[inline\])?",  # a frame with its source line
        r"\.\.\.",
        r"[a-z]{4}\.",
        r"#\d+",
    )
    + "$"
)
"""Ends of complete lines."""
_ADDRESSES: Final = regex(r"\s*(?>(?:[({]?\[?<?(?:0x)?[0-9a-f]{8,16}>?\]?[)}]?:?\s*+)+)(?:[?(]|from)?\s*$")
"""A frame without its symbol."""
_SYMBOL: Final = regex(r"\s*\(?[A-Za-z_][\w.$]*\+0x")
_DUMP: Final = regex(r"\s*(?:[0-9a-f]{2} ){8}[0-9a-f ]{0,64} {2}\S{1,32}$")
"""A line of a dump of memory, with its characters."""
_LIST: Final = regex(r"\s*(?:Modules linked in:|Code: |Instruction dump:)")
"""A line with a list of any number of words."""
_TAIL: Final = regex(
    _words(
        r"(?:Not )?tainted\b",
        r"loaded\b",
        r"pointer\b",
        r"dereference\b",
        r"address ",
        r"\+?0x[0-9a-f]+",
        r"[0-9a-f]{8,16}\b(?! [a-zA-Z]+\+0x)",
        r"\(?[0-9a-f]{8}\)? [0-9a-f]{8}",
        r"(?:[0-9a-f]{2} ){3}",
        r"<[0-9a-f]{2,8}>",
        r"#\d",
        r"\d+\.\d+\.\d\S*",  # a release
        r"\d\d/\d\d/\d{4}$",  # of a BIOS
        r"[\w./-]{1,200}\.[chS]:\d+",  # a source line
        r"[a-z_]\w*[\])>]",
        r"\[[\w:./-]+\]$",  # a module, or a task with its number
        r"\S+\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\]$",
        r"(?:BIOS|S?MP|PREEMPT|R?IP|E?FLAGS:|ORIG_RAX:|CR\d:) ?",
        r"\(?[A-Z]{2,}[)\]]",
    )
)
"""Beginnings of lines that continue another line."""
_OWN: Final = regex(
    r"\s*+"
    + _words(
        r"CPU:? ?\d",
        r"P[Ii][Dd]: ",
        r"Process \w",
        r"task:",
        "Hardware name",
        "Modules linked",
        "Call [Tt]race",
        "(?:Krnl )?Code: ",
        r"---[\[-]",
        "={4,}",
        "</?[A-Z#]+>",
        "<[0-7]>",
        "Oops|Internal error|BUG: |WARNING: |INFO: |[kK]ernel (?:panic|BUG)",
        "invalid opcode|general protection",
        "Un(?:able to )?handled? ",
        r"P[GU]D |pgd = |\[[0-9a-f]{8,16}\] [*p]|#PF: |Mem abort|Data abort|ESR = ",
        r"(?:[A-Z]{2,4}\d{0,2}|R\d\d|GPR\d\d) ?: ?\S",  # registers
        r"(?:[A-Za-z]{2,4}\d?|[xr]\d{1,2}|epc|status|cause|badaddr|pstate) ?\s*: ",
        "(?:PC|LR) is at|Krnl |Stack:|Backtrace|Exception stack|Last Breaking",
        "Entering k|cpu 0x|crash>|Rebooting|Kernel Offset|Sending NMI|NMI backtrace",
        "rcu: |note: |Disabling|Showing all",
        r"\[?<?[0-9a-f]{8,16}>?\]? ?[\w(\[<]",
        r"\[<?\(ptrval",
        r"\??\s*[A-Za-z_][\w.$]*\+0x[0-9a-f]+/0x[0-9a-f]+",
        "Allocated by|Freed by|The buggy|(?:Read|Write) of size|Memory state|(?:page|raw|head|flags): ",
        r">?[0-9a-f]{4,16}: |comm \"|hex dump|backtrace",
    )
)
"""Beginnings of lines of a report."""
_PROGRAM: Final = regex(
    r"\s*"
    + _words(
        r"[\w./-]{1,64}\[\d{1,9}\]: ",
        r"\w{1,64} login:",
        r"[\w.-]{1,64}@[\w.-]{1,64}[:~][^\n]{0,128}[$#]",
        "[$#+] |== ",
        r"\d{4}[-/]\d\d[-/]\d\d",
        r"\d\d:\d\d:\d\d",
        r"\[ *(?:OK|FAILED|\*+|DEPEND)",
        "Start(?:ing|ed) |Stopp|Mounting |executing program|Test |Message from syslogd",
    )
)
"""Beginnings of lines of programs."""
_MARK: Final = regex(r"\s{0,32}(?:\d{1,7}[:.|]?|[|#;*+-])\s")
_PAGED: Final = regex(r"(?:^|\s)[^\s<>]{1,128}>$")
_SOFT: Final = regex(r"[^=]=$")
_ESCAPED: Final = regex(r"=(?:3D|20|09|5B|E2=80|C2=A0)")
_MODULE: Final = regex(r"\s*\[[\w-]+\]\s*$")
_MACHINE: Final = regex(r"BIOS|\((?:DT|LPAR|KVM/Linux|z/VM [\d.]+)\)")
"""Ends of machines' names (drivers/firmware/dmi_scan.c, arch/arm64, arch/s390/kernel/early.c)."""
_HYPHEN: Final = regex(r"\w[-/]$")
"""Ends of lines that were broken inside a word, after a hyphen or a slash."""
_HALF: Final = regex(r"\s*(?P<time>\d{1,7}\.\d{6})\](?:\[ *(?P<caller>[TC]\d{1,9})\])? ?")
"""Text after a stamp's bracket that ends the line before."""


class _Pair(Struct, frozen=True):
    """A line, and the next one, which may continue it."""

    at: int
    """Index of the second line."""
    length: int
    """Number of characters of the first line, as in the input."""
    word: int
    """Number of characters of the second line's first word, with the space at the break."""


def mend(lines: Sequence[Line]) -> Sequence[Line]:
    """Return lines with broken ones joined; the same lines if none was broken."""
    lines = unfold(_uncut(_in_order(lines)))
    bare = _bare(lines)
    if not bare:
        return lines
    lines = _unmarked(lines, bare)
    if (whole := _stamped(lines, bare)) is not lines:
        lines, bare = whole, _bare(whole)
    if broken := _broken_softly(lines, bare):
        lines = _softened(lines, broken)
        bare = _bare(lines)
    stamped = len(bare) < len(lines)
    pairs = list(_pairs(lines, bare, stamped=stamped))
    tails = _Breaks(lines, pairs, stamped=stamped).tails if pairs else {}
    if not tails:
        return lines
    joined: list[Line] = []
    count = 0
    for index, line in enumerate(lines):
        glue = tails.get(index)
        if glue is None or not joined or count >= PIECES or len(joined[-1].text) > LONGEST:
            joined.append(line)
            count = 0
            continue
        count += 1
        joined[-1] = _join(joined[-1], line, glue)
    return joined


def _in_order(lines: Sequence[Line]) -> Sequence[Line]:
    """Reverse lines that a log store exported with the newest first."""
    times = [line.epoch if line.time is None else line.time for line in lines]
    known = [time for time in times if time is not None]
    turned = len(known) >= TURNED and known[0] > known[-1] and all(map(ge, known, known[1:]))
    return lines[::-1] if turned else lines


def _stamped(lines: Sequence[Line], bare: Sequence[int]) -> Sequence[Line]:
    """Join stamps that were broken after their bracket."""
    broken = [index for index in bare if index and lines[index - 1].text[-1:] == "["]
    if not broken:
        return lines
    found = list(lines)
    for index in broken:
        if half := _HALF.match(found[index].text):
            found[index - 1] = structs.replace(found[index - 1], text=found[index - 1].text[:-1].rstrip())
            found[index] = structs.replace(
                found[index],
                text=found[index].text[half.end() :],
                time=float(half["time"]),
                caller=half["caller"] or "",
                transport="inside",
            )
    return found


def _uncut(lines: Sequence[Line]) -> Sequence[Line]:
    """Remove words that a pager cut at the terminal's edge, which it marks by a ``>``."""
    raw = [line.raw for line in lines]
    if ">\n" not in "\n".join(raw):
        return lines
    cut = [index for index, text in enumerate(raw) if text[-1:] == ">" and _PAGED.search(text[-LOOK:])]
    widths = {len(raw[index]) for index in cut}
    if len(cut) < ENOUGH or len(widths) > 1 or max(map(len, raw)) not in widths:
        return lines
    found = list(lines)
    for index in cut:
        found[index] = structs.replace(found[index], text=_PAGED.sub("", found[index].text).rstrip())
    return found


def _bare(lines: Sequence[Line]) -> list[int]:
    """Return the indexes of the lines without a transport's prefix."""
    return [index for index, line in enumerate(lines) if not line.transport]


def _unmarked(lines: Sequence[Line], bare: Sequence[int]) -> Sequence[Line]:
    """Remove the mark or the number before each line, and so before each continuation."""
    marked = sum(_MARK.match(line.raw) is not None for line in lines[: 2 * LOOK])
    if marked < MARKED * len(lines[: 2 * LOOK]):
        return lines
    found = list(lines)
    for index in bare:
        if match := _MARK.match(found[index].text):
            found[index] = structs.replace(found[index], text=found[index].text[match.end() :])
    return found


def _join(first: Line, second: Line, glue: str) -> Line:
    text = first.text + second.text if not glue else f"{first.text.rstrip()}{glue}{second.text.strip()}"
    return structs.replace(first, text=text, raw=f"{first.raw}\n{second.raw}", lost=first.lost + second.lost)


def _broken_softly(lines: Sequence[Line], bare: Sequence[int]) -> set[int]:
    """Return the indexes of lines that end in the soft line break of quoted-printable (RFC 2045, 6.7)."""
    soft = {index - 1 for index in bare if index and _SOFT.search(lines[index - 1].text[-2:])}
    if not soft:
        return soft
    quoted = any(_ESCAPED.search(line.text) for line in lines)
    return soft if quoted or any(len(lines[index].raw.lstrip("> ")) >= NARROW for index in soft) else set()


def _softened(lines: Sequence[Line], broken: set[int]) -> list[Line]:
    """Join at the soft line breaks, and decode the bytes that are written as ``=3D``."""
    joined: list[Line] = []
    count = 0
    for index, line in enumerate(lines):
        if index - 1 in broken and joined and count < PIECES:
            last = joined[-1]
            joined[-1] = _join(structs.replace(last, text=last.text[:-1]), line, "")
            count += 1
        else:
            joined.append(line)
            count = 0
    return [
        structs.replace(
            line, text=quopri.decodestring(line.text.encode()).decode("utf-8", "replace").replace("\n", "")
        )
        if "=" in line.text and _ESCAPED.search(line.text)
        else line
        for line in joined
    ]


def _pairs(lines: Sequence[Line], bare: Sequence[int], *, stamped: bool) -> Iterator[_Pair]:
    """Yield the pairs of lines in which the second may continue the first."""
    plain = [text for index in bare if (text := lines[index].text).strip()]
    margin = min((len(text) - len(text.lstrip()) for text in plain), default=0)
    for index in bare:
        line, following = lines[index - 1], lines[index]
        text = following.text
        if not index or not text.strip() or following.number != line.number + 1 + line.raw.count("\n"):
            continue
        if stamped and not line.transport and not line.text.strip():
            continue  # a blank line separates texts
        whole = index - 1  # the first record on a line has the whole line as its original
        while whole and lines[whole - 1].number == line.number:
            whole -= 1
        length = len(lines[whole].raw.rstrip().rpartition("\n")[2])
        indent = len(text) - len(text.lstrip()) - margin
        word = max(indent, 1) + len(text.split(maxsplit=1)[0])
        yield _Pair(index, length, word)


class _Breaks:
    """Finds the breaks pair by pair, from the first line on."""

    def __init__(self, lines: Sequence[Line], pairs: Sequence[_Pair], *, stamped: bool) -> None:
        self._lines = lines
        self._stamped = stamped
        if stamped:
            candidates = [pair for pair in pairs if not self._separate(pair)]
            self._width, fits = _width(candidates)
        else:  # any line may continue another one: the widest line shows the width of the break
            widest = max(len(line.raw.rstrip()) for line in lines)
            self._width = widest if MAIL <= widest <= WIDE else 0
            pairs = [pair for pair in pairs if pair.length <= self._width < pair.length + pair.word]
            candidates = [pair for pair in pairs if not self._separate(pair)]
            fits = len(candidates)
        self._worth = 1 + (fits >= MANY and fits >= MOST * len(candidates)) + (fits == len(candidates) > 1)
        """Points for a pair that fits the width."""
        self._mixed = len(candidates) >= MANY and fits < MOST * len(candidates)
        """Whether lines of other programs are between the kernel's."""
        self._hard = _hard(lines, [pair for pair in candidates if self._spills(pair)])
        self._listed = False
        """Whether the last line is part of a list of words."""
        self.tails: dict[int, str] = {}
        """Indexes of the lines that continue the one before, with the text that joins them."""
        for pair in pairs:
            if pair.at - 1 not in self.tails:
                self._listed = _LIST.match(lines[pair.at - 1].text) is not None
            if self._hard and pair.length == self._hard and self._spills(pair):
                self.tails[pair.at] = ""
            elif self._points(pair) >= ENOUGH:
                self.tails[pair.at] = "" if self._hyphenated(pair) else " "

    def _texts(self, pair: _Pair) -> tuple[str, str]:
        """Return the end of the first line and the beginning of the second."""
        return self._lines[pair.at - 1].text[-LOOK:].rstrip(), self._lines[pair.at].text[:LOOK]

    def _spills(self, pair: _Pair) -> bool:
        """Tell whether a terminal may have broken the pair, which it does inside words."""
        first, second = self._texts(pair)
        return not second[0].isspace() and any(map(str.isalnum, first)) and not _own(first, second)

    def _unnamed(self, pair: _Pair) -> bool:
        """Tell whether the first line names a machine without the end of the name, which must follow."""
        first = self._lines[pair.at - 1].text
        soon = self._lines[pair.at : pair.at + 2]
        return (
            first.lstrip().startswith("Hardware name: ")
            and not _MACHINE.search(first)
            and any(_MACHINE.search(line.text) for line in soon if not line.transport)
        )

    def _hyphenated(self, pair: _Pair) -> bool:
        """Tell whether the pair is one word that was broken after a hyphen."""
        first, second = self._texts(pair)
        return second[0].isalnum() and _HYPHEN.search(first) is not None

    def _separate(self, pair: _Pair) -> bool:
        """Tell whether the second line is no continuation at any width."""
        first, second = self._texts(pair)
        if _PROGRAM.match(second):
            return True
        if not first.strip() or _goes_on(first, second):
            return False
        if (_CLOSED.search(first) and not _MODULE.match(second)) or _DUMP.match(first):
            return True
        return not self._stamped and (not any(map(str.isalnum, first)) or _own(first, second))

    def _points(self, pair: _Pair) -> int:
        """Return the points for the second line as a continuation of the first."""
        before, second = self._texts(pair)
        first, behind = self._lines[pair.at - 1], second.lstrip()
        if (self._stamped and not first.transport and pair.at - 1 not in self.tails) or self._separate(pair):
            return 0
        if (self._stamped and (not before or self._unnamed(pair))) or _goes_on(before, behind):
            return ENOUGH
        points = 0
        if pair.length <= self._width < pair.length + pair.word:
            points += self._worth
        elif not self._stamped:
            return 0
        if self._listed or _OPEN.search(before) or _unbalanced(first.text):
            points += 1 + (not self._stamped or pair.length >= NARROW)
        points += _TAIL.match(behind) is not None
        if self._stamped:
            points += first.raw.endswith(" ") - _own(before, second) - self._mixed
            points += (ENOUGH + 1) * (pair.at - 1 in self.tails)  # a line that was broken twice
        return points


def _width(pairs: Sequence[_Pair]) -> tuple[int, int]:
    """Return the width at which most pairs were possibly broken, and their number."""
    fits: Counter[int] = Counter()
    for pair in pairs:
        for width in range(max(pair.length, NARROW), min(pair.length + pair.word - 1, WIDE) + 1):
            fits[width] += 1
    return max(fits.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))


def _hard(lines: Sequence[Line], pairs: Sequence[_Pair]) -> int:
    """Return the width of a terminal that broke the lines at its edge; 0 without one."""
    lengths = Counter(pair.length for pair in pairs)
    if not lengths:
        return 0
    width, count = max(lengths.items(), key=lambda item: (item[1], item[0]))
    widest = max(len(line.raw.rstrip("\r")) for line in lines)
    return width if count >= MANY and NARROW <= width == widest and count >= MOST * len(pairs) else 0


def _goes_on(first: str, second: str) -> bool:
    """Tell whether the second line begins with the symbol that the first one announces."""
    return _SYMBOL.match(second) is not None and (
        _ADDRESSES.match(first) is not None or first.endswith(" at:")
    )


def _own(first: str, second: str) -> bool:
    """Tell whether the second line begins as a line of a report does."""
    return _OWN.match(second) is not None and not (_OPEN.search(first) and _TAIL.match(second.lstrip()))


def _unbalanced(text: str) -> bool:
    """Tell whether a bracket is open at the end of a line."""
    return any(text.count(opening) > text.count(closing) for opening, closing in ("()", "[]", "<>"))
