"""Reads the data file: machines, kernels, kinds, and the expected answers of each combination."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine: QEMU's options, and the name of the compiler."""

    name: str
    """Debian's name of the architecture."""
    qemu: list[str]
    console: str
    uname: str
    arch: str
    busybox: str
    """The suite of its busybox."""
    triplet: str
    emulator: str = ""
    """The suite of QEMU, if this machine's QEMU is too old."""
    append: str = ""
    """Parameters that its kernels need on the command line."""
    counted: bool = True
    """Whether QEMU works with an instruction counter."""
    dtb: str = ""
    """File name of the device tree in the kernel's package, if QEMU generates none."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A series of kernels in a suite, of which the newest in the archive is used."""

    name: str
    machine: str
    suite: str
    version: str
    """Regular expression of the release, ``uname -r``."""
    toolchain: str
    """The suite whose compiler builds its modules."""
    every: bool = False
    """Whether every kind is run, not only the core."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of crash, and the expected answers."""

    name: str
    machines: list[str] = field(default_factory=list)
    """Machines on which it is possible; empty for all."""
    do: str = ""
    """The argument of /init, if it is not the kind's name."""
    append: str = ""
    monitor: str = ""
    """Command for QEMU's monitor once the guest is ready."""
    devices: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    """Modules of the kernel's package, below ``kernel/``; /init finds them in the root folder."""
    seconds: int = 0
    """Seconds of the guest's time after the module's trigger, after which a line counts as the last one."""
    shift: int = 2
    """An instruction takes 2 ** shift ns of the guest's time; a larger shift shortens busy waiting."""
    cpus: int = 1
    """Number of CPUs; several use the host's clock, as an instruction counter stalls with them."""
    silent: bool = False
    cause: str = ""
    function: str = ""
    title: str = ""
    """The expected title; empty if the wording depends on the kernel."""

    @property
    def expected_title(self) -> str:
        return self.title.replace("{function}", self.function)


@dataclass(frozen=True, slots=True)
class Toolchain:
    suite: str
    gcc: str


@dataclass(frozen=True, slots=True)
class Matrix:
    suites: dict[str, list[str]]
    """Lines of sources.list by suite."""
    toolchains: dict[str, Toolchain]
    core: frozenset[str]
    """The kinds that are run on each kernel."""
    machines: dict[str, Machine]
    kernels: dict[str, Kernel]
    kinds: dict[str, Kind]
    exceptions: dict[str, list[dict[str, Any]]]

    def kinds_of(self, kernel: Kernel, *, every: bool) -> Iterator[Kind]:
        """Yield the kinds that are run on a kernel, with its answers.

        With ``every``, whatever its machine can do; else the core alone where the kernel asks for no more.
        """
        for name in self.kinds:
            kind = self.kind(name, kernel)
            if kind.machines and kernel.machine not in kind.machines:
                continue
            if every or kernel.every or name in self.core:
                yield kind

    def kind(self, name: str, kernel: Kernel) -> Kind:
        """Return a kind with the answers of this kernel."""
        kind = self.kinds[name]
        for exception in self.exceptions[name]:
            where = {key: exception[key] for key in ("machine", "kernel") if key in exception}
            values = {"machine": kernel.machine, "kernel": kernel.name}
            if all(re.fullmatch(pattern, values[key]) for key, pattern in where.items()):
                kind = replace(kind, **{key: value for key, value in exception.items() if key not in where})
        return kind


def load(path: Path = HERE / "matrix.toml") -> Matrix:
    """Read the data file.

    :raises TypeError: a key is unknown.
    """
    data = tomllib.loads(path.read_text())
    exceptions = {name: table.pop("but", []) for name, table in data["kinds"].items()}
    known = {field.name for field in fields(Kind)} | {"machine", "kernel"}
    for name, tables in exceptions.items():
        for table in tables:
            if unknown := table.keys() - known:
                raise TypeError(f"{path.name}: kind {name}: {', '.join(sorted(unknown))} is not known")
    return Matrix(
        suites={name: table["sources"] for name, table in data["suites"].items()},
        toolchains={name: Toolchain(suite=name, **table) for name, table in data["toolchains"].items()},
        core=frozenset(data["core"]["kinds"]),
        machines={name: Machine(name=name, **table) for name, table in data["machines"].items()},
        kernels={name: Kernel(name=name, **table) for name, table in data["kernels"].items()},
        kinds={name: Kind(name=name, **table) for name, table in data["kinds"].items()},
        exceptions=exceptions,
    )
