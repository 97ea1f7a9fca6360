"""Boots a prepared kernel in QEMU, lets it crash, and keeps its console.

Software emulation with an instruction counter as the clock: the same inputs give the same console, and a
guest that sleeps takes no time. Nothing of a guest reaches the host but its console.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .archive import cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .build import Boot
    from .matrix import Kind

END = re.compile(rb"---\[ end Kernel panic|Rebooting in \d+ seconds|LAB: still alive|System halted")
"""The last line of a guest."""
PANIC = re.compile(rb"Kernel panic - not syncing")
TOLD = re.compile(rb"^\[ *(\d+)\.\d+\] boom: provoking", re.MULTILINE)
STAMP = re.compile(rb"^\[ *(\d+)\.\d+\]", re.MULTILINE)
QUIET = 15.0
"""Seconds without output that count as the end, for kernels without a last line and for non-fatal reports."""
POLL = 0.1
"""Seconds between two reads of the console."""


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one guest."""

    console: bytes
    ended: bool
    """Whether the guest printed its last line in time."""
    seconds: float
    """Seconds by the host's clock."""


def command_line(boot: Boot, kind: Kind) -> str:
    told = kind.do or kind.name
    machine = f"console={boot.machine.console} {boot.machine.append}".strip()
    return f"{machine} ignore_loglevel lab.kind={told} {kind.append}".strip()


def crash(boot: Boot, kind: Kind, *, counted: bool = True, timeout: float = 600.0) -> Run:
    """Crash a kernel in one of the matrix's ways.

    With ``counted`` an instruction counter is the guest's clock: the console is the same each time. Without,
    it is the host's: half the time.
    """
    extra = {path.rpartition("/")[2]: boot.module(path) for path in kind.modules}
    if kind.name == "noinit":
        extra["init"] = b"\x00nothing that runs\n"
    initrd = None if kind.name.startswith("vfs-") else boot.initrd(extra)
    return run(
        boot,
        command_line(boot, kind),
        initrd,
        devices=kind.devices,
        monitor=kind.monitor,
        guest_seconds=kind.seconds,
        shift=kind.shift if counted and boot.machine.counted and kind.cpus == 1 else None,
        cpus=kind.cpus,
        timeout=timeout,
    )


def run(  # noqa: PLR0913
    boot: Boot,
    append: str,
    initrd: bytes | None,
    *,
    devices: Sequence[str] = (),
    monitor: str = "",
    guest_seconds: int = 0,
    shift: int | None = 2,
    cpus: int = 1,
    reboot: bool = False,
    quiet: float = QUIET,
    timeout: float = 120.0,
    end: re.Pattern[bytes] = END,
    farewell: str = "",
) -> Run:
    """Boot, and follow the console until the guest prints its last line, exits, or the time is over.

    :param farewell: a command for QEMU's monitor then, which is waited for.
    """
    with tempfile.TemporaryDirectory(prefix="kpanic-lab-") as folder:
        console = Path(folder) / "console"
        console.touch()
        command = [*_sandbox(boot, folder), *boot.machine.qemu, "-accel", "tcg", "-smp", str(cpus)]
        if shift is not None:
            command += ["-icount", f"shift={shift},sleep=off"]
        command += ["-seed", "42", "-display", "none", "-monitor", "stdio"]
        if not reboot:
            command += ["-no-reboot"]
        command += ["-serial", f"file:{console}", "-kernel", str(boot.image), "-append", append]
        if boot.dtb is not None:
            command += ["-dtb", str(boot.dtb)]
        if initrd is not None:
            file = Path(folder) / "initrd"
            file.write_bytes(initrd)
            command += ["-initrd", str(file)]
        started = time.monotonic()
        process = subprocess.Popen(
            # timeout ends the guest even if this process is killed
            ["timeout", f"{timeout + 60:.0f}", *command, *devices],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            watch = _Watch(end, quiet, guest_seconds, started + timeout)
            ended = _follow(process, console, monitor, watch)
            if farewell and process.stdin and process.poll() is None:
                process.stdin.write(f"{farewell}\nquit\n".encode())
                process.stdin.flush()
                process.wait(timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            _, complaint = process.communicate()
        text = console.read_bytes()
        if not text:
            raise RuntimeError(f"{command[0]} gave no console: {complaint.decode(errors='replace').strip()}")
        return Run(text, ended, time.monotonic() - started)


def _sandbox(boot: Boot, folder: str) -> list[str]:
    """Return the command that runs QEMU in its own tree, if there is one."""
    if boot.emulator is None:
        return []
    sandbox = ["bwrap", "--die-with-parent", "--bind", str(boot.emulator), "/", "--dev", "/dev"]
    sandbox += ["--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108 - of the sandbox
    return [*sandbox, "--ro-bind", str(cache()), str(cache()), "--bind", folder, folder]


class _Watch(NamedTuple):
    """Watches for the last line of a guest."""

    end: re.Pattern[bytes]
    quiet: float
    guest_seconds: int
    deadline: float


def _follow(process: subprocess.Popen[bytes], console: Path, monitor: str, watch: _Watch) -> bool:
    quiet_since = time.monotonic()
    size = 0
    text = b""
    while time.monotonic() < watch.deadline:
        exited = process.poll() is not None
        if console.stat().st_size == size and not exited:
            said = PANIC.search(text) or _reached(watch.guest_seconds, text)
            if said and time.monotonic() - quiet_since > watch.quiet:
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
            continue
        text = console.read_bytes()
        size, quiet_since = len(text), time.monotonic()
        if monitor and b"LAB: ready" in text and process.stdin:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)  # the guest continues after its last line
            with contextlib.suppress(BrokenPipeError):  # it has exited meanwhile
                process.stdin.write(monitor.encode() + b"\n")
                process.stdin.flush()
            monitor = ""
        if exited or _whole_line(watch.end, text):
            return True
    return False


def _reached(seconds: int, text: bytes) -> bool:
    """Tell whether the guest has printed a line that many seconds after the module's trigger; 0 for never."""
    told = TOLD.search(text)
    return bool(seconds and told) and int(STAMP.findall(text, told.start())[-1]) - int(told[1]) >= seconds


def _whole_line(pattern: re.Pattern[bytes], text: bytes) -> bool:
    found = pattern.search(text)
    return found is not None and b"\n" in text[found.end() :]
