"""Builds the files that boot a kernel of the matrix: image, module, initrd.

Compilers and kernel headers are unpacked into one tree for each toolchain's suite and run in it with
bubblewrap: the host needs no compiler, and headers find each other where Debian puts them.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import lzma
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kpanic.shipper.zstd import zstd

from .archive import Archive, cache, locked
from .matrix import HERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .matrix import Kernel, Machine, Matrix

PACKAGES = {
    "apt-get": "apt",
    "bwrap": "bubblewrap",
    "dpkg": "dpkg",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-i386": "qemu-system-x86",
    "qemu-system-loongarch64": "qemu-system-misc",
    "qemu-system-mips64el": "qemu-system-mips",
    "qemu-system-mipsel": "qemu-system-mips",
    "qemu-system-ppc64": "qemu-system-ppc",
    "qemu-system-riscv64": "qemu-system-misc",
    "qemu-system-s390x": "qemu-system-misc",
    "qemu-system-x86_64": "qemu-system-x86",
}
"""Debian packages of the programs that build and run guests."""
BUILD_TOOLS = (
    "bash",
    "base-files",
    "coreutils",
    "dash",
    "findutils",
    "gawk",
    "grep",
    "make",
    "perl-base",
    "sed",
)
"""Programs that kbuild calls besides the compiler."""


class BuildError(Exception):
    """The compiler failed; the message is its output."""


def missing(machines: Iterable[Machine]) -> list[str]:
    """Return the missing Debian packages for crashing kernels of these machines."""
    emulators = (machine.qemu[0] for machine in machines if not machine.emulator)
    programs = {"apt-get", "bwrap", "dpkg", *emulators}
    return sorted({PACKAGES[program] for program in programs if not shutil.which(program)})


@functools.cache
def host() -> str:
    """Return Debian's name of this machine."""
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Boot:
    """A kernel that can be booted."""

    kernel: Kernel
    machine: Machine
    release: str
    image: Path
    modules: Path
    """``lib/modules/RELEASE/kernel`` of the kernel's package."""
    busybox: Path
    boom: Path
    segv: Path
    trap: Path
    dtb: Path | None = None
    emulator: Path | None = None
    """Root of the tree with QEMU; None for the host's QEMU."""

    def initrd(self, extra: Mapping[str, bytes] | None = None) -> bytes:
        """Return the initrd, gzipped, with further files (path: content) in it."""
        files = {
            "init": (HERE / "init").read_bytes(),
            "bin/busybox": self.busybox.read_bytes(),
            "boom.ko": self.boom.read_bytes(),
            "segv": self.segv.read_bytes(),
            "trap": self.trap.read_bytes(),
            **(extra or {}),
        }
        return gzip.compress(cpio(files), compresslevel=6, mtime=0)

    def module(self, path: str) -> bytes:
        """Return a module of the kernel's package, such as ``drivers/net/netconsole.ko``, uncompressed."""
        file = self.modules / path
        if file.exists():
            return file.read_bytes()
        return lzma.decompress(file.with_name(file.name + ".xz").read_bytes())


def cpio(files: Mapping[str, bytes]) -> bytes:
    """Return an archive in the format of Documentation/driver-api/early-userspace/buffer-format.rst, 6.12.

    Every file is executable; folders and /dev/console are made as needed.
    """
    folders = {str(parent) for path in files for parent in Path(path).parents if str(parent) != "."} | {"dev"}
    entries = [(name, 0o040755, b"", (0, 0)) for name in sorted(folders)]
    entries.append(("dev/console", 0o020600, b"", (5, 1)))
    entries += [(name, 0o100755, content, (0, 0)) for name, content in files.items()]
    entries.append(("TRAILER!!!", 0, b"", (0, 0)))
    out = bytearray()
    for number, (name, mode, content, device) in enumerate(entries, start=1):
        path = name.encode() + b"\0"
        header = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % value for value in header) + path
        out += b"\0" * (-len(out) % 4) + content
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


