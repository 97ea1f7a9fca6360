"""Collects the facts of a body's first report: the running task, the place of the CPU, the backtrace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, field, structs

from kpanic.grammars import machines
from kpanic.grammars.model import Hardware, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kpanic.grammars.blocks.backtrace import Opening, Trace
    from kpanic.grammars.blocks.code import Code
    from kpanic.grammars.blocks.modules import Modules
    from kpanic.grammars.blocks.owner import Owner
    from kpanic.grammars.blocks.platform import Platform
    from kpanic.grammars.blocks.pointer import Pointer
    from kpanic.grammars.blocks.registers import Registers
    from kpanic.grammars.fact import Fact
    from kpanic.grammars.model import Frame, Oops

__all__ = ["Gathered", "gather"]

REGISTERS: Final = 64
"""Maximum registers; no machine has more."""


class Gathered(Struct):
    """The collected facts of a report."""

    facts: list[Fact] = field(default_factory=list)
    """All facts, in the order of the report."""
    owner: Owner | None = None
    hardware: Hardware | None = None
    pointer: Pointer | None = None
    """The first instruction pointer in the kernel."""
    machine: str = ""
    big_endian: bool = False
    """Whether the machine runs in big-endian order, if its name is of the little-endian one."""
    oops: Oops | None = None
    code: str = ""
    modules: tuple[str, ...] = ()
    registers: list[tuple[str, str]] = field(default_factory=list)
    trace: tuple[Frame, ...] = ()
    opened: bool = False
    """Whether a backtrace has begun."""
    label: str = ""
    """The line that opened the first backtrace."""
    current: bool = True
    """Whether the next registers are those of the crash."""
    user: bool = False
    """Whether the last instruction pointer was in user mode, and so the next code too."""

    def first(self, kind: str) -> Fact | None:
        """Return the first fact of a kind."""
        return next((fact for fact in self.facts if fact.kind == kind), None)

    def add_owner(self, value: Owner) -> bool:
        """Take the running task: several lines may each name a part of it."""
        owner = self.owner
        if owner is None:
            self.owner = value
            return True
        one, other = owner.process, value.process
        if self.trace or (one.pid != other.pid and None not in {one.pid, other.pid}):
            return False
        self.owner = structs.replace(
            owner,
            process=Process(
                one.pid if one.pid is not None else other.pid,
                one.name or other.name,
                one.cpu if one.cpu is not None else other.cpu,
                one.uid if one.uid is not None else other.uid,
            ),
            taint=owner.taint or value.taint,
            release=owner.release or value.release,
            build=owner.build or value.build,
            hardware=owner.hardware or value.hardware,
        )
        return True

    def add_hardware(self, value: Hardware) -> bool:
        """Take the machine."""
        if self.hardware is not None:
            return False
        self.hardware = value
        return True

    def add_platform(self, value: Platform) -> bool:
        """Take the machine that the line identifies, and its board."""
        self.machine = self.machine or value.machine
        self.big_endian = self.big_endian or value.big_endian
        if value.hardware and self.hardware is None:
            self.hardware = Hardware(value.hardware, product=value.hardware)
        return True

    def add_pointer(self, value: Pointer) -> bool:
        """Take the instruction pointer."""
        self.machine = self.machine or value.machine
        self.user = value.user or (bool(self.trace) and not value.ip.symbol)
        self.opened = self.opened or machines.find(value.machine).untitled
        if value.user:
            self.current = False
        elif self.pointer is not None and value.names(self.pointer):
            self.pointer = value
            return True
        elif self.pointer is None and (value.ip.symbol or not self.trace):
            self.pointer, self.current = value, True
            return True
        else:
            self.current = not self.trace
        return False

    def add_oops(self, value: Oops) -> bool:
        """Take the number and the error code; those after the backtrace belong to the next report."""
        if self.trace or self.oops is not None:
            return False
        self.oops = value
        return True

    def add_code(self, value: Code) -> bool:
        """Take the bytes around the instruction pointer."""
        if self.user or self.code:
            return False
        self.code = value.raw
        return True

    def add_modules(self, value: Modules) -> bool:
        """Take the loaded modules."""
        if self.modules:
            return False
        self.modules = value.names
        return True

    def add_registers(self, value: Registers) -> bool:
        """Take the registers."""
        self.user = False  # until 4.17 the code of the crash comes last, since then right after each pointer
        if not self.current or len(self.registers) >= REGISTERS:
            return False
        self.machine = self.machine or value.machine
        self.registers += value.values
        return True

    def add_frames(self, value: Trace) -> bool:
        """Take the frames."""
        if not self.opened and not value.linked:
            return False
        self.machine = self.machine or value.machine
        self.trace += value.frames
        self.current = False
        return True

    def add_opening(self, value: Opening) -> bool:
        """Take the line that opens a backtrace."""
        self.opened = True
        self.label = self.label or value.label
        return True


_READERS: Final[dict[str, Callable[..., bool]]] = {
    "owner": Gathered.add_owner,
    "hardware": Gathered.add_hardware,
    "platform": Gathered.add_platform,
    "pointer": Gathered.add_pointer,
    "oops": Gathered.add_oops,
    "code": Gathered.add_code,
    "modules": Gathered.add_modules,
    "registers": Gathered.add_registers,
    "frames": Gathered.add_frames,
    "opening": Gathered.add_opening,
}
"""Functions that take a fact, by its kind; each returns whether the fact belongs to the report."""


def gather(facts: Iterable[Fact], *, owner_last: bool = False) -> Gathered:
    """Collect the facts before the second backtrace, which is another task's or the memory's history.

    :param owner_last: whether the line with the running task closes the report.
    """
    found = Gathered()
    over = False
    for fact in facts:
        if fact.kind == "opening" and found.trace:
            over = True
        if over:
            if found.owner is not None or not owner_last:
                break
            if fact.kind != "owner":
                continue
        cut = fact.kind == "frames" and not fact.place  # the opening line of the backtrace is missing
        found.opened = found.opened or cut
        reader = _READERS.get(fact.kind)
        if reader is None or reader(found, fact.value):
            found.facts.append(fact)
    if not found.machine and found.oops is not None:
        found.machine = machines.of_flags(found.oops.flags)
    if not found.machine:
        found.machine = machines.of_trace(found.label, found.trace)
    if found.big_endian:
        found.machine = machines.find(found.machine).big_endian or found.machine
    return found
