"""Separates lines that a page folded into one.

A page that shows a mail as one paragraph replaces each line break by a blank, so that one line holds the
whole report::

    we hit this: <1>BUG: unable to handle … at 0000000b <1>IP: [<ffffffff812a588f>] f+0x13/0x34 <4>PGD 0

A line of the kernel that long is a list of modules, registers or bytes of code. One that holds several of the
lines that each oops has is many lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpanic.grammars.model import Line

__all__ = ["unfold"]

LONG: Final = 400
"""Characters of a line that may be several."""
TRACE: Final = "Call Trace:"
CODE: Final = " Code: "
MARKS: Final = (TRACE, CODE, "Modules linked in:", "Oops: ", "comm: ", "Comm: ", " RSP: ", " EFLAGS: ")
"""What stands in most oopses, hardly two of them on one line."""
ENOUGH: Final = 3
"""Marks that do not stand on one line by chance."""
_START: Final = regex(
    r"(?<= )(?:<[0-7]>|(?:BUG: u|U)nable to handle |general protection fault: "
    r"|Oops: [0-9a-f]{4} |R?IP: (?:\[<|[0-9a-f]{4}:)|PGD [0-9a-f]|\*pdp?[te] = |CPU:? \d"
    r"|[Pp][Ii][Dd]: \d{1,9}, comm|Modules linked in:|Hardware name: |EIP: [0-9a-f]{4}:|EIP is at "
    r"|(?<=\] )EFLAGS: |RSP: [0-9a-f]{4}:|ds: |(?:[ER](?:AX|DX|BP|SI)|eax|ebp|esi): [0-9a-f]"
    r"|R(?:08|10|13): [0-9a-f]|FS: |CS: |DS: [0-9a-f]{4} ES"
    r"|CR2: |DR[03]: |Process \S{1,16} \(pid: |Stack: |Call Trace:|Code: |---\[ |Kernel panic - )"
)
"""How a line of an x86 oops begins."""
_FRAME: Final = regex(
    r"(?<= )(?:</?[A-Z]{2,8}> {1,2})?(?:\[<[0-9a-f]{8,16}>\] )?(?:\? )?"
    r"[A-Za-z_][\w.]{0,64}\+0x[0-9a-f]{1,6}/0x"
)
_LEVEL: Final = regex(r"<[0-7]> ?")


def _starts(text: str) -> Iterator[int]:
    """Yield where the lines begin that a line holds."""
    yield 0
    for found in _START.finditer(text):
        yield found.start()
    if (trace := text.find(TRACE)) >= 0:
        end = text.find(CODE, trace)
        for found in _FRAME.finditer(text, trace, end if end >= 0 else len(text)):
            yield found.start()


def _parts(line: Line) -> Iterator[Line]:
    """Yield the lines that a line holds."""
    text = line.text
    starts = sorted(set(_starts(text)))
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True)):
        part = text[start:end].rstrip()
        level = _LEVEL.match(part)
        part = part[level.end() :] if level else part
        yield line._replace(
            text=part, raw=line.raw if not number else part, lost=line.lost if not number else 0
        )


def unfold(lines: Sequence[Line]) -> Sequence[Line]:
    """Return lines that were folded into one as many; the same lines where none was."""
    if not lines or not _folded(lines[0].text):  # its header is on it
        return lines
    return [part for line in lines for part in (_parts(line) if _folded(line.text) else (line,))]


def _folded(text: str) -> bool:
    return len(text) > LONG and sum(mark in text for mark in MARKS) >= ENOUGH