class Builder:
    """Prepares kernels, and keeps the results in the cache."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.archives: dict[tuple[str, str], Archive] = {}

    def archive(self, suite: str, machine: str) -> Archive:
        """Return a suite's packages for a machine and for this one."""
        if (suite, machine) not in self.archives:
            machines = list(dict.fromkeys((host(), machine)))
            lines = [line.replace("{machines}", ",".join(machines)) for line in self.matrix.suites[suite]]
            archive = Archive(cache() / "apt" / f"{suite}-{machine}", tuple(lines), tuple(machines))
            archive.refresh()
            self.archives[suite, machine] = archive
        return self.archives[suite, machine]

    def prepare(self, kernel: Kernel) -> Boot:
        """Return a kernel that is ready to boot.

        Raises GoneError where the archive has no such kernel or no headers of it, BuildError where the module
        does not build.
        """
        machine = self.matrix.machines[kernel.machine]
        archive = self.archive(kernel.suite, machine.name)
        package = archive.newest(f"linux-headers-{kernel.version}", machine.name)
        release = package.removeprefix("linux-headers-")
        with locked(kernel.name):
            folder = cache() / "kernels" / f"{release}-{machine.name}"
            if not folder.exists():
                image = f"linux-image-{release}:{machine.name}"
                parts = archive.depends(image, "linux-(binary|modules)-.*")  # in separate packages since 7.x
                _unpack(archive, [image, *(f"{part}:{machine.name}" for part in parts)], folder)
            busybox = cache() / "busybox" / machine.name
            if not busybox.exists():
                _unpack(
                    self.archive(machine.busybox, machine.name), [f"busybox-static:{machine.name}"], busybox
                )
            image = _bootable(next(folder.glob("**/vmlinu[xz]*")))
            built = self._build(kernel, machine, release)
        emulator = self._emulator(machine) if machine.emulator else None
        return Boot(
            kernel=kernel,
            machine=machine,
            release=release,
            image=image,
            modules=next(folder.glob("**/lib/modules/*/kernel")),
            busybox=next(busybox.glob("**/bin/busybox")),
            boom=built / "boom.ko",
            segv=built / "segv",
            trap=built / "trap",
            dtb=next(folder.glob(f"**/{machine.dtb}")) if machine.dtb else None,
            emulator=emulator,
        )

    def _emulator(self, machine: Machine) -> Path:
        """Return a tree with the QEMU of another suite."""
        package = PACKAGES[machine.qemu[0]]
        with locked(f"emulator-{machine.emulator}"):
            tree = cache() / "emulators" / f"{machine.emulator}-{package}"
            if not tree.exists():
                archive = self.archive(machine.emulator, host())
                packages = _merged(archive.closure((package, "base-files")))
                _unpack(archive, packages, tree)
        return tree

    def _build(self, kernel: Kernel, machine: Machine, release: str) -> Path:
        sources = [HERE / "boom/boom.c", HERE / "boom/Makefile", HERE / "segv.c"]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
        done = cache() / "modules" / f"{release}-{machine.name}-{digest}"
        if done.exists():
            return done
        tree = self._toolchain(kernel, machine, release)
        work = done.with_name(done.name + ".part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for file in sources:
            shutil.copy(file, work)
        prefix = "" if machine.name == host() else f"{machine.triplet}-"
        compiler = prefix + self.matrix.toolchains[kernel.toolchain].gcc
        make = ["make", "-s", "-C", f"/usr/src/linux-headers-{release}", "M=/work", f"ARCH={machine.arch}"]
        # The archive has no vmlinux for BTF, and Debian's wrapper of the compiler is not unpacked.
        make += [f"CC={compiler}", f"CROSS_COMPILE={prefix}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
        _inside(tree, work, make)
        program = [compiler, "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]
        _inside(tree, work, [*program, "-o", "segv", "segv.c"])
        _inside(tree, work, [*program, "-DTRAP", "-o", "trap", "segv.c"])
        work.rename(done)
        return done

    def _toolchain(self, kernel: Kernel, machine: Machine, release: str) -> Path:
        gcc = self.matrix.toolchains[kernel.toolchain].gcc
        if machine.name != host():
            gcc = f"{gcc}-{machine.triplet.replace('_', '-')}"
        with locked(f"toolchain-{kernel.toolchain}"):
            tree = cache() / "toolchains" / kernel.toolchain
            stamp = tree / f".{gcc}"
            if not stamp.exists():
                wanted = (*BUILD_TOOLS, "libelf-dev", gcc)
                packages = self.archive(kernel.toolchain, host()).closure(wanted)
                self.archive(kernel.toolchain, host()).unpack(_merged(packages), tree)
                (tree / "work").mkdir(exist_ok=True)
                awk = tree / "usr/bin/awk"  # a link that the installation of the package would create
                if not awk.is_symlink():
                    awk.symlink_to("gawk")
                stamp.touch()
            headers = f"linux-headers-{release}"
            if not (tree / "usr/src" / headers).exists():
                archive = self.archive(kernel.suite, machine.name)
                names = archive.depends(f"{headers}:{machine.name}", "linux-(headers|kbuild)-.*")
                # Its scripts are programs for this machine.
                hosted = [f"{name}:{host()}" for name in names]
                archive.unpack([f"{headers}:{machine.name}", *hosted], tree)
        return tree


def _bootable(image: Path) -> Path:
    """Return an image that QEMU boots; of EFI zboot images it unpacks only those packed with gzip.

    The header is that of drivers/firmware/efi/libstub/zboot-header.S, 6.12.
    """
    with image.open("rb") as file:
        magic, offset, size, packer = struct.unpack("<8s2I8x8s", file.read(32))
        if magic != b"MZ\0\0zimg" or not packer.startswith(b"zstd"):
            return image
        unpacked = image.with_name(f"unpacked-{image.name}")
        if not unpacked.exists():
            file.seek(offset)
            unpacked.write_bytes(zstd.decompress(file.read(size)))
    return unpacked


def _merged(packages: Sequence[str]) -> list[str]:
    """Put base-files first: in suites with a merged /usr it creates the links /bin and /lib."""
    return sorted(packages, key=lambda name: not name.startswith("base-files:"))


def _unpack(archive: Archive, packages: Sequence[str], folder: Path) -> None:
    """Unpack packages into a temporary folder, then rename it."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    archive.unpack(packages, part)
    part.rename(folder)


def _inside(tree: Path, work: Path, command: Sequence[str]) -> None:
    sandbox = ["bwrap", "--bind", str(tree), "/", "--dev", "/dev", "--proc", "/proc"]
    sandbox += ["--tmpfs", "/tmp"]  # noqa: S108 - of the sandbox
    sandbox += ["--bind", str(work), "/work", "--chdir", "/work", "--setenv", "PATH", "/usr/bin:/bin"]
    done = subprocess.run([*sandbox, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
