"""Opens dumps of a Debian kernel with its debug package: ``python -m tests.lab.vmcore [KIND…]``.

Guests with 2 GB of memory are crashed in ways of the lab whose answer is in the dump, and not in the log;
QEMU dumps them, and ``kpanic explain`` has to find what ``boom.c`` did. Some are crashed once more with full
memory, and kdump saves what is not filtered. Prints the processor's seconds and the resident memory that it
takes. Downloads 858 MB once, and takes some twenty minutes on two cores.
"""

# ruff: noqa: T201

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import guest, kdump, matrix
from .archive import cache, locked
from .build import Builder
from .matrix import HERE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .build import Boot

KERNEL: Final = "6.1-amd64"
MEMORY: Final = {"oom-panic": "1024"}
"""MiB of the guest, unless the lab's program fills more."""
FORMATS: Final = ("-z", "-l", "-s", "")
"""Options of dump-guest-memory: compression with zlib, LZO and Snappy, and an ELF core."""
FILTERED: Final = ("null_read",)
"""Kinds that are also crashed with kdump, whose makedumpfile excludes the pages of ``-d 31``."""
FILLED: Final = 1200
"""MiB of files in the page cache of these guests."""
ANSWERS: Final = {
    "null_read": ("source", r"/work/boom\.c:{hidden(0x10UL)}"),
    "uaf_read": ("object", r"kmalloc-256, free"),
    "list_del": ("why", r"entry->next is LIST_POISON1: the entry was deleted before"),
    "spin_deadlock": ("why", r"with lab-init \(PID 1\), spins for the spinlock 0x\w+ \(spin\)"),
    "mutex_deadlock": ("why", r"lab-init \(PID 1\) holds the mutex mutex itself, a deadlock"),
    "stack_overflow": (
        "why",
        r"boom_stack_overflow called itself, \d+ times, and filled \d+ of the 16384 bytes of the stack of",
    ),
    "oom-panic": ("why", r"were anonymous memory of processes, most of it of tail \(PID \d+\)"),
}
"""Expected text of each kind's dump, by step; a text of boom.c in braces stands for its line number."""


class Cost(NamedTuple):
    """The cost of explaining a dump.

    :ivar seconds: of a processor.
    """

    seconds: float
    resident: int
    """KiB."""


def main() -> int:
    """Print a line for each dump; return 1 if one is not explained."""
    table = matrix.load()
    kernel = table.kernels[KERNEL]
    builder = Builder(table)
    boot = builder.prepare(kernel)
    vmlinux = _vmlinux(builder, boot)
    debug_information = (vmlinux, boot.boom)
    named = sys.argv[1:]
    wrong = 0
    for name in named or ANSWERS:
        with tempfile.TemporaryDirectory(prefix="kpanic-lab-", dir="/var/tmp") as folder:
            dumps = {form: Path(folder) / f"vmcore{form}" for form in FORMATS}
            _dump(boot, table.kind(name, kernel), dumps)
            for form, dump in dumps.items():
                if dump.exists():
                    wrong += not _right(name, form or "ELF", dump, debug_information)
                else:  # Debian's makedumpfile has neither LZO nor Snappy
                    print(f"{name:15} {form:6} this QEMU does not write it")
    for name in FILTERED:
        if not named or name in named:
            with tempfile.TemporaryDirectory(prefix="kpanic-lab-", dir="/var/tmp") as folder:
                kind = table.kind(name, kernel)
                kdump.die(builder, boot, Path(folder), kind=kind, memory=2048, fill=FILLED, timeout=900.0)
                (dump,) = Path(folder).glob("crash/*/vmcore")
                wrong += not _right(name, "-d 31", dump, debug_information)
    return 1 if wrong else 0


def _right(name: str, form: str, dump: Path, debug_information: tuple[Path, ...]) -> bool:
    """Tell whether the reading of a dump has the expected text; print the result and the cost."""
    crash, cost = _explained(dump, debug_information)
    where, wanted = ANSWERS[name]
    said = crash["verdict"]["why"] if where == "why" else crash["vmcore"][where]
    right = re.search(_numbered(wanted), said) is not None
    size = dump.stat().st_size >> 20
    print(
        f"{name:15} {form:6} {size:5} MiB {cost.seconds:5.1f} s of a processor"
        f" {cost.resident >> 10:4} MiB {'right' if right else 'WRONG'}: {said}",
        flush=True,
    )
    return right


def _vmlinux(builder: Builder, boot: Boot) -> Path:
    """Return the kernel with debug information."""
    tree = cache() / "debug"
    path = f"./usr/lib/debug/boot/vmlinux-{boot.release}"
    with locked("debug"):
        if not (tree / path).exists():
            archive = builder.archive(boot.kernel.suite, boot.machine.name)
            package = f"linux-image-{boot.release}-dbg:{boot.machine.name}"
            with tempfile.TemporaryDirectory(dir=cache()) as part:
                archive.unpack_file(package, path, Path(part))
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(part) / path).rename(tree / path)
    return tree / path


def _dump(boot: Boot, kind: matrix.Kind, dumps: Mapping[str, Path]) -> None:
    """Crash a guest, and dump it in each format.

    ``qemu_fw_cfg`` gives QEMU the guest's VMCOREINFO (Linux 4.17).
    """
    qemu = list(boot.machine.qemu)
    qemu[qemu.index("-m") + 1] = MEMORY.get(kind.name, "2048")
    first = b"#!/bin/busybox sh\n/bin/busybox insmod /qemu_fw_cfg.ko\nexec /lab-init\n"
    initrd = boot.initrd(
        {
            "init": first,
            "lab-init": (HERE / "init").read_bytes(),
            "qemu_fw_cfg.ko": boot.module("drivers/firmware/qemu_fw_cfg.ko"),
        }
    )
    guest.run(
        replace(boot, machine=replace(boot.machine, qemu=qemu)),
        guest.command_line(boot, kind),
        initrd,
        devices=[*kind.devices, "-device", "vmcoreinfo"],
        shift=None,
        cpus=kind.cpus,
        timeout=400,
        farewell="\n".join(f"dump-guest-memory {form} {dump}" for form, dump in dumps.items()),
    )


def _explained(dump: Path, debug_information: tuple[Path, ...]) -> tuple[dict[str, Any], Cost]:
    """Return the reading of the last crash of a dump, and its cost."""
    options = [option for path in debug_information for option in ("--debug-info", path)]
    command = [sys.executable, "-m", "kpanic", "explain", "--format", "json", *options, dump]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        cost = Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
        out.seek(0)
        crash: dict[str, Any] = json.loads(out.read().splitlines()[-1])
    return crash, cost


def _numbered(wanted: str) -> str:
    rows = (HERE / "boom" / "boom.c").read_text(encoding="utf-8").splitlines()
    return re.sub(
        r"\{(.+)\}", lambda found: str(next(n for n, row in enumerate(rows, 1) if found[1] in row)), wanted
    )


if __name__ == "__main__":
    sys.exit(main())
