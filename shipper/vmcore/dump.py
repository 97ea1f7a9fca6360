"""An open dump: drgn's program, and the helpers that all questions use."""

from __future__ import annotations

import contextlib
import functools
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from drgn import Object, Program, TypeKind, sizeof
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import cpu_curr, task_state_to_char

from kpanic.grammars.data.helper_files import RULES
from kpanic.grammars.suspect import passed_over
from kpanic.shipper.vmcore.answers import LONGEST
from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.recursion import runs
from kpanic.shipper.vmcore.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drgn import StackFrame, Type

__all__ = [
    "Dump",
    "Stack",
    "address_words",
    "bare",
    "comm",
    "frame_lines",
    "frame_place",
    "frame_source",
    "frame_words",
    "member_at",
    "pointed",
    "pointers",
    "size_of",
    "slab_flag",
    "task_words",
    "trapping",
    "variable",
    "where",
]

FRAMES: Final = 40
"""Maximum frames of a stack that are shown."""
DEEPEST: Final = 1024
"""Maximum frames of a stack that are read; a damaged one may loop."""
PANICS: Final = ("panic", "vpanic", "crash_kexec", "__crash_kexec", "machine_kexec", "crash_setup_regs")
"""Beginnings of the names of functions that end a kernel (kernel/panic.c, kernel/kexec_core.c)."""
CHECKS: Final = ("__stack_chk_fail", "warn_slowpath_")
"""Beginnings of the names of other functions that report who called them (kernel/panic.c)."""
_SANITIZER, _PANIC, _WATCHDOG, _EXCEPTION = (
    next(rule.reason for rule in RULES if rule.name == name)
    for name in ("sanitizer", "panic", "watchdog", "traps")
)
_REPORTS: Final = frozenset({_SANITIZER, _PANIC, _WATCHDOG})
TASKS: Final = 100_000
"""Maximum tasks that are examined."""


class Stack(NamedTuple):
    """The frames of a task, innermost first.

    :ivar trap: number of the frame that was interrupted by the trap, or that a check such as KASAN's found
        fault with; None where there is none.
    """

    task: Object
    frames: Sequence[StackFrame]
    trap: int | None

    @property
    def trapped(self) -> Sequence[StackFrame]:
        """The trapping frame with the functions that are inlined in it, innermost first."""
        if self.trap is None:
            return ()
        pc = self.frames[self.trap].pc
        found = []
        for frame in self.frames[self.trap :]:
            if frame.pc != pc:
                break
            found.append(frame)
        return found

    @property
    def callers(self) -> Sequence[StackFrame]:
        """The frames that called the trapping one, innermost first."""
        return () if self.trap is None else self.frames[self.trap + len(self.trapped) :]


