"""The instruction that trapped: its line of source, the values it worked on, and which pointer was bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from drgn import Object, TypeKind

from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding
from kpanic.shipper.vmcore.dump import (
    address_words,
    bare,
    frame_source,
    member_at,
    pointed,
    pointers,
    size_of,
    task_words,
)
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drgn import StackFrame, Type

    from kpanic.shipper.vmcore.dump import Dump, Stack

__all__ = ["NAME", "ask"]

NAME: Final = "trapping frame"
MEMBERS: Final = 512
"""Maximum members of a structure that are examined."""
LOCALS: Final = 32
"""Maximum variables of a frame that are shown."""
CANDIDATES: Final = 8
"""Maximum pointers that are shown as bad."""
NEAR_NULL: Final = 4096
"""The page at address 0, which is never mapped."""


class _Bad(NamedTuple):
    """A pointer through which the faulting address was reached.

    :ivar name: the pointer as a C expression: ``account->owner``.
    :ivar member: the member at the faulting address; empty if there is none.
    """

    name: str
    value: int
    member: str
    function: str


def ask(dump: Dump) -> Answer:
    """Name the place of the trap, and the bad pointer with its structure."""
    stack = dump.crashed
    trapped = stack.trapped
    if not trapped:
        return Answer(NAME, skipped="no frame of the crashed task was interrupted by a trap")
    name, number = next((found for frame in trapped if (found := frame_source(frame))[0]), ("", 0))
    place = f"{name}:{number}" if name else ""
    outer = trapped[-1]
    findings = [_where(dump, stack, trapped[0], place)]
    if rows := dump.sources.around(name, number):
        findings.append(Finding(f"The source is here: {dump.sources.line(name, number)}"[:LONGEST], rows))
    values = [_values(frame) for frame in trapped]
    if known := tuple(line for lines, _ in values for line in lines):
        findings.append(Finding(f"The values of its variables in {outer.name} are in the dump.", known))
    if gone := tuple(filter(None, (line for _, line in values))):
        findings.append(Finding("The compiler optimized variables out there.", gone))
    overran = dump.cause == "stack-overflow"  # its address is that of the stack, and no pointer's
    # Those of its callers prove nothing of it.
    bad = _bad_pointers(stack, dump.address) if place and not overran else []
    if not bad:
        return Answer(NAME, tuple(findings), source=place)
    lines = tuple(f"{one.name} = 0x{one.value:x} in {one.function}" for one in bad)
    if len(bad) > 1:  # as in freed memory, which is filled with one value
        findings.append(Finding("The bad pointer is one of these, which lead to the same address.", lines))
        return Answer(NAME, tuple(findings), source=place)
    first = bad[0]
    what = "NULL" if first.value == 0 else f"0x{first.value:x}"
    reached = f", and the access was to its member {first.member}" if first.member else ""
    words = f"{first.name} was {what} in {first.function}"
    findings.append(Finding(f"The bad pointer: {words}{reached}.", lines))
    return Answer(NAME, tuple(findings), verdict=words, source=place, pointer=first.name)


def _where(dump: Dump, stack: Stack, frame: StackFrame, place: str) -> Finding:
    task = task_words(stack.task)
    at = f" at {place}" if place else ", of which the debug information names no line"
    what = "The trap" if any(one.interrupted for one in stack.trapped) else "What the kernel reported"
    return Finding(f"{what} was in {frame.name}{at}, in the context of {task}.", dump.stack_lines(stack))


def _values(frame: StackFrame) -> tuple[list[str], str]:
    """Return the variables of a frame that fit into a line, and those that were optimized out, in one line.

    The content of buffers is left out, because it is private, and so are the variables of macros.
    """
    known: list[str] = []
    gone: list[str] = []
    for name in [one for one in frame.locals() if not one.startswith("__")][:LOCALS]:
        try:
            value = frame[name]
            if value.absent_:
                gone.append(name)
                continue
            words = _shown(value)
        except LOST:
            words = "not in the dump"
        if words:
            known.append(f"{frame.name}: {name} = {words}"[:LONGEST])
    return known, f"{frame.name}: {', '.join(gone)}"[:LONGEST] if gone else ""


def _shown(value: Object) -> str:
    """Return a number or a pointer as text; empty for anything else."""
    kind = bare(value.type_)
    if kind.kind == TypeKind.POINTER:
        return f"({kind.type_name()}) {address_words(value.prog_, value.value_())}"
    if kind.kind in {TypeKind.INT, TypeKind.BOOL, TypeKind.ENUM}:
        return str(value.value_())
    return ""


def _bad_pointers(stack: Stack, address: int | None) -> list[_Bad]:
    """Return the pointers of the trapping frame that lead to the faulting address.

    These are local variables, or else members of the structures that they point to. If the frame has none,
    because an inlined access may have lost its own, they are variables of its callers, but no members: a
    caller's structure may hold a NULL pointer that was not used.
    """
    if address is None:
        return []
    for frames, deep in ((stack.trapped, True), (stack.callers[:2], False)):
        found: dict[tuple[str, str], _Bad] = {}
        for frame in frames:
            own = list(pointers(frame))
            for name, value in own:
                _note(found, frame, name, value, address)
            for name, value in own if deep else ():
                for member, held in _held(value):
                    _note(found, frame, f"{name}->{member}", held, address)
        if found:
            itself = [bad for bad in found.values() if "->" not in bad.name]
            return (itself or list(found.values()))[:CANDIDATES]
    return []


def _note(
    found: dict[tuple[str, str], _Bad], frame: StackFrame, name: str, value: Object, address: int
) -> None:
    target = pointed(value)
    size = size_of(target)
    pointer = value.value_()
    offset = address - pointer
    if not 0 <= offset < max(size, 1):
        return
    if pointer < NEAR_NULL and pointer != 0:
        return  # a number that is small by chance
    if pointer >= NEAR_NULL and _readable(value, pointer):
        return
    try:
        member = member_at(target, offset).removeprefix(".")
    except LookupError:
        return  # between the members
    found.setdefault((frame.name, name), _Bad(name[:LONGEST], pointer, member, frame.name))


def _readable(value: Object, address: int) -> bool:
    try:
        value.prog_.read(address, 1)
    except LOST:
        return False
    return True


def _held(value: Object) -> Iterator[tuple[str, Object]]:
    """Yield the pointer members of the structure that a pointer leads to."""
    target = pointed(value)
    if target.kind != TypeKind.STRUCT or target.members is None:
        return
    for name in _members(target):
        try:
            held = value
            for part in name.split("."):
                held = held.member_(part)
            if bare(held.type_).kind == TypeKind.POINTER:
                yield name, held.read_()
        except LOST:
            continue


def _members(kind: Type, depth: int = 2) -> Iterator[str]:
    """Yield the paths of the members of a structure, and of structures within it."""
    for member in (kind.members or ())[:MEMBERS]:
        inner = bare(member.type)
        if inner.kind == TypeKind.STRUCT and depth:
            for name in _members(inner, depth - 1):
                yield f"{member.name}.{name}" if member.name else name
        elif member.name:
            yield member.name
