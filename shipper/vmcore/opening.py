"""Opens a dump as drgn does, even if its header names no system, as with QEMU's ``dump-guest-memory -z``."""

from __future__ import annotations

from typing import Final

from drgn import Architecture, Platform, Program

from kpanic.shipper.vmcore import flattened

__all__ = ["open_dump"]

_HEADER: Final = flattened.BEGIN + 16
"""Offset of the content of a flattened dump's first block."""
_MAGIC: Final = b"KDUMP   "
_MACHINE: Final = slice(8 + 4 + 4 * 65, 8 + 4 + 5 * 65)
"""``utsname.machine`` of ``struct disk_dump_header`` (diskdump_mod.h)."""
_ARCHITECTURES: Final = {
    b"x86_64": Architecture.X86_64,
    b"aarch64": Architecture.AARCH64,
    b"s390x": Architecture.S390X,
}


def open_dump(path: str) -> Program:
    """Return the program of a dump.

    :raises Exception: it cannot be opened; libkdumpfile's errors have no class of their own.
    """
    prog = Program()
    try:
        prog.set_core_dump(path)
    except Exception:
        architecture = _architecture(path)
        if architecture is None:
            raise
        prog = Program(Platform(architecture))
        prog.set_core_dump(path)
    return prog


def _architecture(path: str) -> Architecture | None:
    """Return the architecture in the header of a compressed dump; libkdumpfile requires more fields."""
    with open(path, "rb") as file:  # noqa: PTH123 - starts soon
        head = file.read(_HEADER + _MACHINE.stop)
    if head.startswith(flattened.MAGIC):
        head = head[_HEADER:]
    if not head.startswith(_MAGIC):
        return None
    return _ARCHITECTURES.get(head[_MACHINE].partition(b"\0")[0])