class Dump:
    """A dump with its debug information.

    :param address: the faulting address, if the report names one.
    :param entries: addresses in the kernel's message about a damaged list.
    :param folders: folders to search for sources before the system's own.
    """

    def __init__(
        self,
        prog: Program,
        cause: str,
        address: int | None = None,
        entries: tuple[int, ...] = (),
        folders: Sequence[str] = (),
    ) -> None:
        self.prog, self.cause, self.address, self.entries = prog, cause, address, entries
        self._folders = folders

    @functools.cached_property
    def sources(self) -> Sources:
        """The lines of source that are on this machine."""
        release = version = ""
        with contextlib.suppress(*LOST):
            names = self.prog["init_uts_ns"].name
            release, version = (
                name.string_().decode("ascii", "replace") for name in (names.release, names.version)
            )
        return Sources(release, version, self._folders)

    @functools.cached_property
    def crashed(self) -> Stack:
        """The stack that the kernel crashed on.

        :raises ValueError: the dump does not say which.
        """
        return self.stack(self.prog.crashed_thread().object)

    def stack(self, task: Object) -> Stack:
        """Return the stack of a task."""
        trace = self.prog.stack_trace(task)
        every = (trace[number] for number in range(min(len(trace), DEEPEST)))
        frames = list(itertools.takewhile(lambda frame: frame.pc, every))  # a process's own may end in zeros
        return Stack(task, frames, trapping(frames))

    def stack_lines(self, stack: Stack) -> tuple[str, ...]:
        """Return the frames of a stack as lines with their source; of a recursion, the innermost round."""
        lines: list[str] = []
        for run in runs([frame.name for frame in stack.frames]):
            for number in range(run.start, run.start + run.period):
                frame = stack.frames[number]
                text = self.sources.line(*frame_source(frame))
                lines.append(f"{frame_line(number, frame)}{f': {text}' if text else ''}"[:LONGEST])
            if run.rounds > 1:
                which = f"these {run.period} frames" if run.period > 1 else "this frame"
                lines.append(f"… {which} {run.rounds - 1} more times, to #{run.stop - 1}")
            if len(lines) >= FRAMES:
                break
        return tuple(lines[:FRAMES])

    def running(self) -> Iterator[tuple[int, Object]]:
        """Yield each CPU that is online with the task that runs on it."""
        for cpu in for_each_online_cpu(self.prog):
            yield cpu, cpu_curr(self.prog, cpu)

    def tasks(self) -> Iterator[Object]:
        """Yield all tasks; a damaged table ends them."""
        for number, task in enumerate(for_each_task(self.prog)):
            if number == TASKS:
                return
            yield task

    def blocked(self) -> Iterator[Object]:
        """Yield the tasks in uninterruptible sleep (state D)."""
        for task in self.tasks():
            try:
                if task_state_to_char(task) == "D":
                    yield task
            except LOST:
                continue


def trapping(frames: Sequence[StackFrame]) -> int | None:
    """Return the number of the frame that trapped; None where there was none.

    A hypervisor's dump has the registers of panic()'s own last loop, so that the trap lies further down the
    stack. A dump by kexec has the registers of the trap, or of panic() if nothing trapped.
    """
    if not frames:
        return None
    if (number := _reported(frames)) is not None:
        return number
    first = frames[0].pc
    for number, frame in enumerate(frames):
        if frame.interrupted and frame.pc != first and _in_kernel(frame):
            return number
    if frames[0].interrupted and not any(frame.name.startswith(PANICS) for frame in frames):
        return 0
    return None


def _reported(frames: Sequence[StackFrame]) -> int | None:
    """Return the number of the frame that a check found fault with, and that called it; None where none did.

    KASAN, a stack's canary and others call panic() by themselves (mm/kasan/report.c). Where a check was
    reached by an exception, as KFENCE's are, the frame is the interrupted one.
    """
    checked = False
    panics = (number for number, frame in enumerate(frames) if frame.name.startswith(PANICS))
    for number in range(next(panics, len(frames)), len(frames)):
        name = frames[number].name
        reason = passed_over(name)
        if reason not in _REPORTS and not name.startswith(PANICS):
            return number if checked and not reason.startswith(_EXCEPTION) else None
        checked = checked or reason == _SANITIZER or name.startswith(CHECKS)
    return None


def _in_kernel(frame: StackFrame) -> bool:
    """Tell whether a frame is the kernel's; the last one may belong to the calling process.

    The kernel of a 64-bit machine lies in the upper half; that of s390x has an address space of its own.
    """
    if frame.pc >> 63:
        return True
    try:
        frame.symbol()
    except LookupError:
        return False
    return True


def comm(task: Object) -> str:
    """Return the name of a task as text."""
    return str(task.comm.string_().decode("utf-8", "replace"))


def task_words(task: Object) -> str:
    """Return a task in words: ``clerk (PID 40)``."""
    try:
        return f"{comm(task)} (PID {task.pid.value_()})"
    except LOST:
        return f"a task at 0x{task.value_():x} that the dump lacks"


def where(prog: Program, address: int) -> str:
    """Return the symbol of an address with its offset; empty if there is none."""
    try:
        symbol = prog.symbol(address)
    except LookupError:
        return ""
    offset = address - symbol.address
    return f"{symbol.name}+0x{offset:x}" if offset else symbol.name


