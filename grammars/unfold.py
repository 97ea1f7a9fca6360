"""Separates lines that a web page folded into one.

A page that shows a mail as one paragraph replaces each line break by a blank, so that one line holds the
whole report::

    we hit this: <1>BUG: unable to handle … at 0000000b <1>IP: [<ffffffff812a588f>] f+0x13/0x34 <4>PGD 0

Long lines of the kernel are lists of modules, registers or bytes of code. A line with several of the lines of
an oops is a folded one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpanic.grammars.model import Line

__all__ = ["unfold"]

LONG: Final = 400
"""Minimum characters of a folded line."""
TRACE: Final = "Call Trace:"
CODE: Final = " Code: "
MARKS: Final = (TRACE, CODE, "Modules linked in:", "Oops: ", "comm: ", "Comm: ", " RSP: ", " EFLAGS: ")
"""Text of most oopses, of which a line has at most one."""
ENOUGH: Final = 3
"""Minimum number of such texts on a folded line."""
_START: Final = regex(
    r"(?<= )(?:<[0-7]>|(?:BUG: u|U)nable to handle |general protection fault: "
    r"|Oops: [0-9a-f]{4} |R?IP: (?:\[<|[0-9a-f]{4}:)|PGD [0-9a-f]|\*pdp?[te] = |CPU:? \d"
    r"|[Pp][Ii][Dd]: \d{1,9}, comm|Modules linked in:|Hardware name: |EIP: [0-9a-f]{4}:|EIP is at "
    r"|(?<=\] )EFLAGS: |RSP: [0-9a-f]{4}:|ds: |(?:[ER](?:AX|DX|BP|SI)|eax|ebp|esi): [0-9a-f]"
    r"|R(?:08|10|13): [0-9a-f]|FS: |CS: |DS: [0-9a-f]{4} ES"
    r"|CR2: |DR[03]: |Process \S{1,16} \(pid: |Stack: |Call Trace:|Code: |---\[ |Kernel panic - )"
)
"""Beginnings of lines of an x86 oops."""
_FRAME: Final = regex(
    r"(?<= )(?:</?[A-Z]{2,8}> {1,2})?(?:\[<[0-9a-f]{8,16}>\] )?(?:\? )?"
    r"[A-Za-z_][\w.]{0,64}\+0x[0-9a-f]{1,6}/0x"
)
_LEVEL: Final = regex(r"<[0-7]> ?")


def _starts(text: str) -> Iterator[int]:
    """Yield the beginnings of the lines in a folded line."""
    yield 0
    for found in _START.finditer(text):
        yield found.start()
    if (trace := text.find(TRACE)) >= 0:
        end = text.find(CODE, trace)
        for found in _FRAME.finditer(text, trace, end if end >= 0 else len(text)):
            yield found.start()


def _parts(line: Line) -> Iterator[Line]:
    """Yield the lines in a folded line."""
    text = line.text
    starts = sorted(set(_starts(text)))
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True)):
        part = text[start:end].rstrip()
        level = _LEVEL.match(part)
        part = part[level.end() :] if level else part
        yield structs.replace(
            line, text=part, raw=line.raw if not number else part, lost=line.lost if not number else 0
        )


def unfold(lines: Sequence[Line]) -> Sequence[Line]:
    """Return lines with folded ones separated; the same lines if there are none."""
    if not lines or not _folded(lines[0].text):  # the header is on this line
        return lines
    return [part for line in lines for part in (_parts(line) if _folded(line.text) else (line,))]


def _folded(text: str) -> bool:
    return len(text) > LONG and sum(mark in text for mark in MARKS) >= ENOUGH
