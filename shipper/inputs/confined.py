"""Runs a program that reads hostile input, with the few privileges that it needs.

    python -I -S confined.py SPACE SIZE SECONDS PROGRAM [ARGUMENT]…

The program's memory, output and processor time are limited. It gains no privileges by execve(2). Where this
user may arrange it, the program has no network. Root becomes the user nobody and keeps one capability: to
read any file. The limits hold before the program's first instruction.

:see: prctl(2), capabilities(7), network_namespaces(7), setrlimit(2)
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOBODY", "become", "command"]

NOBODY: Final = 65_534
"""User and group, as the kernel's overflowuid."""
FILES: Final = 1024
"""Maximum open files: a kernel has some hundred modules, whose debug information drgn opens."""

_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_DAC_READ_SEARCH: Final = 2
_CAPABILITIES: Final = struct.pack("=II", 0x20080522, 0)
"""``struct __user_cap_header_struct`` of this process, version 3."""
_CLONE_NEWNET: Final = 0x40000000
_CLONE_NEWUSER: Final = 0x10000000


def command(space: int, size: int, seconds: int, program: list[str]) -> list[str]:
    """Return the command that runs a program confined.

    :param space: bytes of its address space.
    :param size: bytes of each file that it writes.
    :param seconds: seconds of a processor.
    """
    return [sys.executable, "-I", "-S", __file__, str(space), str(size), str(seconds), *program]


def _confine(space: int, size: int, seconds: int) -> None:
    import ctypes  # noqa: PLC0415 - the caller of command() needs none of it

    libc = ctypes.CDLL(None)
    root = os.geteuid() == 0
    if libc.unshare(_CLONE_NEWNET) and not root and not _capable():
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # this drops the capabilities
    if root:
        with suppress(PermissionError):  # a container forbids it
            become(NOBODY, NOBODY)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for which, limit in (
        (resource.RLIMIT_FSIZE, size),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_AS, space),
    ):
        resource.setrlimit(which, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _capable() -> bool:
    """Tell whether this process has capabilities, such as a service's to read any file."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - starts soon
        return any(line.startswith("CapEff:") and int(line.split()[1], 16) for line in status)


def become(uid: int, gid: int, groups: Sequence[int] = ()) -> None:
    """Change from root, for good, to a user that may read any file.

    :raises PermissionError: this process may not, as in some containers.
    """
    import ctypes  # noqa: PLC0415

    libc = ctypes.CDLL(None)
    only = 1 << _CAP_DAC_READ_SEARCH
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    libc.capset(_CAPABILITIES, struct.pack("=6I", only, only, only, 0, 0, 0))
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH, 0, 0)


if __name__ == "__main__":
    _confine(*map(int, sys.argv[1:4]))
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606 - that is what it is for
