"""The first report's own facts, collected from the items of its body."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kpanic.grammars.header import Code, Modules, Owner
from kpanic.grammars.machines import UNTITLED, Pointer, Registers
from kpanic.grammars.model import Hardware, Oops, Process
from kpanic.grammars.trace import Opening, Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.body import Body
    from kpanic.grammars.model import Frame

REGISTERS: Final = 64
"""More than any machine has."""


@dataclass(slots=True)
class Gathered:
    """What a body says, the first of everything."""

    owner: Owner | None = None
    hardware: Hardware | None = None
    pointer: Pointer | None = None
    """The first one that is in the kernel."""
    machine: str = ""
    oops: Oops | None = None
    code: str = ""
    modules: tuple[str, ...] = ()
    registers: list[tuple[str, str]] = field(default_factory=list)
    trace: tuple[Frame, ...] = ()
    opened: bool = False
    """A trace has begun."""
    current: bool = True
    """The registers that come now are those of the crash."""
    user: bool = False
    """The instruction pointer last read was in user mode, and so is the code that comes now."""

    def add_owner(self, value: Owner) -> None:
        """Note who was running."""
        if self.owner is None:
            self.owner = value
        elif self.owner.process.pid is None:  # of a machine that names the process in another line
            cpu = self.owner.process.cpu
            if cpu is None:
                cpu = value.process.cpu
            self.owner = self.owner._replace(process=Process(value.process.pid, value.process.name, cpu))

    def add_hardware(self, value: Hardware) -> None:
        """Note the machine."""
        self.hardware = self.hardware or value

    def add_pointer(self, value: Pointer) -> None:
        """Note where the CPU was."""
        if value.machine == "x86_64" or not self.machine:  # IP: heads reports of both, RIP: those of one
            self.machine = value.machine
        self.user = value.user or (value.machine == "i686" and bool(self.trace) and not value.ip.symbol)
        self.opened = self.opened or value.machine in UNTITLED
        if value.user:
            self.current = False
        elif self.pointer is None and (value.ip.symbol or not self.trace):
            self.pointer, self.current = value, True
        else:
            self.current = not self.trace

    def add_oops(self, value: Oops) -> None:
        """Note the number and the error."""
        if not self.trace:  # it comes before the trace; behind it is the next report's
            self.oops = self.oops or value

    def add_code(self, value: Code) -> None:
        """Note the bytes around the instruction pointer."""
        if not self.user:
            self.code = self.code or value.raw

    def add_modules(self, value: Modules) -> None:
        """Note what was loaded."""
        self.modules = self.modules or value.names

    def add_registers(self, value: Registers) -> None:
        """Note the registers."""
        self.user = False  # until 4.17 the code of the crash comes last, since then right behind each pointer
        if self.current and len(self.registers) < REGISTERS:
            self.registers += value.values

    def add_trace(self, value: Trace) -> None:
        """Note the frames."""
        if value.linked:
            self.machine = self.machine or "armv7l"
        if self.opened or value.linked:
            self.trace += value.frames
            self.current = False

    def add_opening(self, _value: Opening) -> None:
        """Note that a trace begins."""
        self.opened = True


_ARM: Final = frozenset({"r0", "r7", "r10"})
"""Registers of arm that arm64 does not have."""
_ARM_SETS: Final = frozenset({"ARM", "THUMB2"})
"""What its oops says of the instruction set."""
_READERS: Final[dict[type, Callable[..., None]]] = {
    Owner: Gathered.add_owner,
    Hardware: Gathered.add_hardware,
    Pointer: Gathered.add_pointer,
    Oops: Gathered.add_oops,
    Code: Gathered.add_code,
    Modules: Gathered.add_modules,
    Registers: Gathered.add_registers,
    Trace: Gathered.add_trace,
    Opening: Gathered.add_opening,
}


def gather(items: Body, *, owner_last: bool = False) -> Gathered:
    """Collect what stands before the second trace: what comes then is another task's, or memory's history.

    ``owner_last``: the line that says who was running closes the report.
    """
    found = Gathered()
    over = False
    for item in items:
        kind = type(item.value)
        if kind is Opening and found.trace:
            over = True
        if over:
            if found.owner is not None or not owner_last:
                break
            if kind is Owner:
                found.add_owner(item.value)
        elif (reader := _READERS.get(kind)) is not None:
            reader(found, item.value)
    if found.machine == "aarch64" and (
        any(name in _ARM for name, _ in found.registers)
        or (found.oops is not None and not _ARM_SETS.isdisjoint(found.oops.flags))
    ):
        found.machine = "armv7l"  # PC is at: both
    return found