def address_words(prog: Program, address: int) -> str:
    """Return an address, with its symbol if it has one."""
    symbol = where(prog, address)
    return f"0x{address:x} ({symbol})" if symbol else f"0x{address:x}"


def variable(prog: Program, address: int, wanted: str) -> str:
    """Return the variable, or its member of a type, at an address; empty if there is none.

    :param wanted: name of the type, ``struct mutex``.
    """
    try:
        symbol = prog.symbol(address)
        path = member_at(prog[symbol.name].type_, address - symbol.address, wanted)
    except LOST:
        return ""
    return f"{symbol.name}{path}"


def bare(kind: Type) -> Type:
    """Return a type without its typedefs."""
    while kind.kind == TypeKind.TYPEDEF:
        kind = kind.type
    return kind


def pointed(value: Object) -> Type:
    """Return the type that a pointer leads to, without typedefs."""
    return bare(bare(value.type_).type)


def size_of(kind: Type) -> int:
    """Return the bytes of a type; 0 of an incomplete one."""
    try:
        return int(sizeof(kind))
    except TypeError:
        return 0


def member_at(kind: Type, offset: int, wanted: str = "") -> str:
    """Return the path of the member at an offset: ``.index.owner``.

    :param wanted: the type to stop at; by default any type but a structure.
    :raises LookupError: there is none.
    """
    path = ""
    while kind.kind == TypeKind.STRUCT and not (wanted == kind.type_name() and not offset):
        for member in kind.members or ():
            inner = bare(member.type)
            start = member.bit_offset // 8
            if 0 <= offset - start < size_of(inner):
                path += f".{member.name}" if member.name else ""
                offset -= start
                kind = inner
                break
        else:
            raise LookupError("no member is there")
    if wanted and wanted != kind.type_name():
        raise LookupError("the member is of another type")
    return path


def frame_source(frame: StackFrame) -> tuple[str, int]:
    """Return the path and the line of a frame; empty and 0 without debug information."""
    try:
        source = frame.source()
    except LookupError:
        return "", 0
    return source.filename, source.line


def frame_place(frame: StackFrame) -> str:
    """Return ``path:line`` of a frame; empty without debug information."""
    name, line = frame_source(frame)
    return f"{name}:{line}" if name else ""


def frame_words(frame: StackFrame) -> str:
    """Return a frame in words: ``clerk at ledger.c:105``, the function alone without debug information."""
    place = frame_place(frame)
    return f"{frame.name} at {place}" if place else frame.name


def frame_lines(frames: Iterable[StackFrame]) -> tuple[str, ...]:
    """Return frames as lines, the first is #0."""
    return tuple(frame_line(number, frame) for number, frame in enumerate(frames))


def slab_flag(prog: Program, name: str, before: int) -> int:
    """Return a flag of ``struct kmem_cache``.

    :param name: its name without ``SLAB_``; from Linux 6.9 on an enumerator has the number of its bit.
    :param before: its value until Linux 6.8 (include/linux/slab.h).
    """
    with contextlib.suppress(LookupError):
        return 1 << int(prog[f"_SLAB_{name}"].value_())
    return before


def frame_line(number: int, frame: StackFrame) -> str:
    """Return a frame as a line: ``#3 account_limit+0xb at ledger.c:52``."""
    name = frame.name
    if frame.is_inline:
        name += " (inlined)"
    else:
        with contextlib.suppress(LookupError):
            name = f"{frame.name}+0x{frame.pc - frame.symbol().address:x}"
    place = frame_place(frame)
    return f"#{number} {name}{f' at {place}' if place else ''}"[:LONGEST]


def pointers(frame: StackFrame) -> Iterator[tuple[str, Object]]:
    """Yield the local variables and arguments of a frame that are pointers whose value is known."""
    for name in frame.locals():
        try:
            value = frame[name]
            if bare(value.type_).kind == TypeKind.POINTER and not value.absent_:
                yield name, value.read_()
        except LOST:
            continue
