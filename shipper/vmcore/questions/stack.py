"""The stack that was full, or that the stack pointer had left: its task, and the frames that filled it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from drgn.helpers.linux.stack import StackKind, kernel_stack_trace

from kpanic.grammars.reading.evidence import listed
from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding, sentence
from kpanic.shipper.vmcore.dump import frame_words, task_words
from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.recursion import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drgn import Object, StackFrame

    from kpanic.shipper.vmcore.dump import Dump
    from kpanic.shipper.vmcore.recursion import Run

__all__ = ["NAME", "ask"]

NAME: Final = "stack"
LARGE: Final = 1024
"""Bytes from which on a frame is large; CONFIG_FRAME_WARN warns from 2048 (1024 on 32-bit machines)."""
SHOWN: Final = 8
"""Maximum large frames that are shown."""
END_MAGIC: Final = 0x57AC6E9D
"""``STACK_END_MAGIC`` (include/uapi/linux/magic.h)."""
_KINDS: Final = {
    StackKind.IRQ: "the stack of hardware interrupts",
    StackKind.SOFTIRQ: "the stack of software interrupts",
    StackKind.NMI: "the stack of NMIs",
    StackKind.EXCEPTION: "a stack of exceptions",
}


class _Bounds(NamedTuple):
    """The stack of a task."""

    task: Object
    bottom: int
    top: int
    page: int

    @property
    def size(self) -> int:
        return self.top - self.bottom

    @property
    def words(self) -> str:
        return f"the stack of {task_words(self.task)}"

    def holds(self, pointer: int) -> bool:
        """Tell whether a stack pointer is in it, or in the page below."""
        return self.bottom - self.page <= pointer <= self.top


def ask(dump: Dump) -> Answer:
    """Name the stack of the trap, the place of the stack pointer, and the frames that filled the stack."""
    stack = dump.crashed
    if stack.trap is None:
        return Answer(NAME, skipped="no frame of the crashed task was interrupted by a trap")
    frames = [frame for frame in stack.frames[stack.trap :] if not frame.is_inline]
    pointer = frames[0].sp
    bounds = next((one for one in _stacks(dump, stack.task) if one.holds(pointer)), None)
    if bounds is None:
        where = _other(stack.task, frames[0].pc)
        words = f"the stack pointer was 0x{pointer:x}, in {where or 'no stack of the kernel'}"
        own = _bounds(dump, stack.task)
        lines = (f"{own.words}: 0x{own.bottom:x} to 0x{own.top:x}", f"stack pointer: 0x{pointer:x}")
        verdict = "" if where else words
        return Answer(NAME, (Finding(sentence(words), lines),), verdict=verdict)
    findings = [_pointer(dump, bounds, pointer)]
    filled, full = _filled(frames, bounds)
    if filled:
        findings.append(filled)
    near = pointer - bounds.bottom < bounds.page // 8
    verdict = full if full and near and dump.cause != "stack-corruption" else ""
    return Answer(NAME, tuple(findings), verdict=verdict)


def _stacks(dump: Dump, first: Object) -> Iterator[_Bounds]:
    """Yield the stacks of all tasks, the crashed task's first."""
    yield _bounds(dump, first)
    for task in dump.tasks():
        try:
            yield _bounds(dump, task)
        except LOST:
            continue


def _bounds(dump: Dump, task: Object) -> _Bounds:
    bottom = task.stack.value_()
    prog = dump.prog
    return _Bounds(task, bottom, bottom + prog["THREAD_SIZE"].value_(), prog["PAGE_SIZE"].value_())


def _other(task: Object, pc: int) -> str:
    """Return in words the interrupt or exception stack that a frame is on; empty for a task's stack."""
    try:
        segments = kernel_stack_trace(task).segments
    except LOST:
        return ""
    kind = next((one.kind for one in segments if any(frame.pc == pc for frame in one)), None)
    return _KINDS.get(kind, "") if kind else ""


def _pointer(dump: Dump, bounds: _Bounds, pointer: int) -> Finding:
    """Describe the place of the stack pointer, and whether the mark at the stack's end was overwritten."""
    above = pointer - bounds.bottom
    words = f"{abs(above)} bytes {'above' if above > 0 else 'below'} the end of" if above else "at the end of"
    text = f"The stack pointer was {words} {bounds.words}, which has {bounds.size} bytes"
    mark = _mark(dump, bounds.task)
    if mark is not None and mark != END_MAGIC:
        text += "; the mark at the end (STACK_END_MAGIC) is overwritten"
    lines = (
        f"stack: 0x{bounds.bottom:x} to 0x{bounds.top:x}",
        f"stack pointer: 0x{pointer:x}",
        *(() if mark is None else (f"mark at the end: 0x{mark:x}",)),
    )
    return Finding(f"{text}.", lines)


def _mark(dump: Dump, task: Object) -> int | None:
    """Return the word at the end of a stack, after ``struct thread_info`` if that lies there."""
    try:
        inside = dump.prog.type("struct task_struct").has_member("thread_info")
        end = task.stack.value_() + (0 if inside else dump.prog.type("struct thread_info").size or 0)
        return int(dump.prog.read_word(end))
    except LOST:
        return None


def _filled(frames: Sequence[StackFrame], bounds: _Bounds) -> tuple[Finding | None, str]:
    """Name the functions that recursed, or the large frames; return the verdict too."""
    inside = [frame for frame in frames if bounds.holds(_sp(frame))]
    found = [run for run in runs([frame.name for frame in inside]) if run.rounds > 1]
    if found:
        deepest = max(found, key=lambda run: _size(inside, run, bounds))
        words = _recursed(inside, deepest, bounds)
        lines = tuple(f"{_recursed(inside, run, bounds)}: {_round(inside, run)}"[:LONGEST] for run in found)
        return Finding(f"{words}.", lines), words
    sizes = [(_sp(outer) - _sp(frame), frame) for frame, outer in itertools.pairwise(inside)]
    large = sorted((one for one in sizes if one[0] >= LARGE), key=lambda one: -one[0])[:SHOWN]
    if not large:
        return None, ""
    size, frame = large[0]
    words = f"the frame of {frame.name} takes {size} of the {bounds.size} bytes of {bounds.words}"
    lines = tuple(f"{size} bytes: {frame_words(frame)}"[:LONGEST] for size, frame in large)
    return Finding(sentence(words), lines), words


def _recursed(frames: Sequence[StackFrame], run: Run, bounds: _Bounds) -> str:
    names = [frame.name for frame in frames[run.start : run.start + run.period]]
    who = (
        f"{names[0]} called itself" if run.period == 1 else f"{listed(names[::-1])} called each other in turn"
    )
    size = _size(frames, run, bounds)
    return f"{who}, {run.rounds} times, and filled {size} of the {bounds.size} bytes of {bounds.words}"


def _round(frames: Sequence[StackFrame], run: Run) -> str:
    """Return one round of a recursion with its places, outer functions first."""
    once = reversed(frames[run.start : run.start + run.period])
    return " → ".join(map(frame_words, once))


def _size(frames: Sequence[StackFrame], run: Run, bounds: _Bounds) -> int:
    """Return the bytes of a stack that a recursion takes."""
    outer = _sp(frames[run.stop]) if run.stop < len(frames) else bounds.top
    return max(0, outer - max(_sp(frames[run.start]), bounds.bottom))


def _sp(frame: StackFrame) -> int:
    try:
        return int(frame.sp)
    except LookupError:
        return 0
