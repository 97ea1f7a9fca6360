"""The data file: machines, kernels, kinds, and what is expected of each combination."""

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
    """How QEMU plays it, and what its compiler is called."""

    name: str
    """Debian's name of the architecture."""
    qemu: list[str]
    console: str
    uname: str
    arch: str
    busybox: str
    """The suite whose busybox runs there."""
    triplet: str
    emulator: str = ""
    """The suite whose QEMU plays it, where that of the machine that builds is too old."""
    append: str = ""
    """What its kernels need on their command line."""
    counted: bool = True
    """False where QEMU ends itself under an instruction counter."""
    dtb: str = ""
    """File name of the device tree in the kernel's package, where QEMU makes none."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A line of kernels of a suite; the newest that the archive has is taken."""

    name: str
    machine: str
    suite: str
    version: str
    """Regular expression of the release, ``uname -r``."""
    toolchain: str
    """The suite whose compiler builds its modules."""
    every: bool = False
    """Run every kind, not the core alone."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to die, and what a reader must say of it."""

    name: str
    machines: list[str] = field(default_factory=list)
    """Where it can be done; empty for everywhere."""
    do: str = ""
    """What /init is told, where it is not the kind's name."""
    append: str = ""
    monitor: str = ""
    """What QEMU's monitor is told once the guest is ready."""
    devices: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    """Of the kernel's own package, below ``kernel/``; /init finds them at the root."""
    seconds: int = 0
    """Of the guest's time since the module was told, after which what it says is the last to wait for."""
    shift: int = 2
    """An instruction takes 2 ** shift ns of the guest's time: more for what waits while busy."""
    cpus: int = 1
    """Several go by the host's clock: an instruction counter stalls with them."""
    silent: bool = False
    cause: str = ""
    function: str = ""
    title: str = ""
    """Empty where the wording is the kernel's own business."""

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
    """Kinds that are run on each kernel."""
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
    """Read the data file; raises TypeError for a key that is not known."""
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
